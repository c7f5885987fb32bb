"""The plan: one small manifest a shard, so that only shards whose materials changed run again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rhoflow.materials.digests import read_json
from rhoflow.sources.rows import CHECKS, DESCRIPTION
from rhoflow.sources.stable import json_bytes, write_if_changed

# Key of a manifest's entry: column of the catalogue.
_ENTRY = {
    "id": "material_id",
    "density": "path",
    "structure": "structure_path",
    "run": "run_path",
    "dos": "dos",
    "sha256": "sha256",
    "bytes": "size_bytes",
    "key": "content_key",
}
_AECCARS = ("aeccar0_path", "aeccar1_path", "aeccar2_path")


def shard_names(n_shards: int) -> list[str]:
    """Names of all shards, empty ones included: ``["0000", "0001", ...]``."""
    return [f"{shard:04d}" for shard in range(n_shards)]


def write_plan(
    catalog: Path, folder: Path, n_shards: int, *, snapshot: Path | None = None, described: bool = False
) -> None:
    """Write ``<folder>/<shard>.json`` for every shard; a manifest whose bytes would stay the same is left alone.

    A manifest names the materials of a shard, sorted by id, with the files to read and their content key.
    Properties are not in it: a new value of a target must not rerun a shard.

    Parameters
    ----------
    catalog : Path
        ``catalog/materials.parquet``.
    folder : Path
        ``plan/``; manifests of shards beyond `n_shards` are removed.
    snapshot : Path, optional
        The Materials Project's answer: its descriptions go to ``<folder>/<shard>.texts.json.gz``, ``{id: text}``
        of the materials that have one, for every shard.
    described : bool
        These are taken from the catalogue's column ``description`` instead. Without either there are no such files.
    """
    shards: dict[str, list[dict[str, Any]]] = {shard: [] for shard in shard_names(n_shards)}
    known = [CHECKS] if CHECKS in pq.read_schema(catalog).names else []
    for row in pq.read_table(catalog, columns=[*_ENTRY.values(), *_AECCARS, "shard", *known]).to_pylist():
        entry = {key: row[column] for key, column in _ENTRY.items()}
        checks = {CHECKS: json.loads(row[CHECKS])} if row.get(CHECKS) else {}
        shards[row["shard"]].append(entry | {"aeccar": [row[column] for column in _AECCARS]} | checks)
    for shard, materials in shards.items():
        materials.sort(key=lambda material: material["id"])
        write_if_changed(folder / f"{shard}.json", json_bytes({"shard": shard, "materials": materials}))
    if snapshot or described:
        _write_texts(folder, shards, _snapshot_texts(snapshot) if snapshot else _catalog_texts(catalog))
    for path in plan_paths(folder):
        if path.stem not in shards:
            path.unlink()
    for path in folder.glob("[0-9][0-9][0-9][0-9].texts.json.gz"):
        if path.name[:4] not in shards or not (snapshot or described):
            path.unlink()


def plan_paths(folder: Path) -> list[Path]:
    """Manifests of a plan folder, sorted by shard."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9].json"))


def read_plan(path: Path) -> list[dict[str, Any]]:
    """Materials of a manifest, sorted by id.

    Each is ``{"id", "density", "structure", "run", "aeccar", "dos", "sha256", "bytes", "key"}``: files are paths or
    ``s3://`` locations, or None; ``aeccar`` is a list of three of them. Where the source knows more of the files,
    there is also ``checks``, see `rows.CHECKS`.
    """
    materials: list[dict[str, Any]] = read_json(path)["materials"]
    return materials


def read_plan_texts(path: Path) -> dict[str, str]:
    """Read the Materials Project's descriptions of the materials of a manifest, by id; none from other sources.

    Parameters
    ----------
    path : Path
        The manifest, ``plan/<shard>.json``.
    """
    packed = _texts_path(path.parent, path.stem)
    texts: dict[str, str] = json.loads(gzip.decompress(packed.read_bytes())) if packed.is_file() else {}
    return texts


def _texts_path(folder: Path, shard: str) -> Path:
    return folder / f"{shard}.texts.json.gz"


def _snapshot_texts(snapshot: Path) -> Iterator[tuple[str, str]]:
    from rhoflow.sources.materials_project.snapshot import read_snapshot

    return ((material["id"], material.get("text") or "") for material in read_snapshot(snapshot)[1])


def _catalog_texts(catalog: Path) -> Iterator[tuple[str, str]]:
    table = pq.read_table(catalog, columns=["material_id", DESCRIPTION])
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _write_texts(folder: Path, shards: dict[str, list[dict[str, Any]]], found: Iterable[tuple[str, str]]) -> None:
    """Write the descriptions of every shard."""
    shard_of = {entry["id"]: shard for shard, materials in shards.items() for entry in materials}
    texts: dict[str, dict[str, str]] = {shard: {} for shard in shards}
    for material_id, text in found:
        if material_id in shard_of and text:
            texts[shard_of[material_id]][material_id] = text
    for shard, of_shard in texts.items():
        plain = json.dumps(of_shard, sort_keys=True, ensure_ascii=False).encode()
        write_if_changed(_texts_path(folder, shard), gzip.compress(plain, compresslevel=6, mtime=0))
