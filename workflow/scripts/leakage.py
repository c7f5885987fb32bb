"""Check that nothing leaks between training and test: dataset/leakage.json."""

import argparse
from pathlib import Path

from rhoflow.dataset.leakage import write_leakage
from rhoflow.job_record import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--images", nargs="*", default=[], help="names of other images of the crystals")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        write_leakage(arguments.root, arguments.images)
