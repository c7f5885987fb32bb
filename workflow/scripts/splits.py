"""Decide who trains, validates and tests: dataset/splits.json."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.dataset.splits import write_splits
from rhoflow.job_record import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON with the section splits")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        write_splits(arguments.root, arguments.options.splits)
