"""Gather where every number of a study comes from: results/<study>/provenance/."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.report.provenance_folder import write_provenance_folder
from rhoflow.report.provenance_record import Places

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--logs", type=Path, required=True, help="logs/<study>")
parser.add_argument("--scratch", type=Path, required=True, help="scratch/<study>")
parser.add_argument("--study", type=Study.model_validate_json, required=True, help="JSON of the study")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        project = Path(__file__).resolve().parents[2]
        places = Places(arguments.root, arguments.logs, arguments.scratch, project)
        write_provenance_folder(places, study=arguments.study)
