"""What a training sees: materials with their part, target and inputs, and whether it is what their view says."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoflow.dataset.names import DENSITY, NO_TEXT, PARTS
from rhoflow.dataset.stores import read_images, read_level, read_quantiles, read_side
from rhoflow.dataset.views import Dataset, ViewRow, check_level, describe_view, read_contents, view_path
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_arrays, digest_json, read_json


@dataclass(frozen=True)
class View:
    """The materials of one target, level and fold, sorted by id, with the inputs of that level.

    Image and text together, which the fusion network reads, are the inputs of two levels.

    Attributes
    ----------
    ids : (n,) str array
        Material ids.
    part : (n,) str array
        ``train``, ``val`` or ``test``.
    y : (n,) float64 array
        Target in its house unit.
    images : (n, p, p) or (n, 3, p, p) float32 array or None
        Density images in [-1, 1]; level `none`.
    formulas : tuple of n str, or None
        Reduced formulas; level `none`.
    quantiles : (n, 21) float64 array or None
        0, 5, ..., 100 % of the unified grid's density [e/A^3]; level `density`.
    texts : tuple of n str, or None
        Texts of the level; levels `formula`, `keywords`, `all`.
    side : (n, 2) float64 array or None
        Amplitude of the slice [e/A^3] and lattice constant [A], which the images are without; level `none`.
    """

    ids: NDArray[np.str_]
    part: NDArray[np.str_]
    y: NDArray[np.float64]
    images: NDArray[np.float32] | None = None
    formulas: tuple[str, ...] | None = None
    quantiles: NDArray[np.float64] | None = None
    texts: tuple[str, ...] | None = None
    side: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if values is not None and len(values) != len(self.ids):
                raise ValueError(
                    f"View.{field.name}: {len(values)} entries for {len(self.ids)} ids; one for each id is needed"
                )
        unknown = sorted(set(self.part.tolist()) - set(PARTS))
        if unknown:
            raise ValueError(f"View.part: {unknown[0]!r} is unknown; allowed: {', '.join(PARTS)}")
        if not np.isfinite(self.y).all():
            bad = self.ids[~np.isfinite(self.y)][0]
            raise ValueError(f"View.y: the target of {bad} is not finite; leave such materials out of the view")

    def rows(self, part: str) -> NDArray[np.intp]:
        """Row numbers of one part, ascending."""
        return np.flatnonzero(self.part == part)

    def input_digest(self) -> str:
        """sha256 of what a model reads of the materials, in their order."""
        given = (self.images, self.quantiles, self.side)
        arrays = [None if values is None else digest_arrays(values) for values in given]
        return digest_json([*arrays, self.formulas, self.texts])

    def digest(self) -> str:
        """sha256 of everything a training can see."""
        return digest_json([digest_arrays(self.ids, self.part, self.y), self.input_digest()])


def load_view(root: Path, target: str, level: str, fold: int) -> View:
    """Read the materials, parts, targets and inputs of a training from the stores.

    Parameters
    ----------
    root : Path
        Result folder of the study.
    level : str
        ``none`` (images and formulas), ``density`` (quantiles), or a text level.

    Raises
    ------
    StudyError
        If the stores no longer hold what the view file says, or target, level or fold is unknown.
    """
    check_level(level)
    dataset = Dataset.read(root)
    rows = dataset.rows(target, fold)
    _check_digest(root, dataset, rows, view_path(root, target, level, fold), level)
    view = View(
        ids=np.array([row.material_id for row in rows], dtype=np.str_),
        part=np.array([row.part for row in rows], dtype=np.str_),
        y=np.array([row.y for row in rows], dtype=np.float64),
    )
    return _with_inputs(view, root, rows, level)


def _check_digest(root: Path, dataset: Dataset, rows: list[ViewRow], path: Path, level: str) -> None:
    if not path.is_file():
        raise StudyError(f"{path}: no such view; run the stage `views` first")
    if describe_view(rows, read_contents(root, dataset, level)) != read_json(path):
        raise StudyError(
            f"{path}: the stores or tables have changed since this view was written; run snakemake again,"
            " which renews the views and the trainings that depend on them"
        )


def _with_inputs(view: View, root: Path, rows: list[ViewRow], level: str) -> View:
    """Add the inputs of a level, read shard by shard and put into the order of the ids."""
    shards: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row.shard):
        shards.setdefault(row.shard, []).append(row.material_id)
    order = np.argsort([material_id for ids in shards.values() for material_id in ids])
    if level == NO_TEXT:
        formulas = tuple(row.formula for row in rows)
        side = read_side(root, shards)[order]
        return replace(view, images=read_images(root, shards)[order], side=side, formulas=formulas)
    if level == DENSITY:
        return replace(view, quantiles=read_quantiles(root, shards)[order])
    texts = read_level(root, shards, level)
    return replace(view, texts=tuple(texts[k] for k in order))
