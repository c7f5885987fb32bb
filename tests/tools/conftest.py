"""Small examples of the data that the generator shipped."""

import csv
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shipped_rows(demo: Path) -> dict[str, dict[str, str]]:
    """Rows of the shipped properties.csv by material id."""
    with (demo / "properties.csv").open(newline="") as file:
        return {row["material_id"]: row for row in csv.DictReader(file)}
