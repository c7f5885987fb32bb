"""The scaler of a target, fitted on the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import StudyError


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
