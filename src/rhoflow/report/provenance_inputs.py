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
    kept = set(read_kept(root)["material_id"]) if (root / KEPT).exists() else set()
    why = rejections(root)
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


def rejections(root: Path) -> dict[str, str]:
    """First reason of each material that is out, by id: ``<stage>, <reason>``."""
    file = root / "dataset/rejected.csv"
    if not file.exists():
        return {}
    rows = pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records")
    return {row["material_id"]: f"{row['stage']}, {row['reason']}" for row in reversed(rows)}


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
