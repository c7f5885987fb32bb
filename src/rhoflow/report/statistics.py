"""Statistics of results: mean and spread over runs, bootstrap intervals over materials.

All runs of one target share one test set. So the spread over runs (folds x seeds) shows how much a score
depends on what was trained on, and the bootstrap interval how much it depends on which materials were tested;
neither contains the other. The interval is that of the mean over runs of the metric: materials are drawn with
replacement, the predictions of the runs stay fixed.
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
    seed: int = BOOTSTRAP_SEED,
) -> NDArray[np.float64]:
    """Mean over runs of a metric, on resampled materials.

    Parameters
    ----------
    y_true : (n,) float64 array
        Targets of the materials, in their physical unit.
    y_pred : (runs, n) float64 array
        Predictions of each run for the same materials.
    resamples : int
        How often n materials are drawn with replacement.
    seed : int
        The same seed and n draw the same materials: scores of two models on one test set are paired.

    Returns
    -------
    (resamples,) float64 array
        Dimensionless (R2) or in the unit of `y_true`. NaN where R2 is not defined: all materials drawn are equal.
    """
    # R2 and errors do not change with a common shift; the centred sums of squares below lose no digits.
    centred = y_true - y_true.mean()
    errors = np.abs(y_pred - y_true)
    scores = []
    for counts in _draws(len(y_true), resamples, seed):
        if metric == "mae":
            scores.append((counts @ errors.T / len(y_true)).mean(axis=1))
            continue
        squares = counts @ (errors**2).T
        if metric == "rmse":
            scores.append(np.sqrt(squares / len(y_true)).mean(axis=1))
            continue
        total = counts @ centred**2 - (counts @ centred) ** 2 / len(y_true)
        total[total <= 1e-12 * np.sum(centred**2)] = np.nan
        scores.append(1 - squares.mean(axis=1) / total)
    return np.concatenate(scores)


def _draws(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield blocks (b, n) of how often each material is drawn, `resamples` rows in all."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        yield rng.multinomial(n, np.full(n, 1 / n), size=rows).astype(np.float64)


def bootstrap_interval(
    y_true: NDArray[np.float64],
    y_pred: NDArray[np.float64],
    *,
    metric: Metric,
    resamples: int,
    seed: int = BOOTSTRAP_SEED,
) -> Interval:
    """95 % percentile interval of the mean over runs of a metric (arguments: `resampled_scores`).

    NaN for fewer than three materials, of which no resampling tells anything.
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if len(y_true) < 3:
        return Interval(float("nan"), float("nan"))
    return _percentiles(resampled_scores(y_true, y_pred, metric=metric, resamples=resamples, seed=seed))


def bootstrap_difference(
    y_true: NDArray[np.float64],
    y_pred: NDArray[np.float64],
    y_other: NDArray[np.float64],
    *,
    metric: Metric,
    resamples: int,
    seed: int = BOOTSTRAP_SEED,
) -> Interval:
    """95 % percentile interval of how much the score of `y_pred` exceeds that of `y_other`, paired by material.

    Parameters
    ----------
    y_pred, y_other : (runs, n) float64 array
        Predictions of two models for the same materials; the numbers of runs may differ.
    """
    if len(y_true) < 3:
        return Interval(float("nan"), float("nan"))
    ours = resampled_scores(y_true, y_pred, metric=metric, resamples=resamples, seed=seed)
    others = resampled_scores(y_true, y_other, metric=metric, resamples=resamples, seed=seed)
    return _percentiles(ours - others)


def _percentiles(scores: NDArray[np.float64]) -> Interval:
    finite = scores[np.isfinite(scores)]
    if len(finite) == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(low), float(high))
