"""Draw where an image network looks."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.report.saliency import write_saliency

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--output", type=Path, required=True, help="folder of the figures")
parser.add_argument("--study", type=Study.model_validate_json, required=True, help="JSON of the study")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        write_saliency(arguments.root, arguments.output, study=arguments.study)
