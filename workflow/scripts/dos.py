"""Gather the densities of states of one shard into dos/<shard>.h5."""

import argparse
from pathlib import Path

from rhoflow.job_record import job
from rhoflow.sources.dos import dos_shard

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plan", type=Path, required=True, help="plan/<shard>.json")
parser.add_argument("--store", type=Path, required=True, help="dos/<shard>.h5")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        dos_shard(arguments.plan, arguments.store)
