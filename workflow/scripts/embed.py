"""Embed the structure of every crystal of one shard into embeddings/<shard>.npz."""

import argparse
from pathlib import Path

from rhoflow.job_record import job
from rhoflow.models.structure import embed_shard

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--archive", type=Path, required=True, help="raw/<shard>.h5")
parser.add_argument("--store", type=Path, required=True, help="embeddings/<shard>.npz")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        embed_shard(arguments.archive, arguments.store)
