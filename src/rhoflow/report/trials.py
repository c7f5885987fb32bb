"""CLIP's trials, laid out as Table 1 of arXiv 2401.09301v3: a block a partition of the data, and their mean.

Every repeat of the splits is a trial: another partition with its own test set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.dataset.names import TEXT_LEVELS
from rhoflow.report import labels
from rhoflow.report.comparisons import REFERENCES, TWIN, Pair, over_folds, pair_of
from rhoflow.report.published import COLUMNS, SOURCE, published_cell
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target, part_scores
from rhoflow.report.runs import Series
from rhoflow.report.significance import LEVEL, holm
from rhoflow.report.statistics import mean_sd
from rhoflow.report.verdicts import findings

CLIP = "clip"
MEAN = "mean"
# What CLIP is tested against over all trials, but for its twin.
_REFERENCES = ("mean", *REFERENCES)
PUBLISHED_LEVEL = "all"
# Our parts, and the paper's names for them.
_PARTS = {"val": "Val. folds average", "test": "Test"}
_SPLITS = {"val": "val_folds_average", "test": "test"}
_METRICS = ("r2", "rmse", "mae")


def trials_frame(series: Sequence[Series]) -> pd.DataFrame:
    """One row a target, model, level, trial and part: CLIP, its random twin, and the baselines.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.read_series`, all repeats.

    Returns
    -------
    DataFrame
        Columns of `rhoflow.report.results.part_scores`, of the runs of one trial; ``trial`` (``#1``, ...), or
        ``mean``: mean and sample standard deviation over the trials, whose number is ``runs``; ``published_r2``,
        ``published_rmse`` (`unit`).
    """
    rows = []
    for one in series:
        if one.model in (CLIP, TWIN.format(CLIP), *labels.BASELINES):
            trials = [(f"#{repeat + 1}", one.of_repeat(repeat)) for repeat in one.repeats]
            for part in _PARTS:
                scored = [part_scores(trial, part) | _published(one, name, part) for name, trial in trials]
                rows += [row | {"trial": name} for row, (name, _) in zip(scored, trials, strict=True)]
                rows.append(_mean_row(scored) | _published(one, MEAN, part) | {"trial": MEAN})
    return pd.DataFrame(rows)


def _mean_row(scored: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row = {**scored[0], "runs": len(scored), "n": min(one["n"] for one in scored)}
    row |= {"n_max": max(one["n_max"] for one in scored), "n_groups": min(one["n_groups"] for one in scored)}
    for metric in _METRICS:
        row[f"{metric}_mean"], row[f"{metric}_sd"] = mean_sd([one[f"{metric}_mean"] for one in scored])
    return row


def _published(series: Series, trial: str, part: str) -> dict[str, float]:
    """Give what the paper prints for a trial of its own; it has all texts alone."""
    ours = series.model == CLIP and series.level == PUBLISHED_LEVEL
    column = COLUMNS.get(series.target, "") if ours else ""
    cell = published_cell("multimodal", "Table 1", trial, column, _SPLITS[part])
    return {f"published_{metric}": value for metric, value in cell.items()}


def trials_tests(series: Sequence[Series]) -> pd.DataFrame:
    """CLIP over the folds of all trials against the references that every model has, the mean and its random twin.

    Returns
    -------
    DataFrame
        ``target, unit, model, level, reference, reference_level, comparisons, repeats, folds`` (of all trials) and
        the columns ``val_...`` of `rhoflow.report.comparisons.comparisons_frame`, Holm's correction by target.
    """
    frames = []
    for target in dict.fromkeys(one.target for one in series):
        pairs = list(_pairs([one for one in series if one.target == target]))
        rows = [_test(pair, len(pairs)) for pair in pairs]
        if rows:
            frame = pd.DataFrame(rows)
            frames.append(frame.assign(val_p_holm=holm(frame["val_p"])))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _pairs(series: Sequence[Series]) -> Iterator[Pair]:
    by_kind = {(one.model, one.level): one for one in series}
    for (model, level), one in by_kind.items():
        if model != CLIP:
            continue
        references = [other for (name, _), other in by_kind.items() if name in _REFERENCES]
        twin = by_kind.get((TWIN.format(CLIP), level))
        found = [pair_of(one, other) for other in [*references, *([twin] if twin else [])]]
        yield from (pair for pair in found if pair.runs)


def _test(pair: Pair, comparisons: int) -> dict[str, Any]:
    return {
        "target": pair.model.target,
        "unit": pair.runs[0].metrics["unit"],
        "model": pair.model.model,
        "level": pair.model.level,
        "reference": pair.reference.model,
        "reference_level": pair.reference.level,
        "comparisons": comparisons,
        "repeats": len(pair.repeats),
        "folds": len(pair.folds),
        **over_folds(pair, LEVEL / comparisons),
    }


def trials_sentence(tests: pd.DataFrame, target: str) -> str | None:
    """Say in plain words what is significant over all trials of one target; None if nothing was tested."""
    rows: list[dict[str, Any]] = of_target(tests, target).to_dict("records")  # type: ignore[assignment]
    if not rows:
        return None
    folds, repeats = max(row["folds"] for row in rows), max(row["repeats"] for row in rows)
    return (
        f"By RMSE over {folds} validation folds of {labels.counted(repeats, 'partition')}, retraining"
        f" included, after Holm's correction at 5 % over {labels.counted(len(rows), 'comparison')}:"
        f" {findings(rows, 'val_p_holm', target)}"
    )


def trials_table(frame: pd.DataFrame, level: str, *, lineage_id: str) -> Table | None:
    """Return the trials of CLIP with the texts of one level, all targets side by side; None if there are none."""
    rows = frame[((frame["model"] == CLIP) & (frame["level"] == level))] if len(frame) else frame
    if not len(rows):
        return None
    targets = list(dict.fromkeys(rows["target"]))
    header = ["", "n"]
    for target in targets:
        unit = labels.unit_after(target)
        header += [f"{labels.target_label(target)} R²", f"RMSE{unit}"]
    groups = [
        (trial, tuple(_trial_rows(rows[rows["trial"] == trial], targets)))
        for trial in dict.fromkeys(rows["trial"])
        if trial != MEAN
    ]
    groups.append(("Mean of the trials", tuple(_trial_rows(rows[rows["trial"] == MEAN], targets))))
    twin = frame[(frame["model"] == TWIN.format(CLIP)) & (frame["level"] == level) & (frame["trial"] == MEAN)]
    if len(twin):
        groups.append(("Mean of the trials, random weights", tuple(_trial_rows(twin, targets))))
    others = [text for text in TEXT_LEVELS if text != level]
    beside = frame[(frame["group"] == "baseline") & (frame["trial"] == MEAN) & ~frame["level"].isin(others)]
    baselines = [
        row
        for (model, of_level), one in beside.groupby(["model", "level"], sort=False)
        for row in _trial_rows(one, targets, name=f"{labels.series_label(str(model), str(of_level))}: ")
    ]
    groups += [("Baselines, mean of the trials", tuple(baselines))] if baselines else []
    title = f"CLIP's trials, texts of the level {level}"
    caption = _caption(rows, level, lineage_id=lineage_id)
    return Table(f"clip-trials-{level}", title, tuple(header), tuple(groups), caption, text_columns=1)


def _trial_rows(rows: pd.DataFrame, targets: Sequence[str], name: str = "") -> list[Row]:
    """Our two rows of a trial, and the paper's below."""
    made = []
    for part, title in _PARTS.items():
        of_part = {row["target"]: row for row in rows[rows["part"] == part].to_dict("records")}
        sizes = [size for row in of_part.values() for size in (row["n"], row["n_max"])]
        cells = [name + title, labels.span(min(sizes), max(sizes))]
        made.append(Row((*cells, *_numbers(of_part, targets, ours=True))))
    for part, title in _PARTS.items():
        of_part = {row["target"]: row for row in rows[rows["part"] == part].to_dict("records")}
        theirs = _numbers(of_part, targets, ours=False)
        if set(theirs) != {labels.DASH}:
            made.append(Row((f"Published: {title}", labels.DASH, *theirs)))
    return made


def _numbers(rows: dict[str, dict[Any, Any]], targets: Sequence[str], *, ours: bool) -> list[str]:
    cells = []
    for target in targets:
        row = rows.get(target, {})
        decimals = labels.decimals_for(row.get("rmse_mean", np.nan))
        for metric, digits in (("r2", 2), ("rmse", decimals)):
            if ours:
                mean, sd = (row.get(f"{metric}_{name}", np.nan) for name in ("mean", "sd"))
                cells.append(labels.spread(mean, sd, digits))
            else:
                cells.append(labels.printed(row.get(f"published_{metric}", np.nan)))
    return cells


def _caption(rows: pd.DataFrame, level: str, *, lineage_id: str) -> str:
    one = rows[rows["trial"] != MEAN]
    runs, trials = sorted(set(one["runs"])), one["trial"].nunique()
    theirs = (
        f"Published: {SOURCE}, Table 1, as printed: other crystals and splits, so this is no contest."
        if level == PUBLISHED_LEVEL
        else "The paper has this table for all texts alone."
    )
    return (
        f"A trial is a partition of its own, with its own test set: {trials} of them. n: crystals of a validation"
        " fold, or of the test set. In a trial: mean ± sample standard deviation over"
        f" {labels.span(runs[0], runs[-1])} runs (folds × seeds); mean of the trials: ± over trials."
        f" {theirs} Lineage {lineage_id}."
    )
