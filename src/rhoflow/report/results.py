"""The numbers of a study: one long frame, a row a target, model, level and part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.dataset.names import PARTS
from rhoflow.report import labels
from rhoflow.report.runs import Run, Series
from rhoflow.report.statistics import Metric, bootstrap_interval, mean_sd, or_nan
from rhoflow.training.evaluate import score

METRICS = ("r2", "rmse", "mae")
_BOOTSTRAPPED: tuple[Metric, ...] = ("r2", "rmse")
_POOLED = tuple(f"{metric}_pooled" for metric in METRICS)
_INTERVALS = ("r2_low", "r2_high", "rmse_low", "rmse_high")


def results_frame(series: Iterable[Series], *, resamples: int) -> pd.DataFrame:
    """One row a target, model, level and part.

    Parameters
    ----------
    resamples : int
        Bootstrap resamples of the test set's materials, or of its groups where the splits have groups.

    Returns
    -------
    DataFrame
        ``target, unit, group, model, level, part``; ``runs``; ``n, n_max`` materials in the smallest and largest
        run; ``n_groups``, the fewest groups of a run; ``<metric>_mean, <metric>_sd`` over runs for r2
        (dimensionless), rmse and mae (`unit`); ``r2_runs``, those in which R2 is defined; ``r2_low, r2_high,
        rmse_low, rmse_high`` 95 % bootstrap interval (test only); ``<metric>_pooled`` (validation only) of
        `pooled_scores`; ``<metric>_sd_folds, <metric>_sd_seeds`` of `spreads`; ``n_asked`` and ``r2_all``: materials
        and mean R2 with those that the language model did not answer, where the training mean stands in for its
        prediction (equal to ``n_max`` and ``r2_mean`` for other models); ``best``, the highest ``r2_all`` of the
        target's test rows; ``epochs, stopped, weights`` of networks.
    """
    rows = [_row(one, part, resamples) for one in series for part in PARTS]
    frame = pd.DataFrame(rows)
    if not rows:
        return frame
    test = frame["part"] == "test"
    highest = frame[test].groupby("target")["r2_all"].transform("max")
    frame["best"] = False
    frame.loc[test, "best"] = frame.loc[test, "r2_all"] == highest
    return frame


def of_target(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Rows of one target; none of an empty frame, which has no columns."""
    return frame[frame["target"] == target] if len(frame) else frame


def part_scores(series: Series, part: str) -> dict[str, Any]:
    """Count and score the predictions of one part: the first columns of `results_frame`, to ``mae_sd``."""
    scores = [score(*run.part(part)[1:]) for run in series.runs]
    ids = [run.part(part)[0] for run in series.runs]
    sizes = [len(one) for one in ids]
    row: dict[str, Any] = {
        "target": series.target,
        "unit": series.runs[0].metrics["unit"],
        "group": labels.group_of(series.model),
        "model": series.model,
        "level": series.level,
        "part": part,
        "runs": len(series.runs),
        "n": min(sizes),
        "n_max": max(sizes),
        "n_groups": min(len(set(series.groups_of(one).tolist())) for one in ids),
    }
    for metric in METRICS:
        row[f"{metric}_mean"], row[f"{metric}_sd"] = mean_sd([or_nan(one[metric]) for one in scores])
    return row


def _row(series: Series, part: str, resamples: int) -> dict[str, Any]:
    row = part_scores(series, part)
    row |= _intervals(series, resamples) if part == "test" else dict.fromkeys(_INTERVALS, np.nan)
    row["r2_runs"] = sum(math.isfinite(one["r2"]) for scores in fold_scores(series, part).values() for one in scores)
    row["n_asked"], row["r2_all"] = _with_unanswered(series, part, scored=(row["n_max"], row["r2_mean"]))
    row |= pooled_scores(series) if part == "val" else dict.fromkeys(_POOLED, np.nan)
    return (
        row
        | spreads(series, part)
        | {
            "epochs": "; ".join(f"{name} {epochs}" for name, epochs in epochs_used(series).items()),
            "stopped": "; ".join(f"{name}: {why}" for name, why in why_stopped(series).items()),
            "weights": weights_used(series),
        }
    )


def _intervals(series: Series, resamples: int) -> dict[str, float]:
    ids, y_true, y_pred = series.common_test()
    groups = series.groups_of(ids)
    r2, rmse = (
        bootstrap_interval(y_true, y_pred, metric=metric, resamples=resamples, groups=groups)
        for metric in _BOOTSTRAPPED
    )
    return dict(zip(_INTERVALS, (r2.low, r2.high, rmse.low, rmse.high), strict=True))


def _with_unanswered(series: Series, part: str, *, scored: tuple[int, float]) -> tuple[int, float]:
    """Materials and mean R2 with those that the language model did not answer; else `scored`.

    A model must not look better by refusing what is hard.
    """
    facts = [run.metrics["training"] or {} for run in series.runs]
    if not all(part in one.get("asked", {}) for one in facts):
        return scored
    whole = [or_nan(one["metrics_with_mean"][part]["r2"]) for one in facts]
    return max(one["asked"][part] for one in facts), mean_sd(whole)[0]


def pooled_scores(series: Series) -> dict[str, float]:
    """Score the validation predictions of all folds together (each material once a seed), mean over seeds.

    Returns
    -------
    dict
        ``r2_pooled`` (dimensionless), ``rmse_pooled, mae_pooled`` (unit of the target).
    """
    by_seed: dict[int, list[Run]] = {}
    for run in series.runs:
        by_seed.setdefault(run.key.seed, []).append(run)
    scores = []
    for runs in by_seed.values():
        _, y_true, y_pred = zip(*(run.part("val") for run in runs), strict=True)
        scores.append(score(np.concatenate(y_true), np.concatenate(y_pred)))
    return {f"{metric}_pooled": mean_sd([or_nan(one[metric]) for one in scores])[0] for metric in METRICS}


def fold_scores(series: Series, part: str) -> dict[int, list[dict[str, float]]]:
    """Scores of each run on one part, by fold: ``r2``, ``rmse, mae`` (unit of the target); NaN where not defined."""
    found: dict[int, list[dict[str, float]]] = {}
    for run in series.runs:
        scored = {metric: or_nan(value) for metric, value in score(*run.part(part)[1:]).items()}
        found.setdefault(run.key.fold, []).append(scored)
    return found


def spreads(series: Series, part: str) -> dict[str, float]:
    """Sample standard deviations of the scores of one part.

    Returns
    -------
    dict
        ``<metric>_sd_folds``: over the folds, seeds averaged first; ``<metric>_sd_seeds``: over the seeds of a fold,
        mean over folds. NaN for one fold, or one seed.
    """
    row, by_fold = {}, fold_scores(series, part).values()
    for metric in METRICS:
        values = [[one[metric] for one in scores] for scores in by_fold]
        row[f"{metric}_sd_folds"] = mean_sd([mean_sd(one)[0] for one in values])[1]
        row[f"{metric}_sd_seeds"] = mean_sd([mean_sd(one)[1] for one in values])[0]
    return row


def _stages(series: Series) -> dict[str, list[dict[str, Any]]]:
    stages: dict[str, list[dict[str, Any]]] = {}
    for run in series.runs:
        for stage in (run.metrics["training"] or {}).get("stages", []):
            stages.setdefault(stage["name"], []).append(stage)
    return stages


def epochs_used(series: Series, field: str = "epochs") -> dict[str, str]:
    """Epochs of each stage over the runs, e.g. ``{"readout": "96–120", "finetune": "4"}``."""
    counts = {name: [stage[field] for stage in runs] for name, runs in _stages(series).items()}
    return {name: labels.span(min(epochs), max(epochs)) for name, epochs in counts.items()}


def why_stopped(series: Series) -> dict[str, str]:
    """Why each stage ended, with the number of runs where they differ."""
    reasons = {}
    for name, runs in _stages(series).items():
        counts = Counter(str(stage["stopped"]) for stage in runs)
        shown = [why if len(counts) == 1 else f"{why} ({times})" for why, times in sorted(counts.items())]
        reasons[name] = ", ".join(shown)
    return reasons


def weights_used(series: Series) -> str:
    """Pretrained weights, e.g. ``image: package:...; text: package:...``; empty for a baseline."""
    used = {
        f"{part}: {weights}"
        for run in series.runs
        for part, weights in (run.metrics["training"] or {}).get("weights", {}).items()
        if weights
    }
    return "; ".join(sorted(used))


def texts_cut(series: Series) -> tuple[int, int]:
    """How many texts were longer than the token limit, and of how many."""
    counts = [((run.metrics["training"] or {}).get("texts_cut", 0), len(run.predictions)) for run in series.runs]
    return max(counts)
