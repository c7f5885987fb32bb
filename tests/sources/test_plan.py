"""Manifests: all shards, stable bytes, and nothing in them that a shard's stages do not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rhoflow.config import DirectorySource
from rhoflow.materials.digests import read_json
from rhoflow.sources.plan import plan_paths, read_plan, shard_names, write_plan

from .conftest import IDS, TABLE, Catalogue

OLD_NS = 1_600_000_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "plan"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in plan_paths(folder)}


def test_plan_holds_every_material_once(source: DirectorySource, catalogue: Catalogue, folder: Path) -> None:
    made = catalogue(source, 3)
    write_plan(made.table, folder, 3)
    entries = [entry for path in plan_paths(folder) for entry in read_plan(path)]
    assert sorted(entry["id"] for entry in entries) == sorted(IDS)
    frame = made.frame
    for entry in entries:
        row = frame.loc[entry["id"]]
        assert entry == {
            "id": entry["id"],
            "density": row["path"],
            "structure": None,
            "run": None,
            "aeccar": [None, None, None],
            "dos": None,
            "sha256": row["sha256"],
            "bytes": row["size_bytes"],
            "key": row["content_key"],
        }


def test_plan_has_every_shard_also_empty_ones(source: DirectorySource, catalogue: Catalogue, folder: Path) -> None:
    write_plan(catalogue(source, 20).table, folder, 20)
    assert [path.stem for path in plan_paths(folder)] == shard_names(20)
    assert {"shard": "0000", "materials": []} in [read_json(path) for path in plan_paths(folder)]


def test_new_property_value_leaves_the_plan_alone(
    source: DirectorySource, catalogue: Catalogue, folder: Path
) -> None:
    write_plan(catalogue(source, 3).table, folder, 3)
    before = _bytes(folder)
    (source.path / "properties.csv").write_text(TABLE.replace("275", "276"))
    write_plan(catalogue(source, 3).table, folder, 3)
    assert _bytes(folder) == before


def test_new_density_rewrites_its_shard_alone(source: DirectorySource, catalogue: Catalogue, folder: Path) -> None:
    made = catalogue(source, 20)
    write_plan(made.table, folder, 20)
    for path in plan_paths(folder):
        os.utime(path, ns=(OLD_NS, OLD_NS))
    (source.path / "MgO/CHGCAR").write_text("another density")
    write_plan(catalogue(source, 20).table, folder, 20)
    written = [path.stem for path in plan_paths(folder) if path.stat().st_mtime_ns != OLD_NS]
    assert written == [made.frame.loc["MgO", "shard"]]


def test_fewer_shards_remove_the_manifests_beyond(
    source: DirectorySource, catalogue: Catalogue, folder: Path
) -> None:
    write_plan(catalogue(source, 5).table, folder, 5)
    write_plan(catalogue(source, 2).table, folder, 2)
    assert [path.stem for path in plan_paths(folder)] == ["0000", "0001"]
