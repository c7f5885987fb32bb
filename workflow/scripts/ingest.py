"""Fetch and read the densities of one shard into raw/<shard>.h5."""

import argparse
from pathlib import Path

from rhoflow.density.ingest import ingest_shard
from rhoflow.errors import plain_errors

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plan", type=Path, required=True, help="plan/<shard>.json")
parser.add_argument("--store", type=Path, required=True, help="raw/<shard>.h5")
parser.add_argument("--field", required=True, help="the study's density")
parser.add_argument("--raw", choices=["native", "float32", "none"], required=True, help="what is kept of a density")
parser.add_argument("--shape", type=int, nargs=3, required=True, help="points of the unified grid, for --raw none")
parser.add_argument("--scratch", type=Path, required=True, help="where finished downloads outlive a kill")
parser.add_argument("--connections", type=int, required=True, help="downloads at a time")
parser.add_argument("--keep", type=Path, help="where downloaded objects stay; without it they are deleted")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with plain_errors():
        ingest_shard(
            arguments.plan,
            arguments.store,
            field=arguments.field,
            raw=arguments.raw,
            shape=tuple(arguments.shape),
            scratch=arguments.scratch,
            connections=arguments.connections,
            keep=arguments.keep,
        )
