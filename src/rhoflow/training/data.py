"""What a training sees: materials with their part, target and inputs; and the scaler fitted on the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_arrays, digest_json

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class TrainingData:
    """The materials of one target, level and fold.

    Attributes
    ----------
    ids : (n,) str array
        Material ids.
    part : (n,) str array
        ``train``, ``val`` or ``test``.
    y : (n,) float64 array
        Target in its physical unit.
    images : (n, p, p) float32 array or None
        Density images in [-1, 1], for models that read images.
    texts : tuple of n str, or None
        Descriptions, for models that read texts.
    """

    ids: NDArray[np.str_]
    part: NDArray[np.str_]
    y: NDArray[np.float64]
    images: NDArray[np.float32] | None = None
    texts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        given = {"part": self.part, "y": self.y, "images": self.images, "texts": self.texts}
        for name, values in given.items():
            if values is not None and len(values) != n:
                raise ValueError(f"TrainingData.{name}: {len(values)} entries for {n} ids; one for each id is needed")
        unknown = sorted(set(self.part.tolist()) - set(PARTS))
        if unknown:
            raise ValueError(f"TrainingData.part: {unknown[0]!r} is unknown; allowed: {', '.join(PARTS)}")
        if not np.isfinite(self.y).all():
            bad = self.ids[~np.isfinite(self.y)][0]
            raise ValueError(
                f"TrainingData.y: the target of {bad} is not finite; leave such materials out of the view"
            )

    def rows(self, part: str) -> NDArray[np.intp]:
        """Row numbers of one part, ascending."""
        return np.flatnonzero(self.part == part)

    def input_digest(self) -> str:
        """sha256 of what the networks read: images and texts in their order."""
        images = None if self.images is None else digest_arrays(self.images)
        return digest_json([images, self.texts])

    def digest(self) -> str:
        """sha256 of everything a training can see."""
        return digest_json([digest_arrays(self.ids, self.part, self.y), self.input_digest()])


@dataclass(frozen=True)
class Scaler:
    """Standardisation of a target, z = (y - mean) / std.

    Attributes
    ----------
    mean, std : float
        In the target's physical unit; `std` is the population standard deviation.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, y_train: NDArray[np.float64]) -> Self:
        """Scaler of the training part.

        Raises
        ------
        StudyError
            If there is no training material, or all have the same target.
        """
        if len(y_train) == 0:
            raise StudyError("no material in the training part; lower splits.test or splits.folds, or add materials")
        if np.ptp(y_train) == 0:
            raise StudyError(
                f"the target is {y_train[0]:g} for all {len(y_train)} training materials: nothing can be learnt;"
                " choose another target or add materials"
            )
        return cls(float(np.mean(y_train)), float(np.std(y_train)))

    def standardise(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Physical unit -> mean 0, standard deviation 1 on the training part."""
        return (y - self.mean) / self.std

    def restore(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse of `standardise`."""
        return z * self.std + self.mean
