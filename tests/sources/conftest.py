"""A small source folder and the catalogue made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rhoflow.config import DirectorySource, Source
from rhoflow.materials.digests import read_json
from rhoflow.sources.catalog import write_catalog

IDS = ("AgCl", "MgO", "NaCl", "TiN")
TABLE = """material_id,k_vrh_GPa,band_gap_eV,prototype
AgCl,41,0.9,rocksalt
MgO,152,4.5,rocksalt
NaCl,23.5,5,rocksalt
TiN,275,0,rocksalt
"""


@pytest.fixture
def source(tmp_path: Path) -> DirectorySource:
    """Four materials with a density each and a table."""
    folder = tmp_path / "runs"
    for material_id in IDS:
        (folder / material_id).mkdir(parents=True)
        (folder / material_id / "CHGCAR").write_text(f"density of {material_id}")
    (folder / "properties.csv").write_text(TABLE)
    return DirectorySource(path=folder)


class Catalogued:
    """What `write_catalog` wrote."""

    def __init__(self, root: Path) -> None:
        self.table = root / "catalog/materials.parquet"
        self.rejected_file = root / "catalog/rejected.json"
        self.cache = root / "scratch/keys.json"

    @property
    def frame(self) -> pd.DataFrame:
        return pd.read_parquet(self.table).set_index("material_id")

    @property
    def rejected(self) -> dict[str, dict[str, str]]:
        return read_json(self.rejected_file)


Catalogue = Callable[..., Catalogued]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    def make(source: Source, n_shards: int = 3, **options: Any) -> Catalogued:
        made = Catalogued(tmp_path / "results")
        write_catalog(source, made.table, made.rejected_file, n_shards=n_shards, cache=made.cache, **options)
        return made

    return make
