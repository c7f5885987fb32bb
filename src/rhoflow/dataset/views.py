"""What a training sees, as a digest: a training runs again only if its view changed.

A view is one target, one level and one fold. Its digest covers, sorted by id, what such a training can see of each
material and nothing else: id, part, target value to the last bit, and content.

============  =======================================================
level         content of a material
============  =======================================================
``none``      digest of its image arrays, and its formula
``none-``...  the same of other images, ``ablation.images.<name>``
``density``   digest of its unified grid, of which the quantiles are
``structure`` digest of its structure's embedding
``formula``   its text of that level, word for word; likewise
              ``keywords`` and ``all``
============  =======================================================

So another wording of `all` leaves the trainings on `formula` alone. A material of which another image cannot be made
stays in the study and is left out of the views of that image alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow.config import near
from rhoflow.dataset.names import DENSITY, EMBEDDINGS, LEVELS, NO_TEXT, PARTS, STRUCTURE, image_level, images_of
from rhoflow.dataset.parts import TEST, Partition, fold_part, read_partitions
from rhoflow.dataset.stores import (
    read_digests,
    read_image_digests,
    read_kept,
    read_level,
    read_made_digests,
    shard_ids,
)
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_json, read_json, write_json

LEAST = 2  # materials a part: R2 is not defined for one


@dataclass(frozen=True)
class ViewRow:
    """One material of a view: id, part in this fold, target in house units, formula and shard."""

    material_id: str
    part: str
    y: float
    formula: str
    shard: str


@dataclass(frozen=True)
class Dataset:
    """The study-wide tables that all views share.

    Attributes
    ----------
    kept : DataFrame
        kept.csv, index material_id, sorted.
    targets : DataFrame
        targets.parquet, index material_id.
    partitions : tuple of Partition
        splits.json's, one a repeat.
    folds : int
        Number of folds of each repeat.
    """

    kept: pd.DataFrame
    targets: pd.DataFrame
    partitions: tuple[Partition, ...]
    folds: int

    @classmethod
    def read(cls, root: Path) -> Dataset:
        """Read the tables of a study's result folder."""
        folds = read_json(root / "dataset/splits.json")["folds"]
        kept = read_kept(root).set_index("material_id").sort_index()
        targets = pd.read_parquet(root / "dataset/targets.parquet").set_index("material_id")
        return cls(kept, targets, read_partitions(root), folds)

    def rows(self, target: str, fold: int) -> list[ViewRow]:
        """Materials with a value of `target`, sorted by id.

        Parameters
        ----------
        fold : int
            Fold index: fold k of repeat r is ``r * folds + k``.

        Raises
        ------
        StudyError
            If the target or the fold is not there.
        """
        if target not in self.targets:
            raise StudyError(
                f"target {target!r} is not in dataset/targets.parquet{near(target, self.targets.columns)};"
                f" it holds {', '.join(self.targets.columns)}"
            )
        n_indices = self.folds * len(self.partitions)
        if not 0 <= fold < n_indices:
            raise StudyError(f"fold {fold}: the split has folds 0 to {n_indices - 1}")
        repeat, own_fold = divmod(fold, self.folds)
        parts = self.partitions[repeat].parts
        y = self.targets[target].reindex(self.kept.index).dropna()
        kept = self.kept.loc[y.index]
        columns = zip(y.index, y.tolist(), kept["formula"], kept["shard"], strict=True)
        return [ViewRow(key, fold_part(parts[key], own_fold), value, *facts) for key, value, *facts in columns]


def write_views(root: Path, *, targets: Sequence[str], levels: Sequence[str], folds: int) -> None:
    """Write views/<target>.<level>.<fold>.json, each ``{"n": {"train", "val", "test"}, "digest"}``.

    Parameters
    ----------
    levels : sequence of str
        Some of ``none``, ``none-<name>``, ``density``, ``formula``, ``keywords``, ``all``.
    folds : int
        Number of folds, over all repeats.

    Raises
    ------
    StudyError
        If a part of a fold has fewer than two materials with the target.
    """
    dataset = Dataset.read(root)
    for level in levels:
        contents = read_contents(root, dataset, level)
        for target in targets:
            for fold in range(folds):
                rows = seen_rows(dataset.rows(target, fold), contents)
                _check_parts(rows, dataset, target, level, fold)
                write_json(view_path(root, target, level, fold), describe_view(rows, contents))


def view_path(root: Path, target: str, level: str, fold: int) -> Path:
    """File of a view."""
    return root / "views" / f"{target}.{level}.{fold}.json"


def read_contents(root: Path, dataset: Dataset, level: str) -> dict[str, str]:
    """Read what a training of a level can see of each kept material, as text (see the module's table).

    Materials that have no image of a level ``none-<name>`` are left out.
    """
    check_level(level)
    shards = shard_ids(dataset.kept.reset_index())
    name = images_of(level)
    if name:
        digests = read_image_digests(root, shards, name)
        formulas = dataset.kept.loc[list(digests), "formula"]
        return {key: f"{digest} {formula}" for (key, digest), formula in zip(digests.items(), formulas, strict=True)}
    if level == STRUCTURE:
        return read_made_digests(root, shards, EMBEDDINGS)
    ids = [material_id for group in shards.values() for material_id in group]
    if level == NO_TEXT:
        formulas = dataset.kept.loc[ids, "formula"]
        images = zip(read_digests(root, shards, "slices"), formulas, strict=True)
        values = [f"{digest} {formula}" for digest, formula in images]
    elif level == DENSITY:
        values = read_digests(root, shards, "grids")
    else:
        values = read_level(root, shards, level)
    return dict(zip(ids, values, strict=True))


def seen_rows(rows: Sequence[ViewRow], contents: Mapping[str, str]) -> list[ViewRow]:
    """Those of some materials of which a training sees something."""
    return [row for row in rows if row.material_id in contents]


def describe_view(rows: Sequence[ViewRow], contents: Mapping[str, str]) -> dict[str, Any]:
    """Content of a view file."""
    seen = sorted([row.material_id, row.part, row.y.hex(), contents[row.material_id]] for row in rows)
    return {"n": {part: sum(row.part == part for row in rows) for part in PARTS}, "digest": digest_json(seen)}


def check_level(level: str) -> None:
    """Stop at an unknown level."""
    if level not in LEVELS and images_of(level) is None:
        known = [*LEVELS, image_level("<name of other images>")]
        raise StudyError(f"level {level!r} is unknown{near(level, LEVELS)}; known: {', '.join(known)}")


def _check_parts(rows: Sequence[ViewRow], dataset: Dataset, target: str, level: str, fold: int) -> None:
    wanted = PARTS if TEST in dataset.partitions[fold // dataset.folds].parts.values() else PARTS[:2]
    for part in wanted:
        n = sum(row.part == part for row in rows)
        if n < LEAST:
            name = images_of(level)
            seen = f" and an image {name}" if name else ""
            remedy = f"take ablation.images.{name} out, or add materials" if name else "or add materials"
            raise StudyError(
                f"{target}, fold {fold}: {n} materials with this target{seen} in the {part} part, at least {LEAST}"
                f" are needed; use another splits.seed, fewer splits.folds, {remedy}"
            )
