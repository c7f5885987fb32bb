"""The plan: one small manifest a shard, so that only shards whose materials changed run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rhoflow.materials.digests import read_json
from rhoflow.sources.stable import json_bytes, write_if_changed


def shard_names(n_shards: int) -> list[str]:
    """Names of all shards, empty ones included: ``["0000", "0001", ...]``."""
    return [f"{shard:04d}" for shard in range(n_shards)]


def write_plan(catalog: Path, folder: Path, n_shards: int) -> None:
    """Write ``<folder>/<shard>.json`` for every shard; a manifest whose bytes would stay the same is left alone.

    A manifest names the materials of a shard, sorted by id, with the files to read and their content key.
    Properties are not in it: a new value of a target must not rerun a shard.

    Parameters
    ----------
    catalog : Path
        ``catalog/materials.parquet``.
    folder : Path
        ``plan/``; manifests of shards beyond `n_shards` are removed.
    """
    columns = ["material_id", "path", "structure_path", "content_key", "shard"]
    shards: dict[str, list[dict[str, Any]]] = {shard: [] for shard in shard_names(n_shards)}
    for row in pq.read_table(catalog, columns=columns).to_pylist():
        shards[row["shard"]].append(
            {
                "id": row["material_id"],
                "density": row["path"],
                "structure": row["structure_path"],
                "key": row["content_key"],
            }
        )
    for shard, materials in shards.items():
        materials.sort(key=lambda material: material["id"])
        write_if_changed(folder / f"{shard}.json", json_bytes({"shard": shard, "materials": materials}))
    for path in plan_paths(folder):
        if path.stem not in shards:
            path.unlink()


def plan_paths(folder: Path) -> list[Path]:
    """Manifests of a plan folder, sorted by shard."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9].json"))


def read_plan(path: Path) -> list[dict[str, Any]]:
    """Materials of a manifest: ``{"id", "density", "structure", "key"}`` each, sorted by id."""
    materials: list[dict[str, Any]] = read_json(path)["materials"]
    return materials
