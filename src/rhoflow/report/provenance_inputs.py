"""The raw files of a study: a row a planned or rejected material, with what is known of its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from rhoflow.config import Source
from rhoflow.dataset.stores import KEPT, read_kept, store_path
from rhoflow.materials.digests import digest_file, read_json
from rhoflow.materials.shards import read_report, summary_path
from rhoflow.sources.plan import plan_paths, read_plan

COLUMNS = (
    *("material_id", "shard", "status", "location", "bytes", "sha256"),
    *("task_id", "functional", "database_version"),
)
# Stages that reject, as rejected.csv names them, in the order in which a material meets them; in words.
STAGES = {
    "catalog": "cataloguing",
    "ingest": "reading the densities",
    "grids": "the unified grid",
    "slices": "cutting the plane",
    "describe": "describing the structure",
    "clean": "the outlier filter",
    "targets": "asking for a target value",
}
_TEXTS = ("task_id", "functional", "database_version")
_REMOTE = ("s3://", "mp:")


def inputs_table(root: Path, source: Source, cache: Path | None = None) -> pd.DataFrame:
    """List the planned materials and those that the catalogue rejected, sorted by id; empty without a plan.

    Parameters
    ----------
    source : Source
        Locations of local files are given relative to its folder: where it lies is nobody's business.
    cache : Path or None
        ``content-keys.json``, the hashes that the catalogue noted; a local file that is not in it is read.
    """
    kept = _kept(root)
    why = {key: ", ".join(out) for key, out in rejections(root).items()}
    texts = _texts(root)
    known = _known(cache)
    rows: dict[str, dict[str, Any]] = {
        key: {"material_id": key, "status": f"rejected: {reason}"} for key, reason in why.items()
    }
    for plan in plan_paths(root / "plan"):
        stats = _ingested(root, plan.stem)
        for entry in read_plan(plan):
            key, facts = entry["id"], stats.get(entry["id"], {})
            rows[key] = {
                "material_id": key,
                "shard": plan.stem,
                "status": "kept" if key in kept else f"rejected: {why.get(key, 'not said')}",
                "location": public_location(entry["density"], source),
                "bytes": facts.get("bytes") or entry["bytes"],
                "sha256": facts.get("sha256") or entry["sha256"] or _sha256(entry["density"], known),
                **texts.get(key, {}),
            }
    table = pd.DataFrame([rows[key] for key in sorted(rows)], columns=list(COLUMNS))
    return table.astype({"bytes": "Int64"})


def rejections(root: Path) -> dict[str, tuple[str, str]]:
    """First stage that rejected each material that is out, with its reason, by id.

    A kept material may have rows in rejected.csv too: of targets that it lacks, or cells that cannot be read.
    """
    file = root / "dataset/rejected.csv"
    if not file.exists():
        return {}
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    rows = rows[~rows["material_id"].isin(_kept(root))]
    order = [*STAGES, *sorted(set(rows["stage"]) - set(STAGES))]
    rows = rows.sort_values("stage", key=lambda stages: stages.map(order.index), kind="stable")
    first = rows.drop_duplicates("material_id")
    return {key: (stage, reason) for key, stage, reason in first[["material_id", "stage", "reason"]].to_numpy()}


def _kept(root: Path) -> set[str]:
    return set(read_kept(root)["material_id"]) if (root / KEPT).exists() else set()


def public_location(path: str, source: Source) -> str:
    """Where a file lies, without the folders above its source: these may name a user or a project."""
    if path.startswith(_REMOTE):
        return path
    folder = getattr(source, "path", None) or getattr(source, "folder", None)
    if folder is None:
        folder = Path(getattr(source, "file", "")).parent
    relative = os.path.relpath(path, folder)
    return Path(relative).as_posix() if not relative.startswith("..") else Path(path).name


def _ingested(root: Path, shard: str) -> dict[str, dict[str, Any]]:
    store = store_path(root, "raw", shard)
    return read_report(store).stats if summary_path(store).exists() else {}


def _texts(root: Path) -> dict[str, dict[str, str]]:
    """Task, functional and database version of each material of the catalogue that has them."""
    path = root / "catalog/materials.parquet"
    if not path.exists():
        return {}
    there = [name for name in _TEXTS if name in pq.read_schema(path).names]
    rows = pq.read_table(path, columns=["material_id", *there]).to_pylist()
    return {row.pop("material_id"): row for row in rows}


def _known(cache: Path | None) -> Mapping[str, Any]:
    found = read_json(cache) if cache is not None and cache.exists() else {}
    return found if isinstance(found, dict) else {}


def _sha256(path: str, known: Mapping[str, Any]) -> str | None:
    file = Path(path)
    if path.startswith(_REMOTE) or not file.is_file():
        return None
    size, _, sha256 = known.get(path, (None, None, None))
    return str(sha256) if sha256 and size == file.stat().st_size else digest_file(file)
