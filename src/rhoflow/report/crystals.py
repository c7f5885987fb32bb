"""The crystals of a study as the report shows them: properties, part, image and text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.materials.digests import read_json
from rhoflow.materials.ids import hash_integer
from rhoflow.report.labels import prototype_label


@dataclass(frozen=True)
class Picture:
    """The image of a crystal.

    Attributes
    ----------
    image : (p, p) float32 array
        Scaled density, dimensionless in [-1, 1]; rows along -y, columns along +x.
    side : float
        Side of the square [A].
    lattice_constant : float
        Conventional lattice constant [A].
    """

    image: NDArray[np.float32]
    side: float
    lattice_constant: float


def read_crystals(root: Path) -> pd.DataFrame:
    """Kept crystals: kept.csv with ``part`` (``test`` or ``fold k``), readable ``prototype`` and the targets.

    What has not been written yet is left out: without kept.csv the frame is empty.
    """
    folder = root / "dataset"
    if not (folder / "kept.csv").exists():
        return pd.DataFrame({"material_id": [], "formula": [], "prototype": [], "part": []}, dtype=str)
    crystals = pd.read_csv(folder / "kept.csv", dtype=str, keep_default_na=False)  # NaN is sodium nitride
    crystals["prototype"] = [prototype_label(one) for one in crystals["prototype"]]
    splits = folder / "splits.json"
    assignment = read_json(splits)["assignment"] if splits.exists() else {}
    crystals["part"] = [_part_name(assignment.get(material_id)) for material_id in crystals["material_id"]]
    targets = folder / "targets.parquet"
    if targets.exists():
        values = pd.read_parquet(targets)
        repeated = [name for name in values if name != "material_id" and name in crystals]
        crystals = crystals.drop(columns=repeated).merge(values, on="material_id", how="left")
    return crystals.sort_values("material_id", ignore_index=True)


def _part_name(assigned: str | int | None) -> str:
    if assigned is None:
        return "unassigned"
    return "test" if assigned == "test" else f"fold {assigned}"


def read_pictures(root: Path, ids: Sequence[str]) -> dict[str, Picture]:
    """Images of some crystals, by id; one without an image is left out."""
    wanted, found = set(ids), {}
    for file in sorted(root.glob("slices/*.npz")):
        with np.load(file) as store:
            rows = [k for k, material_id in enumerate(store["ids"]) if material_id in wanted]
            if rows:
                images, sides, constants = store["image"], store["side"], store["lattice_constant"]
                for k in rows:
                    found[str(store["ids"][k])] = Picture(images[k], float(sides[k]), float(constants[k]))
    return found


def read_text(root: Path, material_id: str) -> dict[str, Any] | None:
    """Text record of a crystal (formula, keywords, all, origin, note); None if it has none."""
    for file in sorted(root.glob("text/*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                record: dict[str, Any] = json.loads(line)
                if record["id"] == material_id:
                    return record
    return None


def varied_examples(crystals: pd.DataFrame, n: int) -> list[str]:
    """Ids of `n` crystals of as many prototypes as possible, the most frequent first; the same ones every time.

    Within a prototype the hash of the id decides, so that nobody picks pretty ones.
    """
    queues = [
        sorted(group["material_id"], key=lambda one: hash_integer("example", one))
        for _, group in sorted(crystals.groupby("prototype"), key=lambda item: (-len(item[1]), item[0]))
    ]
    chosen: list[str] = []
    for turn in range(max(map(len, queues), default=0)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
    return chosen[:n]
