"""Train the runs of one pack: folds and seeds of one model, target and text level."""

import argparse
import os
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.training.gpus import take_gpus
from rhoflow.training.job import train_job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--scratch", type=Path, required=True, help="resume state; finished runs of a killed pack")
parser.add_argument("--model", required=True, help="a network, or a variant of one: <model>-<variant>")
parser.add_argument("--target", required=True)
parser.add_argument("--level", required=True, help="none for images, else a text level")
parser.add_argument("--runs", nargs="+", required=True, help="fold:seed ...")
parser.add_argument("--frozen", action="store_true", help="stop after the readout")
parser.add_argument("--searched", action="store_true", help="settings of each fold from search/")
parser.add_argument(
    "--local-disk", default="", help="folder of the node for the images, $VARIABLES in it; empty: memory"
)
parser.add_argument("--options", type=Study.model_validate_json, required=True, help="JSON: image, language, ...")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        take_gpus(arguments.options.training.devices)
        train_job(
            arguments.options,
            root=arguments.root,
            scratch=arguments.scratch,
            model=arguments.model,
            target=arguments.target,
            level=arguments.level,
            runs=[(int(fold), int(seed)) for fold, seed in (run.split(":") for run in arguments.runs)],
            frozen=arguments.frozen,
            searched=arguments.searched,
            local_disk=Path(os.path.expandvars(arguments.local_disk)) if arguments.local_disk else None,
        )
