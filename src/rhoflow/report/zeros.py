"""Targets that are zero for many materials: what R2 and RMSE of all of them together do not tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from rhoflow.report import labels
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target
from rhoflow.report.runs import Series
from rhoflow.report.significance import LEVEL, holm
from rhoflow.report.statistics import mean_sd, or_nan
from rhoflow.training.evaluate import mean_absolute_error


def separation(is_zero: NDArray[np.bool_], magnitude: NDArray[np.float64]) -> float:
    """Area under the ROC curve: the chance that a non-zero material is predicted larger than a zero one.

    Ties count half; NaN where one kind is missing. Hanley and McNeil, Radiology 143 (1982) 29.

    Parameters
    ----------
    is_zero : (n,) bool array
        Which materials are zero.
    magnitude : (n,) float64 array
        Predictions, by which they are told apart.
    """
    others, zeros = int(np.sum(~is_zero)), int(np.sum(is_zero))
    if not (others and zeros):
        return float("nan")
    ranks = scipy.stats.rankdata(magnitude)
    return float((ranks[~is_zero].sum() - others * (others + 1) / 2) / (others * zeros))


def zeros_frame(series: Iterable[Series]) -> pd.DataFrame:
    """One row a zero-inflated target, model and level, on the test set.

    Returns
    -------
    DataFrame
        ``target, unit, group, model, level, runs``; ``threshold`` (`unit`); ``n``, ``n_other`` (not zero),
        ``zero_share``; ``mae_other_mean, mae_other_sd, mae_zero_mean, mae_zero_sd`` (`unit`), ``auc_mean, auc_sd``:
        mean and sample standard deviation over the runs; ``p`` that the mean prediction of all runs tells them apart
        no better than chance (Mann and Whitney 1947; NaN where it is one number for all, or one kind is missing),
        ``p_holm`` after Holm's correction over the target.
    """
    frame = pd.DataFrame([_row(one) for one in series if labels.zero_of(one.target)])
    return frame.assign(p_holm=frame.groupby("target")["p"].transform(holm)) if len(frame) else frame


def _row(series: Series) -> dict[str, Any]:
    _, y_true, members = series.common_test()
    rule = labels.zero_of(series.target)
    assert rule, "asked for such targets alone"
    zero = np.abs(y_true) <= rule.threshold
    row: dict[str, Any] = {
        "target": series.target,
        "unit": series.runs[0].metrics["unit"],
        "group": labels.group_of(series.model),
        "model": series.model,
        "level": series.level,
        "runs": len(series.runs),
        "threshold": rule.threshold,
        "n": len(y_true),
        "n_other": int(np.sum(~zero)),
        "zero_share": float(zero.mean()) if len(zero) else float("nan"),
    }
    for name, rows in (("mae_other", ~zero), ("mae_zero", zero)):
        errors = [mean_absolute_error(y_true[rows], y_pred[rows]) for y_pred in members]
        row[f"{name}_mean"], row[f"{name}_sd"] = mean_sd([or_nan(one) for one in errors])
    # A moment may point either way; a gap below zero is further from a gap.
    sizes = np.abs(members) if (y_true < -rule.threshold).any() else members
    row["auc_mean"], row["auc_sd"] = mean_sd([separation(zero, one) for one in sizes])
    row["p"] = chance(zero, sizes.mean(axis=0))
    return row


def chance(is_zero: NDArray[np.bool_], magnitude: NDArray[np.float64]) -> float:
    """One-sided p of the hypothesis that non-zero materials are predicted no larger than zero ones.

    Mann and Whitney, Annals of Mathematical Statistics 18 (1947) 50. NaN where one kind is missing, or all
    predictions are equal (arguments: `separation`).
    """
    if is_zero.all() or not is_zero.any() or np.ptp(magnitude) == 0:
        return float("nan")
    test = scipy.stats.mannwhitneyu(magnitude[~is_zero], magnitude[is_zero], alternative="greater")
    return float(test.pvalue)


def zeros_sentence(frame: pd.DataFrame, target: str) -> str | None:
    """Say in plain words which models tell the two kinds of one target apart; None if it is none, or has no runs."""
    rows = of_target(frame, target).to_dict("records")
    rule = labels.zero_of(target)
    if rule is None or not rows:
        return None
    tested = [row for row in rows if np.isfinite(row["p"])]
    if not tested:
        return f"No test: of the test crystals, {rows[0]['n_other']} of {rows[0]['n']} are {rule.other}."
    found = [labels.series_label(row["model"], row["level"]) for row in tested if row["p_holm"] < LEVEL]
    kinds = f"{rule.zero} from {rule.other}"
    verb = "tells" if len(found) == 1 else "tell"
    told = f"{', '.join(found)} {verb} {kinds}" if found else f"no model is shown to tell {kinds}"
    rest = "; of the others it is not shown" if 0 < len(found) < len(tested) else ""
    return (
        f"Better than chance on {tested[0]['n']} test crystals, {tested[0]['n_other']} of them {rule.other} (mean"
        " prediction of all runs, Mann-Whitney test of single crystals, after Holm's correction at 5 % over"
        f" {labels.counted(len(tested), 'model')}): {told}{rest}."
    )


def zeros_table(frame: pd.DataFrame, target: str, *, lineage_id: str) -> Table | None:
    """Return what a reader sees of one zero-inflated target; None if it is none, or has no runs."""
    rows = of_target(frame, target)
    rule, unit = labels.zero_of(target), labels.unit_label(target)
    if rule is None or not len(rows):
        return None
    decimals = labels.decimals_for(float(rows["mae_other_mean"].min()))
    header = ("Model", "Text", "n", "Zero", f"MAE {rule.other} [{unit}]", f"MAE {rule.zero} [{unit}]", "AUC")
    groups = [
        (name, tuple(Row(_cells(row, decimals)) for row in rows[rows["group"] == group].to_dict("records")))
        for group, name in labels.GROUPS.items()
    ]
    runs = sorted(set(rows["runs"]))
    caption = (
        f"n test crystals. Zero: the share of {rule.zero}, at most {rule.threshold:g} {unit}. AUC: how well"
        f" the predictions tell {rule.zero} from {rule.other} (0.5: not at all, 1: perfectly); a dash where one kind"
        f" is missing. Mean ± sample standard deviation over {labels.span(runs[0], runs[-1])}"
        f" run{'' if runs[-1] == 1 else 's'}."
        f" Errors are not tested here: {labels.TESTED}. Lineage {lineage_id}."
    )
    title = f"Zero and not: {labels.target_label(target)}"
    return Table(
        f"zeros-{target}", title, header, tuple((name, of) for name, of in groups if of), caption, text_columns=2
    )


def _cells(row: dict[Any, Any], decimals: int) -> tuple[str, ...]:
    return (
        labels.model_label(row["model"]),
        labels.level_cell(row["level"]),
        str(row["n"]),
        f"{row['zero_share']:.0%}".replace("%", " %"),
        labels.spread(row["mae_other_mean"], row["mae_other_sd"], decimals),
        labels.spread(row["mae_zero_mean"], row["mae_zero_sd"], decimals),
        labels.spread(row["auc_mean"], row["auc_sd"], 2),
    )
