"""The generator is no installed package: make ``tools.dft`` importable, and give small examples of its data."""

import csv
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))


@pytest.fixture(scope="session")
def shipped_rows(demo: Path) -> dict[str, dict[str, str]]:
    """Rows of the shipped properties.csv by material id."""
    with (demo / "properties.csv").open(newline="") as file:
        return {row["material_id"]: row for row in csv.DictReader(file)}
