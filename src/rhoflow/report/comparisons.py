"""Models against references, tested on the test set and over the folds: the references that every one must beat.

Where the splits are repeated, the test set is that of the first partition, and the folds are those of all partitions
that both models have runs of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.report import labels
from rhoflow.report.runs import Run, Series
from rhoflow.report.significance import LEVEL, corrected_t_test, detectable_difference, holm, smallest_swap_p, swap_p
from rhoflow.report.statistics import Metric, or_nan, percentiles, resampled_scores, too_few
from rhoflow.training.evaluate import root_mean_squared_error, score
from rhoflow.training.names import RANDOM, base_of

# Composition alone, the image without a network, the density without an image.
REFERENCES = ("magpie-forest", "pixels-ridge", "quantiles-ridge")
TWIN = f"{{}}-{RANDOM}"  # the same architecture from random weights, where such runs are there
# Resamples a comparison at least, so that the smallest p that B swaps can give, 1 / (B + 1), times the number of
# comparisons stays at 0.005.
_RESAMPLES = 200
_METRICS: tuple[Metric, ...] = ("rmse", "r2")
_ON_TEST = (
    *("rmse_difference", "rmse_low", "rmse_high", "r2_difference", "r2_low", "r2_high"),
    *("p", "detectable"),
)


@dataclass(frozen=True)
class Pair:
    """A model and a reference: the runs of both, in the same order, with folds and seeds that both have.

    Attributes
    ----------
    weights : (runs,) float64 array
        Of each run in a mean: seeds first, then folds.
    """

    model: Series
    reference: Series
    runs: tuple[Run, ...]
    reference_runs: tuple[Run, ...]
    weights: NDArray[np.float64]

    @property
    def repeats(self) -> list[int]:
        """Partitions with a run of both."""
        return replace(self.model, runs=self.runs).repeats

    @property
    def folds(self) -> list[int]:
        """Folds with a run of both."""
        return sorted({run.key.fold for run in self.runs})


def pairs(series: Sequence[Series]) -> list[Pair]:
    """Every network and language model of one target with its references; references without common runs left out."""
    by_kind = {(one.model, one.level): one for one in series}
    found = []
    for one in series:
        if labels.group_of(one.model) == "baseline" or base_of(one.model)[1]:
            continue
        twin = by_kind.get((TWIN.format(one.model), one.level))
        references = [by_kind[kind] for name in REFERENCES for kind in by_kind if kind[0] == name]
        found += [pair_of(one, other) for other in [*references, *([twin] if twin else [])]]
    return [pair for pair in found if 0 in pair.repeats]


def pair_of(model: Series, reference: Series) -> Pair:
    """Pair of two series of one target, without runs where they have no fold and seed in common."""
    theirs = {(run.key.fold, run.key.seed): run for run in reference.runs}
    runs = tuple(run for run in model.runs if (run.key.fold, run.key.seed) in theirs)
    folds = np.array([run.key.fold for run in runs], dtype=np.intp)
    weights = np.array([1 / (len(set(folds.tolist())) * np.sum(folds == fold)) for fold in folds], dtype=np.float64)
    return Pair(model, reference, runs, tuple(theirs[run.key.fold, run.key.seed] for run in runs), weights)


def comparisons_frame(series: Sequence[Series], *, resamples: int) -> pd.DataFrame:
    """One row a target, model, level and reference; differences are model minus reference.

    Parameters
    ----------
    resamples : int
        Resamples of the test materials, or their groups, at least; more where many comparisons need it.

    Returns
    -------
    DataFrame
        ``target, unit, model, level, reference, reference_level``; ``comparisons``, the number of the target's;
        ``n, n_groups`` test materials that both predict, ``runs``, ``folds`` that both have. On the test set:
        ``rmse_difference, rmse_low, rmse_high`` (`unit`), ``r2_difference, r2_low, r2_high`` with 95 % bootstrap
        intervals; ``p`` of the RMSE by swaps, ``detectable`` (`unit`; NaN for so few groups that none is). Over
        folds, on validation parts: ``val_rmse_difference``, ``val_t, val_dof, val_p``, ``val_detectable``. ``p_holm,
        val_p_holm``: corrected.
    """
    by_target = {target: [one for one in series if one.target == target] for target in _targets(series)}
    return families_frame([pairs(ours) for ours in by_target.values()], resamples=resamples)


def _targets(series: Sequence[Series]) -> list[str]:
    return list(dict.fromkeys(one.target for one in series))


def families_frame(families: Sequence[Sequence[Pair]], *, resamples: int) -> pd.DataFrame:
    """Compare pairs, those of one family corrected for their number (columns: `comparisons_frame`)."""
    frames = []
    for found in families:
        bootstrap = _Bootstrap(max(resamples, _RESAMPLES * len(found)))
        level = LEVEL / max(len(found), 1)
        frame = pd.DataFrame([_row(pair, bootstrap, level, len(found)) for pair in found])
        if len(frame):
            frames.append(frame.assign(p_holm=holm(frame["p"]), val_p_holm=holm(frame["val_p"])))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _row(pair: Pair, bootstrap: _Bootstrap, level: float, comparisons: int) -> dict[str, Any]:
    model, reference = pair.model, pair.reference
    first = pair_of(model.of_repeat(0), reference.of_repeat(0))
    return {
        "target": model.target,
        "unit": pair.runs[0].metrics["unit"],
        "model": model.model,
        "level": model.level,
        "reference": reference.model,
        "reference_level": reference.level,
        "comparisons": comparisons,
        **_on_test(first, bootstrap, level, folds=len(pair.folds)),
        **over_folds(pair, level),
    }


class _Bootstrap:
    """Resampled scores, those of one series on the same materials drawn once."""

    def __init__(self, resamples: int) -> None:
        self.resamples = resamples
        self._known: dict[tuple[Any, ...], NDArray[np.float64]] = {}

    def scores(
        self, runs: tuple[Run, ...], common: _Common, predictions: NDArray[np.float64], metric: Metric
    ) -> NDArray[np.float64]:
        key = (tuple(run.key for run in runs), common.ids.tobytes(), metric)
        if key not in self._known:
            self._known[key] = resampled_scores(
                common.y_true,
                predictions,
                metric=metric,
                resamples=self.resamples,
                groups=common.groups,
                weights=common.weights,
            )
        return self._known[key]


@dataclass(frozen=True)
class _Common:
    """Test materials (n,) that both models of a pair predict in all their runs, and the weights of these."""

    ids: NDArray[np.str_]
    y_true: NDArray[np.float64]
    groups: NDArray[np.str_]
    weights: NDArray[np.float64]


def _on_test(pair: Pair, bootstrap: _Bootstrap, level: float, *, folds: int) -> dict[str, Any]:
    """Difference on the test set of one partition; the same materials are drawn, or swapped, for both models."""
    ours = Series(pair.model.model, pair.model.target, pair.model.level, pair.runs, pair.model.groups)
    theirs = Series(pair.reference.model, pair.model.target, pair.reference.level, pair.reference_runs)
    ids, y_true, y_pred = ours.common_test()
    other_ids, _, y_other = theirs.common_test()
    kept = np.isin(ids, other_ids)
    groups = ours.groups_of(ids[kept])
    common = _Common(ids[kept], y_true[kept], groups, pair.weights)
    y_pred, y_other = y_pred[:, kept], y_other[:, np.isin(other_ids, ids)]
    row: dict[str, Any] = {
        "n": len(common.ids),
        "n_groups": len(set(groups.tolist())),
        "runs": len(pair.runs),
        "folds": folds,
        **dict.fromkeys(_ON_TEST, np.nan),
    }
    for metric in _METRICS:
        row[f"{metric}_difference"] = _mean(common, y_pred, metric) - _mean(common, y_other, metric)
    if too_few(groups, len(groups)):
        return row
    drawn = {
        metric: bootstrap.scores(pair.runs, common, y_pred, metric)
        - bootstrap.scores(pair.reference_runs, common, y_other, metric)
        for metric in _METRICS
    }
    for metric, differences in drawn.items():
        interval = percentiles(differences)
        row |= {f"{metric}_low": interval.low, f"{metric}_high": interval.high}
    row["p"] = swap_p(
        (y_pred - common.y_true) ** 2,
        (y_other - common.y_true) ** 2,
        weights=common.weights,
        groups=groups,
        resamples=bootstrap.resamples,
    )
    if smallest_swap_p(row["n_groups"]) < level:
        error = float(drawn["rmse"].std(ddof=1))
        row["detectable"] = detectable_difference(error, level=level, dof=row["n_groups"] - 1)
    return row


def _mean(common: _Common, predictions: NDArray[np.float64], metric: Metric) -> float:
    """Score of the runs, seeds averaged first, then folds; NaN where it is not defined."""
    values = np.array([or_nan(score(common.y_true, one)[metric]) for one in predictions])
    return float(values @ common.weights)


def over_folds(pair: Pair, level: float) -> dict[str, Any]:
    """Corrected resampled t-test of the validation RMSE: a difference a fold, the mean over its seeds.

    Parameters
    ----------
    level : float
        Of one comparison, for the smallest detectable difference.
    """
    differences, shares = [], []
    for fold in pair.folds:
        both = [
            (run, other) for run, other in zip(pair.runs, pair.reference_runs, strict=True) if run.key.fold == fold
        ]
        differences.append(float(np.mean([_validation_difference(run, other) for run, other in both])))
        # The reference's sizes: the language model predicts no training part.
        shares += [other.metrics["n"]["val"] / other.metrics["n"]["train"] for _, other in both]
    test = corrected_t_test(differences, float(np.mean(shares)))
    return {
        "val_rmse_difference": test.mean,
        "val_t": test.t,
        "val_dof": test.dof,
        "val_p": test.p,
        "val_detectable": detectable_difference(test.standard_error, level=level, dof=test.dof),
    }


def _validation_difference(run: Run, other: Run) -> float:
    """RMSE of `run` minus that of `other`, on the validation materials that both predict."""
    ids, y_true, y_pred = run.part("val")
    other_ids, _, y_other = other.part("val")
    kept, other_kept = np.isin(ids, other_ids), np.isin(other_ids, ids)
    ours = root_mean_squared_error(y_true[kept], y_pred[kept])
    return or_nan(ours) - or_nan(root_mean_squared_error(y_true[kept], y_other[other_kept]))
