"""Split-conformal intervals: how far off the validation predictions were (Lei et al. 2018, Algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import NDArray

CONFIDENCE = 0.9
_SHARE = 0.95  # of the interval of a measured coverage


def half_width(residuals: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """Half the width of the interval: the ceil((n + 1) confidence)-th smallest of n residuals, in their unit.

    If the residual of a new crystal is as likely to have any rank as those of the validation crystals, it is below
    that one with at least this probability. None where n is too small for any finite interval: below 9 for 90 %.

    Parameters
    ----------
    residuals : sequence of n float
        abs(truth - prediction) of materials that the predicting networks were not trained on.
    """
    rank = math.ceil(round((len(residuals) + 1) * confidence, 9))  # 20 * 0.9 is 18, whatever its last bit
    return None if rank > len(residuals) else sorted(residuals)[rank - 1]


def count_covered(errors: NDArray[np.float64], width: float) -> tuple[int, float, float]:
    """How many absolute errors (n > 0) are within `width`, and the 95 % Clopper-Pearson interval of that share."""
    covered = int((np.abs(errors) <= width).sum())
    share = scipy.stats.binomtest(covered, len(errors)).proportion_ci(_SHARE, method="exact")
    return covered, float(share.low), float(share.high)
