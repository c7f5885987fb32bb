"""Ask a language model in context for one target at one text level, or estimate what that costs."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.training.incontext.job import InContextJob, predict_in_context

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--target", required=True)
parser.add_argument("--level", required=True, help="text level")
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON: llm, splits, seeds")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        study = arguments.options
        job = InContextJob(
            options=study.llm,
            root=arguments.root,
            target=arguments.target,
            level=arguments.level,
            folds=study.splits.folds,
            seeds=study.seeds,
        )
        predict_in_context(job)
