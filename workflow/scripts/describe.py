"""Describe every crystal of one shard in words: text/<shard>.jsonl."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.text.shards import describe_shard

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--archive", type=Path, required=True, help="raw/<shard>.h5")
parser.add_argument("--store", type=Path, required=True, help="text/<shard>.jsonl")
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON with the section text")
parser.add_argument("--given", type=Path, help="plan/<shard>.texts.json.gz, texts that came with the materials")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        timeout_s = arguments.options.text.timeout_s
        describe_shard(arguments.archive, arguments.store, timeout_s=timeout_s, given=arguments.given)
