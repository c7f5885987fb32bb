"""Captions of tables and figures in Snakemake's report."""

from __future__ import annotations

from pathlib import Path

from rhoflow.report.names import PER_TARGET, TABLES, WHOLE
from rhoflow.training.search.names import TABLE as SEARCH_TABLE


def captions(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text().splitlines()[0] for file in folder.glob("*.rst")}


def test_every_table_has_a_caption_of_its_own(project: Path) -> None:
    """Snakemake's report shows the CSV files, those of tests under one caption."""
    files = [f"{name}.{suffix}" for name, suffixes in TABLES.items() for suffix in suffixes] + list(SEARCH_TABLE)
    shown = {file.removesuffix(".csv") for file in files if file.endswith(".csv")}
    found = captions(project / "report/tables")
    assert set(found) == {"tests" if name.endswith("_tests") else name for name in shown}
    assert len(set(found.values())) == len(found)


def test_every_figure_has_a_caption_of_its_own(project: Path) -> None:
    found = captions(project / "report/figures")
    assert set(found) == {*PER_TARGET, *WHOLE}
    assert len(set(found.values())) == len(found)
