"""Search settings for one network, target, text level and fold, inside the fold's training part."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.training.gpus import take_gpus
from rhoflow.training.search.job import search_job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--scratch", type=Path, required=True, help="journal of the trials")
parser.add_argument("--model", required=True)
parser.add_argument("--target", required=True)
parser.add_argument("--level", required=True, help="none for images, else a text level")
parser.add_argument("--fold", type=int, required=True)
parser.add_argument("--frozen", action="store_true", help="stop after the readout")
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON: search, training, ...")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        take_gpus(1)
        search_job(
            arguments.options,
            root=arguments.root,
            scratch=arguments.scratch,
            model=arguments.model,
            target=arguments.target,
            level=arguments.level,
            fold=arguments.fold,
            frozen=arguments.frozen,
        )
