"""The crystals of a study as the report shows them: properties, part, image and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.dataset.stores import KEPT, read_kept, shard_ids, store_path
from rhoflow.density.images import site_plane
from rhoflow.materials.digests import read_json
from rhoflow.materials.ids import hash_integer
from rhoflow.materials.integrity import readable
from rhoflow.report.labels import prototype_label
from rhoflow.text.shards import TextRecord, read_texts


@dataclass(frozen=True)
class Picture:
    """The image of a crystal.

    Attributes
    ----------
    image : (p, p) float32 array
        Scaled density on the plane through the site, dimensionless in [-1, 1]; rows along -y, columns along +x.
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
    if not (root / KEPT).exists():
        return pd.DataFrame({"material_id": [], "formula": [], "prototype": [], "part": []}, dtype=str)
    crystals = read_kept(root)
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


def _part_name(assigned: str | int | list[int] | None) -> str:
    if assigned is None:
        return "unassigned"
    if isinstance(assigned, list):  # with held-out elements a material may validate in several folds, or in none
        return "several folds" if assigned else "training always"
    return "test" if assigned == "test" else f"fold {assigned}"


def kept_shards(root: Path) -> dict[str, list[str]]:
    """Kept ids of each shard; none without kept.csv.

    Only these stores are read: stores that an older number of shards left behind hold the same ids.
    """
    return shard_ids(read_kept(root)) if (root / KEPT).exists() else {}


def read_pictures(root: Path, ids: Sequence[str]) -> dict[str, Picture]:
    """Images of some kept crystals, by id; one without an image is left out."""
    found: dict[str, Picture] = {}
    for shard, kept in kept_shards(root).items():
        wanted, file = set(ids).intersection(kept), store_path(root, "slices", shard)
        if wanted and file.exists():
            found |= _stored_pictures(file, wanted)
    return found


def _stored_pictures(file: Path, wanted: set[str]) -> dict[str, Picture]:
    with readable(file), np.load(file, allow_pickle=False) as store:
        images, sides, constants = site_plane(store["image"]), store["side"], store["lattice_constant"]
        return {
            material_id: Picture(images[k], float(sides[k]), float(constants[k]))
            for k, material_id in enumerate(store["ids"].tolist())
            if material_id in wanted
        }


def read_text(root: Path, material_id: str) -> TextRecord | None:
    """Text record of a kept crystal (formula, keywords, all, origin, note); None if it has none."""
    for shard, kept in kept_shards(root).items():
        file = store_path(root, "text", shard)
        if material_id in kept and file.exists():
            with readable(file):
                return read_texts(file).get(material_id)
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
