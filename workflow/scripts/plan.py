"""Write a small manifest a shard from the catalogue, where the disk can hold what follows."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.dataset.targets import check_sources
from rhoflow.job_record import job
from rhoflow.sources.estimate import check_disk
from rhoflow.sources.plan import write_plan
from rhoflow.sources.trained import Trained

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--catalog", type=Path, required=True, help="catalog/materials.parquet")
parser.add_argument("--folder", type=Path, required=True, help="folder of the manifests")
parser.add_argument("--shards", type=int, required=True, help="number of shards")
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument(
    "--options", type=Study.model_validate_json, required=True, help="JSON: source, properties, raw, field, grid, ..."
)
parser.add_argument("--targets", nargs="+", required=True, help="which something must be able to give")
parser.add_argument("--downloads", type=int, help="downloads at a time, all jobs together")
parser.add_argument(
    "--trained", type=Trained.parse, nargs="*", default=[], help="<model>:<runs>:<bytes a run, 0: not known> ..."
)
parser.add_argument("--snapshot", type=Path, help="the Materials Project's answer, to take its descriptions from")
parser.add_argument("--described", action="store_true", help="take descriptions from the catalogue")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        check_sources(arguments.catalog, arguments.targets)
        check_disk(
            arguments.catalog,
            arguments.root,
            arguments.options,
            trained=arguments.trained,
            downloads=arguments.downloads,
        )
        write_plan(
            arguments.catalog,
            arguments.folder,
            arguments.shards,
            snapshot=arguments.snapshot,
            described=arguments.described,
        )
