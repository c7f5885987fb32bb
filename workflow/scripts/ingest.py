"""Read the densities of one shard into raw/<shard>.h5."""

import argparse
from pathlib import Path

from rhoflow.density.ingest import ingest_shard
from rhoflow.errors import plain_errors

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plan", type=Path, required=True, help="plan/<shard>.json")
parser.add_argument("--store", type=Path, required=True, help="raw/<shard>.h5")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with plain_errors():
        ingest_shard(arguments.plan, arguments.store)
