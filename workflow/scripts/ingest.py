"""Fetch and read the densities of one shard into raw/<shard>.h5."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.density.ingest import ingest_shard
from rhoflow.job_record import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plan", type=Path, required=True, help="plan/<shard>.json")
parser.add_argument("--store", type=Path, required=True, help="raw/<shard>.h5")
parser.add_argument("--scratch", type=Path, required=True, help="folder where finished downloads outlive a kill")
parser.add_argument("--connections", type=int, default=1, help="downloads at a time")
parser.add_argument("--keep", type=Path, help="folder where downloaded objects stay; without it they are deleted")
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON with field, raw and grid")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        study = arguments.options
        ingest_shard(
            arguments.plan,
            arguments.store,
            field=study.field,
            raw=study.raw,
            shape=study.grid.shape,
            scratch=arguments.scratch,
            connections=arguments.connections,
            keep=arguments.keep,
        )
