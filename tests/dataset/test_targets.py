"""What the source of a study can give is known before a density is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rhoflow.config import DirectorySource
from rhoflow.dataset.targets import check_sources
from rhoflow.errors import StudyError
from rhoflow.sources.catalog import write_catalog


@pytest.fixture
def crystals(tmp_path: Path, demo: Path) -> Path:
    shutil.copytree(demo / "Al_fcc", tmp_path / "crystals/Al_fcc")
    return tmp_path / "crystals"


def _check(crystals: Path, *targets: str) -> None:
    catalog = crystals.parent / "materials.parquet"
    where = {"n_shards": 1, "cache": crystals.parent / "cache.json", "field": "total", "dos": False}
    table = "properties.csv" if (crystals / "properties.csv").exists() else None
    source = DirectorySource(path=crystals, properties=table)
    write_catalog(source, catalog, crystals.parent / "rejected.json", **where)  # type: ignore[arg-type]
    check_sources(catalog, targets)


def test_target_that_neither_table_nor_runs_can_give_is_named(crystals: Path) -> None:
    with pytest.raises(StudyError, match="has no band_gap; it has no known property; add a column"):
        _check(crystals, "band_gap")
    (crystals / "Al_fcc/OUTCAR").write_text("not looked into yet")
    _check(crystals, "band_gap")
    with pytest.raises(
        StudyError, match=r"has no k_vrh; it has .*band_gap.*; add a column \(for example k_vrh_GPa\)"
    ):
        _check(crystals, "band_gap", "k_vrh")
    (crystals / "properties.csv").write_text("material_id,k_vrh_GPa\nAl_fcc,76\n")
    _check(crystals, "band_gap", "k_vrh")
