"""Fit the baselines of one target, on the same folds as the networks."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.training.baselines import run_baselines

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--target", required=True)
parser.add_argument("--series", nargs="+", required=True, help="model:level ...; a variant is <model>-<variant>")
parser.add_argument("--folds", type=int, required=True, help="number of folds, over all repeats of the splits")
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON: splits, seeds, two_part")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        study = arguments.options
        series = [(model, level) for model, level in (word.split(":") for word in arguments.series)]
        run_baselines(
            arguments.root,
            arguments.target,
            series=series,
            folds=arguments.folds,
            seeds=study.seeds,
            two_part=study.two_part,
        )
