"""Ask the Materials Project which materials a study has, into catalog/materials_project.jsonl.gz."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.sources.materials_project.query import write_snapshot

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON: source, field, dos")
parser.add_argument("--connections", type=int, required=True, help="requests to the bucket at a time")
parser.add_argument("--cache", type=Path, required=True, help="folder for finished pages")
parser.add_argument("--snapshot", type=Path, required=True, help="catalog/materials_project.jsonl.gz")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        write_snapshot(
            arguments.options.source.model_copy(update={"connections": arguments.connections}),
            arguments.snapshot,
            arguments.cache,
            all_electron=arguments.options.field == "all_electron",
            dos=arguments.options.dos,
        )
