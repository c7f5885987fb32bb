"""The way back from a result to the raw densities, as `rhoflow lineage` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file, read_json

LINEAGE = "provenance/lineage.json"
INPUTS = "provenance/inputs.csv"
# Kinds of nodes in the order of the way back, by how their names begin.
_KINDS = {
    "series": ("series/",),
    "runs": ("runs/",),
    "checkpoints": ("runs/",),
    "searches": ("search/",),
    "views": ("views/",),
    "dataset": ("dataset/",),
    "stores": (),  # all others
    "archives": ("raw/",),
    "plan": ("plan/",),
    "catalogue": ("catalog/",),
}
_WORDS = {"runs": "files of runs", "dataset": "files of the dataset", "plan": "plans of shards"}
_SHOWN = 4  # names a kind, unless all are asked for


def ancestors(edges: Mapping[str, Iterable[str]], name: str) -> list[str]:
    """Everything that a node goes back to, sorted, without itself."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        for source in edges.get(waiting.pop(), ()):
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return sorted(seen)


def by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Nodes by kind, in the order of the way back."""
    kinds: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name in names:
        kind = next((kind for kind, starts in _KINDS.items() if name.startswith(starts)), "stores")
        if kind == "runs":
            kind = "checkpoints" if name.endswith(".safetensors") else "runs"
        kinds[kind].append(name)
    return kinds


def counts(edges: Mapping[str, Iterable[str]], name: str) -> dict[str, int]:
    """How many nodes of each kind a result goes back to; a run counts once for all its files."""
    found = by_kind(ancestors(edges, name))
    return {
        kind: len({Path(one).parent for one in names} if kind == "runs" else names) for kind, names in found.items()
    }


def way_back(path: Path) -> dict[str, Any]:
    """Return where a result of a finished study comes from.

    Parameters
    ----------
    path : Path
        A table, a figure or any file below ``results/<study>`` that the trail has.

    Returns
    -------
    dict
        ``study``, ``file``, ``lineage`` (id), ``run_id``, ``sha256`` (as recorded), ``made_from`` (names by kind),
        ``files`` (hashes by name), ``from`` (edges), ``raw`` (rows of inputs.csv, of what was kept).

    Raises
    ------
    StudyError
        If no study of that file has a provenance, the file is not in it, or was changed since.
    """
    root = next((folder for folder in path.resolve().parents if (folder / LINEAGE).is_file()), None)
    if root is None:
        raise StudyError(
            f"{path}: no folder above it has {LINEAGE}: name a file below results/<study> of a finished run"
        )
    record = read_json(root / LINEAGE)
    name = path.resolve().relative_to(root).as_posix()
    if name not in record["from"]:
        known = ", ".join(one for one in record["from"] if one.startswith("tables/"))
        raise StudyError(f"{path} is not in {LINEAGE} of the study {record['study']!r}, which has e.g. {known}")
    noted = record["files"].get(name, {})
    if "sha256" in noted and path.is_file() and digest_file(path) != noted["sha256"]:
        raise StudyError(f"{path} is not the file that {LINEAGE} describes: it changed since; run snakemake again")
    found = ancestors(record["from"], name)
    inside = [name, *found]
    return {
        "study": record["study"],
        "file": name,
        "lineage": record["lineage"]["id"],
        "run_id": record["run_id"],
        "sha256": noted.get("sha256"),
        "made_from": {kind: names for kind, names in by_kind(found).items() if names},
        "files": {one: record["files"][one] for one in inside if one in record["files"]},
        "from": {one: record["from"][one] for one in inside if one in record["from"]},
        "raw": _raw(root, {Path(one).stem for one in found if one.startswith("raw/")}),
    }


def _raw(root: Path, shards: set[str]) -> list[dict[str, Any]]:
    """Kept raw files of some shards."""
    rows = pd.read_csv(root / INPUTS, dtype=str, keep_default_na=False)
    rows = rows[(rows["status"] == "kept") & rows["shard"].isin(shards)]
    return [{str(key): value for key, value in row.items() if value} for row in rows.to_dict("records")]


def format_way(way: Mapping[str, Any], *, everything: bool = False) -> str:
    """Lines for a terminal, from the result down to the raw files."""
    lines = [f"{way['file']}   lineage {way['lineage']}, run {way['run_id']}"]
    lines += [f"  sha256 {way['sha256']}"] if way["sha256"] else []
    for kind, names in way["made_from"].items():
        lines.append(f"  <- {len(names)} {_WORDS.get(kind, kind)}")
        told = names if everything else names[:_SHOWN]
        lines += [f"       {one}{_hash(way['files'].get(one, {}))}" for one in told]
        lines += _more(len(names) - len(told))
    raw = way["raw"]
    lines.append(f"  <- {len(raw)} raw densities")
    told_rows = raw if everything else raw[:_SHOWN]
    lines += [
        f"       {row['material_id']}  {row['location']}  sha256 {row.get('sha256', 'not known')}"
        for row in told_rows
    ]
    return "\n".join([*lines, *_more(len(raw) - len(told_rows))])


def format_json(way: Mapping[str, Any]) -> str:
    """JSON with sorted keys."""
    return json.dumps(way, sort_keys=True, indent=1, ensure_ascii=False)


def _hash(noted: Mapping[str, Any]) -> str:
    key = next((key for key in ("sha256", "content") if key in noted), None)
    return f"  {key} {noted[key][:16]}" if key else ""


def _more(n: int) -> list[str]:
    return [f"       ... and {n} more (--all, --json)"] if n else []
