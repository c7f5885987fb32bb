"""What the numbers say in plain words, and no more than they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.report import labels
from rhoflow.report.runs import Series
from rhoflow.report.statistics import Interval, bootstrap_difference
from rhoflow.training.names import base_of


@dataclass(frozen=True)
class Comparison:
    """The best network beside the best baseline of a target, each chosen by validation, compared on the test set.

    Attributes
    ----------
    n, n_groups : int
        Test crystals that both predict, and in how many groups they come (n where each is its own).
    difference : Interval
        95 % bootstrap interval of R2 (network) - R2 (baseline), paired by crystal; the groups are resampled.
    """

    network: Series
    baseline: Series
    n: int
    n_groups: int
    difference: Interval


def chosen(frame: pd.DataFrame, series: Sequence[Series], target: str, group: str) -> Series | None:
    """Return the network or baseline (`group`) with the lowest mean validation RMSE; None if none has run.

    The test set has no say: the highest of many test scores is too high by luck. Variants are controls.
    """
    rows = frame[(frame["target"] == target) & (frame["group"] == group) & (frame["part"] == "val")]
    rows = rows[rows["model"].map(lambda model: not base_of(model)[1]).astype(bool)]
    if not rows["rmse_mean"].notna().any():
        return None
    best = rows.sort_values("rmse_mean", kind="stable").iloc[0]
    kind = (target, str(best["model"]), str(best["level"]))
    return next(one for one in series if (one.target, one.model, one.level) == kind)


def compare(network: Series, baseline: Series, *, resamples: int) -> Comparison:
    """Compare two series on the test crystals that both predict."""
    ids, y_true, ours = network.common_test()
    other_ids, _, others = baseline.common_test()
    common = np.intersect1d(ids, other_ids)
    rows, other_rows = _find(common, ids), _find(common, other_ids)
    groups = network.groups_of(common)
    difference = bootstrap_difference(
        y_true[rows], ours[:, rows], others[:, other_rows], metric="r2", resamples=resamples, groups=groups
    )
    return Comparison(network, baseline, len(common), len(set(groups.tolist())), difference)


def _find(wanted: NDArray[np.str_], ids: NDArray[np.str_]) -> NDArray[np.intp]:
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], wanted)]


def sentence(frame: pd.DataFrame, series: Sequence[Series], target: str, *, resamples: int) -> str:
    """Tell in plain words how the best network and the best baseline of a target do on the test crystals."""
    network, baseline = (chosen(frame, series, target, group) for group in ("network", "baseline"))
    name = labels.target_label(target)
    if network is None or baseline is None:
        only = network or baseline
        if only is None:
            return f"No run has predicted the {name} yet."
        kind = "network" if only is network else "baseline"
        other = "baseline" if only is network else "network"
        scored = _scored(frame, only)
        return f"{_capital(name)}: the best {kind} by validation, {scored}. No {other} has run to compare it with."
    pair = compare(network, baseline, resamples=resamples)
    return (
        f"{_capital(name)}, on {_size(pair, 'test crystals')}: the best network by validation,"
        f" {_scored(frame, network)}; the best baseline by validation, {_scored(frame, baseline)}. {_verdict(pair)}"
    )


def _verdict(pair: Comparison) -> str:
    low, high = pair.difference.low, pair.difference.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{_size(pair)} are too few even for an interval of the difference."
    found = f"Network minus baseline in R²: 95 % interval {labels.interval(low, high, 2)}"
    if 0.0 in pair.difference:
        return f"{found}, which includes zero: {_size(pair)} are too few to call a difference."
    return (
        f"{found}, which leaves out zero for these crystals and these trained models; that is no test over other"
        " splits, so neither is called better."
    )


def _size(pair: Comparison, what: str = "crystals") -> str:
    return f"{pair.n} {what}" if pair.n_groups == pair.n else f"{pair.n} {what} in {pair.n_groups} groups"


def _scored(frame: pd.DataFrame, series: Series) -> str:
    kind = (frame["target"] == series.target) & (frame["model"] == series.model) & (frame["level"] == series.level)
    (row,) = frame[kind & (frame["part"] == "test")].to_dict("records")
    unit = labels.unit_label(series.target)
    rmse = labels.number(row["rmse_mean"], labels.decimals_for(row["rmse_mean"]))
    return (
        f"{labels.series_label(series.model, series.level)}, reaches"
        f" R² {labels.spread(row['r2_mean'], row['r2_sd'], 2)} (RMSE {rmse}{' ' + unit if unit else ''})"
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
