"""Statistics of results: mean and spread over runs, bootstrap intervals over materials.

All runs of one target share one test set. So the spread over runs (folds x seeds) shows how much a score
depends on what was trained on, and the bootstrap interval how much it depends on which materials were tested;
neither contains the other. The interval is that of the mean over runs of the metric: materials are drawn with
replacement, the predictions of the runs stay fixed.

Where materials come in groups (one composition, one prototype), whole groups are drawn, as many as there are: members
resemble each other, so n of them say less than n independent materials. Davison and Hinkley, Bootstrap Methods and
their Application (1997), section 3.8; Field and Welsh, J. R. Stat. Soc. B 69, 369 (2007).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Metric = Literal["r2", "rmse", "mae"]
COVERAGE = 0.95
BOOTSTRAP_SEED = 0
LEAST = 3  # materials or groups: resampling fewer tells nothing
_BLOCK = 2_000_000  # resampling counts held at a time: 16 MB


@dataclass(frozen=True)
class Interval:
    """An interval of a score; NaN where it is not defined.

    Attributes
    ----------
    low, high : float
        Ends, in the unit of the score.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def or_nan(score: float | None) -> float:
    """Give a score as a number: NaN where it is not defined."""
    return float("nan") if score is None else score


def mean_sd(values: ArrayLike) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1) of the finite values.

    Parameters
    ----------
    values : (n,) array-like
        One score a run; NaN where it is not defined.

    Returns
    -------
    (float, float)
        In the unit of the values; NaN mean for no value, NaN deviation for fewer than two.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    mean = float(finite.mean()) if len(finite) else float("nan")
    sd = float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")
    return mean, sd


def resampled_scores(
    y_true: NDArray[np.float64],
    y_pred: NDArray[np.float64],
    *,
    metric: Metric,
    resamples: int,
    groups: NDArray[np.str_] | None = None,
    weights: NDArray[np.float64] | None = None,
    seed: int = BOOTSTRAP_SEED,
) -> NDArray[np.float64]:
    """Mean over runs of a metric, on resampled materials or groups of materials.

    Parameters
    ----------
    y_true : (n,) float64 array
        Targets of the materials, in their physical unit.
    y_pred : (runs, n) float64 array
        Predictions of each run for the same materials.
    resamples : int
        How often n materials, or all g groups, are drawn with replacement.
    groups : (n,) str array or None
        What each material is drawn with; None: each is drawn alone.
    weights : (runs,) float64 array or None
        Weight of each run in the mean, 1 in sum; None: all weigh the same.
    seed : int
        The same seed and groups draw the same materials: scores of two models on one test set are paired.

    Returns
    -------
    (resamples,) float64 array
        Dimensionless (R2) or in the unit of `y_true`. NaN where R2 is not defined: all materials drawn are equal.
    """
    # R2 and errors do not change with a common shift; the centred sums of squares below lose no digits.
    centred = y_true - y_true.mean()
    errors = np.abs(y_pred - y_true)
    shares = np.full(len(y_pred), 1 / len(y_pred)) if weights is None else weights
    scores = []
    for counts in _draws(_group_numbers(groups, len(y_true)), resamples, seed):
        size = counts.sum(axis=1)  # groups differ in size, so resamples do
        if metric == "mae":
            scores.append(counts @ errors.T / size[:, None] @ shares)
            continue
        squares = counts @ (errors**2).T
        if metric == "rmse":
            scores.append(np.sqrt(squares / size[:, None]) @ shares)
            continue
        total = counts @ centred**2 - (counts @ centred) ** 2 / size
        total[total <= 1e-12 * np.sum(centred**2)] = np.nan
        scores.append(1 - squares @ shares / total)
    return np.concatenate(scores)


def _group_numbers(groups: NDArray[np.str_] | None, n: int) -> NDArray[np.intp]:
    """Give each material the number of its group, 0 to g - 1."""
    return np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]


def _draws(group_of: NDArray[np.intp], resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield blocks (b, n) of how often each material is drawn, `resamples` rows in all."""
    rng = np.random.default_rng(seed)
    g = int(group_of.max()) + 1
    block = max(1, _BLOCK // len(group_of))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        yield rng.multinomial(g, np.full(g, 1 / g), size=rows)[:, group_of].astype(np.float64)


def too_few(groups: NDArray[np.str_] | None, n: int) -> bool:
    """Whether there are fewer than `LEAST` materials or groups."""
    return (n if groups is None else len(set(groups.tolist()))) < LEAST


def bootstrap_interval(
    y_true: NDArray[np.float64],
    y_pred: NDArray[np.float64],
    *,
    metric: Metric,
    resamples: int,
    groups: NDArray[np.str_] | None = None,
    seed: int = BOOTSTRAP_SEED,
) -> Interval:
    """95 % percentile interval of the mean over runs of a metric (arguments: `resampled_scores`).

    NaN for fewer than `LEAST` materials or groups.
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if too_few(groups, len(y_true)):
        return Interval(float("nan"), float("nan"))
    scores = resampled_scores(y_true, y_pred, metric=metric, resamples=resamples, groups=groups, seed=seed)
    return percentiles(scores)


def bootstrap_difference(
    y_true: NDArray[np.float64],
    y_pred: NDArray[np.float64],
    y_other: NDArray[np.float64],
    *,
    metric: Metric,
    resamples: int,
    groups: NDArray[np.str_] | None = None,
    seed: int = BOOTSTRAP_SEED,
) -> Interval:
    """95 % percentile interval of how much the score of `y_pred` exceeds that of `y_other`, paired by material.

    Parameters
    ----------
    y_pred, y_other : (runs, n) float64 array
        Predictions of two models for the same materials; the numbers of runs may differ.

    The other arguments are those of `resampled_scores`; NaN for fewer than `LEAST` materials or groups.
    """
    if too_few(groups, len(y_true)):
        return Interval(float("nan"), float("nan"))
    ours, others = (
        resampled_scores(y_true, one, metric=metric, resamples=resamples, groups=groups, seed=seed)
        for one in (y_pred, y_other)
    )
    return percentiles(ours - others)


def percentiles(scores: NDArray[np.float64]) -> Interval:
    """95 % percentile interval of resampled scores (resamples,); NaN if none is finite."""
    finite = scores[np.isfinite(scores)]
    if len(finite) == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(low), float(high))
