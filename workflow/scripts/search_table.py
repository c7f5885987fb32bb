"""Gather what the searches chose into tables/search.csv and search.md."""

import argparse
from pathlib import Path

from rhoflow.config import Study
from rhoflow.job_record import job
from rhoflow.report.provenance import code_version, lineage
from rhoflow.training.search.table import write_table

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--chosen", type=Path, nargs="+", required=True, help="search/<model>/.../fold<k>.json")
parser.add_argument("--root", type=Path, required=True, help="results/<study>")
parser.add_argument("--study", type=Study.model_validate_json, required=True, help="JSON of the study")

if __name__ == "__main__":
    arguments = parser.parse_args()
    with job(arguments):
        known = lineage(arguments.root, arguments.study, code_version())
        write_table(arguments.chosen, arguments.root / "tables", lineage_id=known.id)
