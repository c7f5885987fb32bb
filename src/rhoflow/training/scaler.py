"""The scaler of a target, fitted on the training part: networks learn the scaled target, metrics are in its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import StudyError


@dataclass(frozen=True)
class Scaler:
    """An affine map of a target, z = (y - mean) / std.

    Attributes
    ----------
    mean, std : float
        What becomes 0, and the length of one unit of z, in the target's physical unit. Standard scaling: mean and
        population standard deviation of the training part; min-max scaling: its minimum and its range.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, y_train: NDArray[np.float64], scaling: str = "standard") -> Self:
        """Scaler of the training part.

        Parameters
        ----------
        scaling : {"standard", "min-max"}
            Mean 0 and standard deviation 1, or 0 to 1 as in arXiv 2401.09301v1.

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
        if scaling == "min-max":
            return cls(float(np.min(y_train)), float(np.ptp(y_train)))
        return cls(float(np.mean(y_train)), float(np.std(y_train)))

    def standardise(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Physical unit -> mean 0, standard deviation 1 (or 0 to 1) on the training part."""
        return (y - self.mean) / self.std

    def zero(self, up_to: float) -> tuple[float, float]:
        """Where zero is, and how near to it a target of magnitude `up_to` is, both standardised."""
        return (0.0 - self.mean) / self.std, up_to / self.std

    def restore(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse of `standardise`."""
        return z * self.std + self.mean
