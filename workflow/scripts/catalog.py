"""List the materials of a source, with their properties, into catalog/materials.parquet."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.sources.catalog import write_catalog

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON: source, field, dos")
parser.add_argument("--shards", type=int, required=True, help="number of shards")
parser.add_argument("--cache", type=Path, required=True, help="content keys of unchanged files")
parser.add_argument("--snapshot", type=Path, help="catalog/materials_project.jsonl.gz, for that kind of source")
parser.add_argument("--table", type=Path, required=True, help="catalog/materials.parquet")
parser.add_argument("--rejected", type=Path, required=True, help="catalog/rejected.json")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        write_catalog(
            arguments.options.source,
            arguments.table,
            arguments.rejected,
            n_shards=arguments.shards,
            cache=arguments.cache,
            field=arguments.options.field,
            dos=arguments.options.dos,
            snapshot=arguments.snapshot,
        )
