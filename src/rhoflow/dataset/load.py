"""What a training sees: materials with their part, target and inputs, and whether it is what their view says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoflow.dataset.image_reader import ImageReader
from rhoflow.dataset.names import DENSITY, NO_TEXT, PARTS, STRUCTURE, image_folder, images_of
from rhoflow.dataset.stores import read_embeddings, read_level, read_periods, read_quantiles, read_side
from rhoflow.dataset.views import Dataset, ViewRow, check_level, describe_view, read_contents, seen_rows, view_path
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
    periods : (n, 2, 2) float64 array or None
        Vectors by which the images repeat, rows (x, y), in units of their side; 0 where one does not; level `none`.
    embeddings : (n, 64) float32 array or None
        Embeddings of the structures, means over the atoms; level `structure`.
    """

    ids: NDArray[np.str_]
    part: NDArray[np.str_]
    y: NDArray[np.float64]
    images: NDArray[np.float32] | None = None
    formulas: tuple[str, ...] | None = None
    quantiles: NDArray[np.float64] | None = None
    texts: tuple[str, ...] | None = None
    side: NDArray[np.float64] | None = None
    periods: NDArray[np.float64] | None = None
    embeddings: NDArray[np.float32] | None = None

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
        given = (self.images, self.quantiles, self.side, self.periods, self.embeddings)
        arrays = [None if values is None else digest_arrays(values) for values in given]
        return digest_json([*arrays, self.formulas, self.texts])

    def digest(self) -> str:
        """sha256 of everything a training can see."""
        return digest_json([digest_arrays(self.ids, self.part, self.y), self.input_digest()])


def load_view(root: Path, target: str, level: str, fold: int, images: ImageReader | None = None) -> View:
    """Read the materials, parts, targets and inputs of a training from the stores.

    Parameters
    ----------
    root : Path
        Result folder of the study.
    level : str
        ``none`` (images and formulas), ``none-<name>`` (other images, of the materials that have one), ``density``
        (quantiles), ``structure`` (embeddings, of the materials that have one), or a text level.
    fold : int
        Fold index: fold k of repeat r is ``r * folds + k``.
    images : ImageReader, optional
        Shared by the folds of a job.

    Raises
    ------
    StudyError
        If the stores no longer hold what the view file says, or target, level or fold is unknown.
    """
    check_level(level)
    dataset = Dataset.read(root)
    rows, path = dataset.rows(target, fold), view_path(root, target, level, fold)
    if not path.is_file():
        raise StudyError(f"{path}: no such view; run the stage `views` first")
    contents = read_contents(root, dataset, level)
    rows = seen_rows(rows, contents)
    _check_digest(rows, contents, path)
    view = View(
        ids=np.array([row.material_id for row in rows], dtype=np.str_),
        part=np.array([row.part for row in rows], dtype=np.str_),
        y=np.array([row.y for row in rows], dtype=np.float64),
    )
    return _with_inputs(view, root, rows, level, images or ImageReader())


def _check_digest(rows: list[ViewRow], contents: Mapping[str, str], path: Path) -> None:
    if describe_view(rows, contents) != read_json(path):
        raise StudyError(
            f"{path}: the stores or tables have changed since this view was written; run snakemake again,"
            " which renews the views and the trainings that depend on them"
        )


def _with_inputs(view: View, root: Path, rows: list[ViewRow], level: str, read_images: ImageReader) -> View:
    """Add the inputs of a level, read shard by shard and put into the order of the ids."""
    shards: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row.shard):
        shards.setdefault(row.shard, []).append(row.material_id)
    order = np.argsort([material_id for ids in shards.values() for material_id in ids])
    if level == NO_TEXT or images_of(level):
        folder = image_folder(images_of(level))
        formulas = tuple(row.formula for row in rows)
        images = read_images(root, shards, folder)
        side, periods = (read(root, shards, folder)[order] for read in (read_side, read_periods))
        return replace(view, images=images, side=side, periods=periods, formulas=formulas)
    if level == DENSITY:
        return replace(view, quantiles=read_quantiles(root, shards)[order])
    if level == STRUCTURE:
        return replace(view, embeddings=read_embeddings(root, shards)[order])
    texts = read_level(root, shards, level)
    return replace(view, texts=tuple(texts[k] for k in order))
