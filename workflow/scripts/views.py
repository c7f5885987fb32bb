"""Digest what each training sees: views/<target>.<level>.<fold>.json."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.dataset.views import write_views
from rhoflow.job_record import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--levels", nargs="+", required=True, help="none, none-<name>, density and the text levels")
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON with targets and splits")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        study = arguments.options
        write_views(arguments.root, targets=study.targets, levels=arguments.levels, folds=len(study.splits.indices))
