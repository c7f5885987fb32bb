"""The materials of the Materials Project's answer, as `sources.materials_project.query` has kept it; no network."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from rhoflow.materials.digests import digest_json
from rhoflow.properties import PROPERTIES
from rhoflow.sources.materials_project.snapshot import read_snapshot
from rhoflow.sources.rows import AECCARS, CHECKS, TASK_DOS, Rows


def snapshot_rows(snapshot: Path, *, field: str, dos: bool) -> Rows:
    """Rows of a snapshot of the Materials Project.

    Parameters
    ----------
    snapshot : Path
        ``catalog/materials_project.jsonl.gz``.
    field, dos : str, bool
        What the study needs: a density field, densities of states.

    Returns
    -------
    Rows
        Its texts are ``task_id``, ``functional``, ``database_version`` and ``elastic_tensor`` (JSON of a 6x6
        matrix [GPa], or empty).
    """
    header, materials = read_snapshot(snapshot)
    result = Rows()
    numbers: dict[str, list[float]] = {key: [] for key in PROPERTIES}
    texts: dict[str, list[str]] = {name: [] for name in ("task_id", "functional", "elastic_tensor")}
    for material in materials:
        if "rejected" in material:
            result.rejected[material["id"]] = material["rejected"]
            continue
        result.rows.append(_row(material, AECCARS.get(field, ()), dos=dos))
        for key, values in numbers.items():
            value = material["properties"].get(key)
            values.append(math.nan if value is None else float(value))
        tensor = material["elastic_tensor"]
        texts["task_id"].append(material["task_id"])
        texts["functional"].append(material["functional"])
        texts["elastic_tensor"].append(json.dumps(tensor) if tensor else "")
    kept = {key: np.array(values, dtype=np.float64) for key, values in numbers.items()}
    result.numbers = {key: values for key, values in kept.items() if not np.isnan(values).all()}
    result.texts = texts | {"database_version": [header["database_version"]] * len(result.rows)}
    return result


def _row(material: dict[str, Any], aeccars: tuple[int, ...], *, dos: bool) -> dict[str, Any]:
    core, valence = material["aeccar"] or (None, None)
    parts = (core, None, valence) if aeccars == (0, 2) else (None, None, None)  # the project keeps no AECCAR1
    dos_task = f"{TASK_DOS}{material['dos_task']}" if dos and material["dos_task"] else None
    made_of = [material["density"], material["bytes"], material["etag"], *parts]
    made_of += [material["aeccar_bytes"] if any(parts) else None]
    # Snapshots of earlier versions say nothing of these.
    etags = material.get("aeccar_etags") if any(parts) else None
    made_of += [etags] if etags else []
    checks: dict[str, dict[str, Any]] = {"density": {"etag": material["etag"]}} if material["etag"] else {}
    if any(parts):
        sizes = zip(("aeccar0", "aeccar2"), material["aeccar_bytes"], etags or (None, None), strict=True)
        checks |= {role: {"bytes": size} | ({"etag": etag} if etag else {}) for role, size, etag in sizes}
    return {
        "material_id": material["id"],
        "path": material["density"],
        "structure_path": None,
        "run_path": None,
        **{f"aeccar{k}_path": path for k, path in enumerate(parts)},
        "dos": dos_task,
        "sha256": None,
        "size_bytes": material["bytes"],
        "content_key": digest_json(made_of),
        CHECKS: json.dumps(checks, sort_keys=True) if checks else None,
    }
