"""One prediction from all runs of a model, with an interval and how often it holds what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from rhoflow.config import Study
from rhoflow.report import labels
from rhoflow.report.comparisons import families_frame, pairs
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target
from rhoflow.report.runs import Series
from rhoflow.report.statistics import COVERAGE, Interval, bootstrap_interval, or_nan
from rhoflow.report.verdicts import findings
from rhoflow.training.evaluate import score

CONFORMAL = 0.9  # share of new materials that an interval is made to hold


def conformal_half_width(residuals: NDArray[np.float64], coverage: float = CONFORMAL) -> float:
    """Half the width of a split-conformal interval: the ceil((n + 1) coverage)-th smallest residual.

    For exchangeable materials, prediction +- it holds a new one with at least that probability. Infinite where n is
    too small. Lei et al., Journal of the American Statistical Association 113 (2018) 1094, algorithm 2.

    Parameters
    ----------
    residuals : (n,) float64 array
        Absolute errors on materials that the model was not fitted on, in their unit.
    """
    n = len(residuals)
    rank = math.ceil((n + 1) * coverage - 1e-9)  # 0.9 is no binary fraction
    return float(np.sort(residuals)[rank - 1]) if rank <= n else float("inf")


def clopper_pearson(hits: int, n: int) -> Interval:
    """Exact 95 % interval of the probability behind `hits` of `n`; Clopper and Pearson, Biometrika 26 (1934) 404."""
    if n == 0:
        return Interval(float("nan"), float("nan"))
    found = scipy.stats.binomtest(hits, n).proportion_ci(COVERAGE, method="exact")
    return Interval(float(found.low), float(found.high))


def out_of_fold(series: Series) -> NDArray[np.float64]:
    """Absolute errors (n,) of the validation predictions, each material once: the mean over its seeds."""
    rows = pd.concat([run.predictions[run.predictions["part"] == "val"] for run in series.runs])
    means = rows.groupby("material_id", sort=True)[["y_true", "y_pred"]].mean().to_numpy(dtype=np.float64)
    return np.asarray(np.abs(means[:, 1] - means[:, 0]))


def ensemble_frame(series: Iterable[Series], *, resamples: int) -> pd.DataFrame:
    """One row a target, model and level: the mean of the predictions of all runs, on the test set.

    Returns
    -------
    DataFrame
        ``target, unit, group, model, level``; ``members`` (runs), ``n, n_groups`` test materials; ``r2, r2_low,
        r2_high`` (95 % bootstrap interval), ``rmse``, ``mae``, ``spread`` (sample standard deviation over members,
        mean over materials; `unit`); ``n_calibration``, ``half_width`` of the 90 % interval (`unit`); ``covered``
        test materials inside it, ``coverage, coverage_low, coverage_high`` with its Clopper-Pearson interval.
    """
    return pd.DataFrame([_row(one, resamples) for one in series])


def _row(series: Series, resamples: int) -> dict[str, Any]:
    ids, y_true, members = series.common_test()
    y_pred, groups = members.mean(axis=0), series.groups_of(ids)
    r2 = bootstrap_interval(y_true, y_pred[None], metric="r2", resamples=resamples, groups=groups)
    residuals = out_of_fold(series)
    half_width = conformal_half_width(residuals)
    covered = int(np.sum(np.abs(y_pred - y_true) <= half_width))
    coverage = clopper_pearson(covered, len(ids)) if math.isfinite(half_width) else clopper_pearson(0, 0)
    return {
        "target": series.target,
        "unit": series.runs[0].metrics["unit"],
        "group": labels.group_of(series.model),
        "model": series.model,
        "level": series.level,
        "members": len(series.runs),
        "n": len(ids),
        "n_groups": len(set(groups.tolist())),
        **{metric: or_nan(value) for metric, value in score(y_true, y_pred).items()},
        "r2_low": r2.low,
        "r2_high": r2.high,
        "spread": float(members.std(axis=0, ddof=1).mean()) if len(members) > 1 and len(ids) else float("nan"),
        "n_calibration": len(residuals),
        "half_width": half_width,
        "covered": covered,
        "coverage": covered / len(ids) if len(ids) and math.isfinite(half_width) else float("nan"),
        "coverage_low": coverage.low,
        "coverage_high": coverage.high,
    }


def ensemble_tests(series: Sequence[Series], *, resamples: int) -> pd.DataFrame:
    """Test the ensembles of models against those of the references, on the test set, the trained models fixed.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.main_series`.
    resamples : int
        Resamples of the test materials, or their groups, at least.

    Returns
    -------
    DataFrame
        `rhoflow.report.comparisons.comparisons_frame` without what is over folds: all of them are in an ensemble.
    """
    targets = dict.fromkeys(one.target for one in series)
    families = [pairs([together(one) for one in series if one.target == target]) for target in targets]
    frame = families_frame(families, resamples=resamples)
    return frame.drop(columns=[name for name in frame.columns if name == "folds" or str(name).startswith("val_")])


def together(series: Series) -> Series:
    """Give the ensemble as a series of one run, with its predictions for the test set alone."""
    ids, y_true, members = series.common_test()
    table = pd.DataFrame({"material_id": ids, "part": "test", "y_true": y_true, "y_pred": members.mean(axis=0)})
    first = series.runs[0]
    return replace(series, runs=(replace(first, key=replace(first.key, fold=0, seed=0), predictions=table),))


def ensemble_sentence(tests: pd.DataFrame, target: str) -> str | None:
    """Say in plain words which ensembles of one target differ from the references; None if none was tested."""
    rows: list[dict[str, Any]] = of_target(tests, target).to_dict("records")  # type: ignore[assignment]
    if not rows:
        return None
    n = sorted({row["n"] for row in rows})
    return (
        f"By RMSE of all runs together on the {labels.span(n[0], n[-1])} test crystals, the trained models fixed,"
        f" after Holm's correction at 5 % over {labels.counted(len(rows), 'comparison')} with the"
        f" references: {findings(rows, 'p_holm', target)}"
    )


def ensemble_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return the ensembles of one target; None if there are none."""
    rows = of_target(frame, target)
    if not len(rows):
        return None
    unit = labels.unit_after(target)
    decimals = labels.decimals_for(float(rows["rmse"].min()))
    header = (
        *("Model", "Text", "Runs", "n", "R² test", "95 % interval", f"RMSE test{unit}", f"Spread{unit}"),
        *(f"90 % interval{unit}", "Calibrated on", "Covered", "95 % interval of the share"),
    )
    groups = [
        (name, tuple(Row(_cells(row, decimals)) for row in rows[rows["group"] == group].to_dict("records")))
        for group, name in labels.GROUPS.items()
    ]
    caption = (
        f"n test crystals. The mean of the predictions of all folds and seeds; spread: their sample standard"
        f" deviation, mean over the crystals. R²: bootstrap over the {labels.RESAMPLED[study.splits.strategy]}."
        " 90 % interval: split conformal, from the errors on the validation parts (each crystal once, by the runs"
        " that did not train on it). Networks stop early by these parts, which makes it narrow; the mean of all runs"
        " errs less than the few behind such an error, which makes it wide. Covered: test crystals inside it, with"
        " the Clopper-Pearson interval of the share"
        f"{', as if crystals of one group were independent' if study.splits.strategy != 'random' else ''}."
        f" Lineage {lineage_id}."
    )
    title = f"All runs together, with intervals: {labels.target_label(target)}"
    return Table(
        f"ensemble-{target}", title, header, tuple((name, of) for name, of in groups if of), caption, text_columns=2
    )


def _cells(row: dict[Any, Any], decimals: int) -> tuple[str, ...]:
    half_width = row["half_width"]
    return (
        labels.model_label(row["model"]),
        labels.level_cell(row["level"]),
        str(row["members"]),
        str(row["n"]),
        labels.number(row["r2"], 2),
        labels.interval(row["r2_low"], row["r2_high"], 2),
        labels.number(row["rmse"], decimals),
        labels.number(row["spread"], decimals),
        f"± {labels.number(half_width, decimals)}" if math.isfinite(half_width) else labels.DASH,
        str(row["n_calibration"]),
        f"{row['covered']} of {row['n']}" if math.isfinite(half_width) else labels.DASH,
        labels.interval(row["coverage_low"], row["coverage_high"], 2),
    )
