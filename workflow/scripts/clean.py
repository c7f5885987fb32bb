"""Keep or reject each material of a study: dataset/kept.csv, rejected.csv, fences.json, targets.parquet."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.dataset.clean import write_clean
from rhoflow.job_record import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--folder", type=Path, help="where the source's files lie, if that is an absolute path")
parser.add_argument(
    "--options", type=Study.model_validate_json, required=True, help="JSON: clean, targets, dataset_version"
)

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        study = arguments.options
        write_clean(arguments.root, study.clean, study.targets, study.dataset_version, arguments.folder)
