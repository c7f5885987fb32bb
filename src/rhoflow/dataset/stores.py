"""Where the per-shard stages left their stores, and what the dataset steps read of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.dataset.names import EMBEDDINGS, SLICES, image_folder
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_arrays, digest_json
from rhoflow.materials.integrity import check_content, known_digests, readable
from rhoflow.materials.shards import SUFFIXES, ShardReport, read_report
from rhoflow.sources.plan import plan_paths
from rhoflow.text.shards import read_texts

# Folders of the stages that every study has, below its result folder and in their order; a material that a further
# stage rejects stays in the study.
STORES = ("raw", "grids", "slices", "text")
KEPT = "dataset/kept.csv"

Shards = Mapping[str, list[str]]
Value = TypeVar("Value")
NewArray = Callable[[tuple[int, ...], type[np.float32]], NDArray[np.float32]]


def store_path(root: Path, folder: str, shard: str) -> Path:
    """Store of one shard, e.g. ``slices/0003.npz``; other images have folders of their own, ``images/<name>``."""
    return root / folder / f"{shard}{SUFFIXES[folder.partition('/')[0]]}"


def read_reports(root: Path, folder: str) -> list[ShardReport]:
    """Read the reports of one stage for all shards of the plan.

    Raises
    ------
    StudyError
        If a shard has none.
    """
    reports = []
    for shard in (path.stem for path in plan_paths(root / "plan")):
        store = store_path(root, folder, shard)
        try:
            reports.append(read_report(store))
        except FileNotFoundError as error:
            raise StudyError(f"{error.filename}: not there; run the stage that makes {store} again") from None
    return reports


def read_kept(root: Path) -> pd.DataFrame:
    """Read dataset/kept.csv as text, one row a material, sorted by id; NaN stays sodium nitride."""
    return pd.read_csv(root / KEPT, dtype=str, keep_default_na=False)


def shard_ids(kept: pd.DataFrame) -> dict[str, list[str]]:
    """Kept ids of each shard, sorted."""
    shards: dict[str, list[str]] = {}
    for shard, material_id in sorted(zip(kept["shard"], kept["material_id"], strict=True)):
        shards.setdefault(shard, []).append(material_id)
    return shards


def read_quantiles(root: Path, shards: Shards) -> NDArray[np.float64]:
    """Quantiles of the unified grid [e/A^3], (n, 21), for the ids of each shard in turn."""
    rows = []
    for shard, ids in shards.items():
        stats = read_report(store_path(root, "grids", shard)).stats
        rows += [_pick(stats, material_id, root, "grids", shard)["quantiles"] for material_id in ids]
    return np.array(rows, dtype=np.float64)


def read_images(
    root: Path, shards: Shards, folder: str = SLICES, *, new_array: NewArray = np.empty
) -> NDArray[np.float32]:
    """Density images in [-1, 1], (n, p, p) or (n, 3, p, p), in the order of their ids, a shard at a time.

    Parameters
    ----------
    new_array : callable
        Makes the array that the images are read into, of a shape and dtype.
    """
    place = {material_id: k for k, material_id in enumerate(sorted(name for ids in shards.values() for name in ids))}
    images: NDArray[np.float32] | None = None
    for shard, ids in shards.items():
        path = store_path(root, folder, shard)
        with readable(path), np.load(path, allow_pickle=False) as store:
            arrays = {name: store[name] for name in store.files}
        row_of = {material_id: row for row, material_id in enumerate(arrays.pop("ids").tolist())}
        known = known_digests(path)
        if images is None:
            images = new_array((len(place), *arrays["image"].shape[1:]), np.float32)
        for material_id in ids:
            row = _pick(row_of, material_id, root, folder, shard)
            digest = digest_arrays(*(np.asarray(stack[row]) for stack in arrays.values()))
            check_content(path, material_id, digest, known)
            images[place[material_id]] = arrays["image"][row]
    assert images is not None, "no materials"
    return images


def read_embeddings(root: Path, shards: Shards) -> NDArray[np.float32]:
    """Embeddings of the structures, (n, 64), for the ids of each shard in turn."""
    blocks = []
    for shard, ids in shards.items():
        path = store_path(root, EMBEDDINGS, shard)
        with readable(path), np.load(path, allow_pickle=False) as store:
            row_of = {material_id: row for row, material_id in enumerate(store["ids"].tolist())}
            embedding = store["embedding"]
        known = known_digests(path)
        for material_id in ids:
            row = embedding[_pick(row_of, material_id, root, EMBEDDINGS, shard)]
            check_content(path, material_id, digest_arrays(row), known)
            blocks.append(row)
    return np.array(blocks)


def read_side(root: Path, shards: Shards, folder: str = SLICES) -> NDArray[np.float64]:
    """Amplitude [e/A^3] and lattice constant [A] of the slices, (n, 2), for the ids of each shard in turn."""
    rows = []
    for shard, ids in shards.items():
        stats = read_report(store_path(root, folder, shard)).stats
        picked = [_pick(stats, material_id, root, folder, shard) for material_id in ids]
        rows += [(slice_["amplitude"], slice_["lattice_constant"]) for slice_ in picked]
    return np.array(rows, dtype=np.float64)


def read_periods(root: Path, shards: Shards, folder: str = SLICES) -> NDArray[np.float64]:
    """Vectors by which the images repeat, (n, 2, 2), rows (x, y) in units of the side; 0 where one does not."""
    rows = []
    for shard, ids in shards.items():
        stats = read_report(store_path(root, folder, shard)).stats
        picked = [_pick(stats, material_id, root, folder, shard) for material_id in ids]
        rows += [np.array(slice_["periods"]) / slice_["side"] for slice_ in picked]
    return np.array(rows, dtype=np.float64)


def read_level(root: Path, shards: Shards, level: str) -> list[str]:
    """Texts of one level for the ids of each shard in turn."""
    texts: list[str] = []
    for shard, ids in shards.items():
        path = store_path(root, "text", shard)
        with readable(path):
            records = read_texts(path)
        known = known_digests(path)
        for material_id in ids:
            text = _pick(records, material_id, root, "text", shard)
            check_content(path, material_id, digest_json(text), known)
            texts.append(str(text[level]))
    return texts


def read_digests(root: Path, shards: Shards, folder: str) -> list[str]:
    """Content digests of one stage for the ids of each shard in turn."""
    digests: list[str] = []
    for shard, ids in shards.items():
        known = read_report(store_path(root, folder, shard)).digests
        digests += [_pick(known, material_id, root, folder, shard) for material_id in ids]
    return digests


def read_image_digests(root: Path, shards: Shards, name: str) -> dict[str, str]:
    """Content digests of the images of a name (ablation.images), by id; rejected materials are left out."""
    return read_made_digests(root, shards, image_folder(name))


def read_made_digests(root: Path, shards: Shards, folder: str) -> dict[str, str]:
    """Content digests of a stage whose rejected materials stay in the study, by id; these are left out.

    Raises
    ------
    StudyError
        If a material has neither a digest nor a rejection.
    """
    digests: dict[str, str] = {}
    for shard, ids in shards.items():
        report = read_report(store_path(root, folder, shard))
        there = [material_id for material_id in ids if material_id not in report.rejected]
        digests |= {material_id: _pick(report.digests, material_id, root, folder, shard) for material_id in there}
    return digests


def _pick(values: Mapping[str, Value], material_id: str, root: Path, folder: str, shard: str) -> Value:
    if material_id not in values:
        store = store_path(root, folder, shard)
        raise StudyError(
            f"{store}: has no {material_id}, which {root / KEPT} keeps; one of the two is out of date:"
            f" delete {store} and run again"
        )
    return values[material_id]
