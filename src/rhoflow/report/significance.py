"""Tests of a difference between two models, their correction for many comparisons, and what they could have found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05  # of a family of comparisons
POWER = 0.8
_ROUNDING = 1e-9
_BLOCK = 2_000_000  # swaps held at a time: 16 MB


@dataclass(frozen=True)
class TTest:
    """A two-sided test that a mean difference is zero; NaN where it is not defined.

    Attributes
    ----------
    mean, standard_error : float
        In the unit of the differences.
    t, p : float
        Dimensionless.
    dof : int
        Degrees of freedom.
    """

    mean: float
    standard_error: float
    t: float
    dof: int
    p: float


def corrected_t_test(differences: ArrayLike, test_over_train: float) -> TTest:
    """Corrected resampled t-test: t = mean(d) / sqrt((1/J + n_test/n_train) var(d)), J - 1 degrees of freedom.

    The training parts of different folds overlap, so their scores are correlated and the plain variance of a mean,
    var(d)/J, is too small. Nadeau and Bengio, Machine Learning 52 (2003) 239, section 3.1.

    Parameters
    ----------
    differences : (J,) array-like
        Difference of the scores of two models, one a resampled split. Runs that differ by their seed alone see the
        same data and are no splits of their own: average them first.
    test_over_train : float
        Evaluated materials over training materials of a split; 0 gives the plain t-test.
    """
    d = np.asarray(differences, dtype=np.float64)
    nan = float("nan")
    if len(d) < 2 or not np.isfinite(d).all():
        return TTest(float(d.mean()) if len(d) else nan, nan, nan, max(len(d) - 1, 0), nan)
    mean, dof = float(d.mean()), len(d) - 1
    error = float(np.sqrt((1 / len(d) + test_over_train) * d.var(ddof=1)))
    at_zero = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    t = mean / error if error > 0 else at_zero
    return TTest(mean, error, t, dof, float(2 * scipy.stats.t.sf(abs(t), dof)))


def swap_p(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    *,
    weights: NDArray[np.float64],
    groups: NDArray[np.str_],
    resamples: int,
    seed: int = 0,
) -> float:
    """Two-sided p of the hypothesis that two models are alike: their errors are swapped at random, group by group.

    The statistic is the difference of the RMSEs, mean over runs. At any number of groups the test keeps its level
    where the models are alike, which a percentile bootstrap of few materials does not: of 16, it found a difference
    at the level of 0.0025 four times too often, and more with outliers. Never below 1 / (B + 1) for B resamples.
    Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), section 3.7.

    Parameters
    ----------
    ours, theirs : (runs, n) float64 array
        Squared errors of two models on the same materials.
    weights : (runs,) float64 array
        Weight of each run in the mean, 1 in sum.
    groups : (n,) str array
        What is swapped together, in all runs at once.
    resamples : int
        Number of random swaps.
    """
    names, number = np.unique(groups, return_inverse=True)
    gain = np.array([np.bincount(number, row, minlength=len(names)) for row in theirs - ours]).T
    totals, n = (ours.sum(axis=1), theirs.sum(axis=1)), len(groups)

    def difference(moved: NDArray[np.float64]) -> NDArray[np.float64]:
        pair = [np.sqrt(np.maximum(total + sign * moved, 0) / n) for total, sign in zip(totals, (1, -1), strict=True)]
        return np.asarray((pair[0] - pair[1]) @ weights)

    found = abs(float(difference(np.zeros((1, len(ours))))[0])) * (1 - _ROUNDING)
    rng, block, extreme = np.random.default_rng(seed), max(1, _BLOCK // len(names)), 0
    for start in range(0, resamples, block):
        swapped = rng.integers(0, 2, (min(block, resamples - start), len(names)), dtype=np.int8)
        extreme += int((np.abs(difference(swapped @ gain)) >= found).sum())
    return (1 + extreme) / (1 + resamples)


def smallest_swap_p(n_groups: int) -> float:
    """Smallest p that swaps of so many groups can give: all or none of them are as extreme, of 2^n."""
    return float(2.0 ** (1 - n_groups))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """P-values corrected for their number: the chance of one false finding among all stays below the level.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65: p_(k) of m, in ascending order, becomes
    max over j <= k of (m - j + 1) p_(j), at most 1. NaN is no test: it stays and does not count.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    ranked = tested[np.argsort(values[tested], kind="stable")]
    factors = np.arange(len(ranked), 0, -1)
    adjusted[ranked] = np.minimum(1.0, np.maximum.accumulate(factors * values[ranked]))
    return adjusted


def detectable_difference(standard_error: float, *, level: float, dof: float) -> float:
    """Smallest true difference that a two-sided t-test at `level` finds with 80 % power, in the unit of the error.

    The noncentrality of the t distribution that leaves 20 % below the critical value, times the standard error; the
    sum of two quantiles (Bloom, Evaluation Review 19 (1995) 547) is too small where few folds meet a strict level:
    at 0.05 / 21 its power is 67 % with 3 folds, 71 % with 5. Cohen, Statistical Power Analysis for the Behavioral
    Sciences (1988), chapter 2.
    """
    critical = scipy.stats.t.ppf(1 - level / 2, dof)
    return float(standard_error * scipy.special.nctdtrinc(dof, 1 - POWER, critical))
