"""Gather what the searches chose into tables/search.csv and search.md."""

import argparse
from pathlib import Path

from rhoflow.job_record import job
from rhoflow.training.search.table import write_table

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--chosen", type=Path, nargs="+", required=True, help="search/<model>/.../fold<k>.json")
parser.add_argument("--tables", type=Path, required=True, help="results/<study>/tables")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        write_table(arguments.chosen, arguments.tables)
