"""The four stages of the transfer, laid out as Table 13 of arXiv 2401.09301v1: images, then images and texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from rhoflow.config import Study
from rhoflow.dataset.names import NO_TEXT, PARTS, TEXT_LEVELS
from rhoflow.report import labels
from rhoflow.report.published import SOURCE_V1, other_fusion, published_cell
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target, part_scores
from rhoflow.report.runs import Series
from rhoflow.report.significance import LEVEL, corrected_t_test, detectable_difference, holm
from rhoflow.report.statistics import mean_sd, or_nan
from rhoflow.report.text_levels import ROWS, SHORT, SPLITS, TEXTS, scaled_errors, training_range
from rhoflow.report.verdicts import power

# Stage of the paper, and the network and stage of its training that it is.
STAGES = {
    "Pre-Trained (images)": ("image", "readout"),
    "Finetuning (image)": ("image", "finetune"),
    "Pre-Trained (images+text)": ("fusion", "readout"),
    "Finetuning (images+text)": ("fusion", "finetune"),
}
_METRICS = ("r2", "rmse", "mae")


def transfer_frame(series: Sequence[Series]) -> pd.DataFrame:
    """One row a target, text level, stage of the transfer and part; baselines below.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.main_series`; their metrics.json hold the metrics after each stage.

    Returns
    -------
    DataFrame
        ``target, unit, group, model, level`` (`none` for images alone), ``stage`` (those left out by the study have
        no row; a baseline's own name), ``part``, ``runs``, ``n``, ``n_max``; ``<metric>_mean, <metric>_sd`` over the
        runs, ``rmse_scaled_mean, rmse_scaled_sd``; ``published_r2, published_rmse`` (on that scale). On rows of
        `val`, the step from the stage before, by the corrected resampled t-test over folds: ``change`` of the RMSE
        (`unit`), ``t, dof, p``, ``detectable`` and ``p_holm``.
    """
    frames = []
    for target in dict.fromkeys(one.target for one in series):
        stages = list(_stages({(one.model, one.level): one for one in series if one.target == target}))
        tested = sum(bool(one.steps) for one in stages)
        rows = [row for one in stages for row in _stage_rows(one, LEVEL / max(tested, 1))]
        if rows:
            frame = pd.DataFrame([*rows, *_baseline_rows([one for one in series if one.target == target])])
            frames.append(frame.assign(p_holm=holm(frame["p"])))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


_Scores = dict[tuple[int, int], dict[str, dict[str, float | None]]]


@dataclass(frozen=True)
class _Stage:
    """One stage of a series: metrics by part after it and after the stage before, by (fold, seed)."""

    series: Series
    name: str
    scores: _Scores
    before: _Scores

    @property
    def steps(self) -> list[tuple[int, int]]:
        """Runs of which both are known."""
        return [key for key in self.scores if key in self.before]


def _stages(ours: dict[tuple[str, str], Series]) -> Iterator[_Stage]:
    """Stages that were trained: those of the image network, then of its fusion with the texts of each level."""
    images: _Scores = {}
    for level in (NO_TEXT, *TEXT_LEVELS):
        model = "image" if level == NO_TEXT else "fusion"
        one, before = ours.get((model, level)), images
        for stage, (network, name) in STAGES.items():
            scores = _scores(one, name) if one and network == model else {}
            if one and scores:
                yield _Stage(one, stage, scores, before)
                before = scores
        images = before if level == NO_TEXT else images


def _stage_rows(stage: _Stage, level: float) -> Iterator[dict[str, Any]]:
    one = stage.series
    for part in PARTS:
        row = {"target": one.target, "unit": one.runs[0].metrics["unit"], "group": "network"}
        row |= {"model": one.model, "level": one.level, "stage": stage.name}
        row |= _stage_row(one, stage.scores, part)
        step = _step(stage, level) if part == "val" else {}
        yield row | _published_stage(one, stage.name, part) | dict.fromkeys(_STEP, np.nan) | step


_STEP = ("change", "t", "dof", "p", "detectable")


def _scores(series: Series, stage: str) -> _Scores:
    """Metrics by part after a stage, by (fold, seed); runs without them left out.

    A stage without an epoch (frozen by config) trained nothing: its metrics repeat those of the one before.
    """
    found: _Scores = {}
    for run in series.runs:
        for one in (run.metrics["training"] or {}).get("stages", []):
            if one["name"] == stage and one["epochs"] and one.get("metrics"):
                found[run.key.fold, run.key.seed] = one["metrics"]
    return found


def _stage_row(series: Series, scores: _Scores, part: str) -> dict[str, Any]:
    runs = [run for run in series.runs if (run.key.fold, run.key.seed) in scores]
    sizes = [run.metrics["n"][part] for run in runs]
    row: dict[str, Any] = {"part": part, "runs": len(runs), "n": min(sizes), "n_max": max(sizes)}
    values = [scores[run.key.fold, run.key.seed][part] for run in runs]
    for metric in _METRICS:
        row[f"{metric}_mean"], row[f"{metric}_sd"] = mean_sd([or_nan(one[metric]) for one in values])
    scaled = [or_nan(one["rmse"]) / training_range(run) for one, run in zip(values, runs, strict=True)]
    row["rmse_scaled_mean"], row["rmse_scaled_sd"] = mean_sd(scaled)
    return row


def _baseline_rows(series: Sequence[Series]) -> Iterator[dict[str, Any]]:
    for one in series:
        for part in PARTS if labels.group_of(one.model) == "baseline" else ():
            row = part_scores(one, part) | scaled_errors(one, part)
            yield row | {"stage": labels.series_label(one.model, one.level), **dict.fromkeys(_STEP, np.nan)}


def _step(stage: _Stage, level: float) -> dict[str, float]:
    """Change of the validation RMSE from one stage to the next, seeds averaged first; none where a fold has none."""
    differences: dict[int, list[float]] = {}
    for key in stage.steps:
        change = or_nan(stage.scores[key]["val"]["rmse"]) - or_nan(stage.before[key]["val"]["rmse"])
        differences.setdefault(key[0], []).append(change)
    if not differences:
        return {}
    sizes = [run.metrics["n"]["val"] / run.metrics["n"]["train"] for run in stage.series.runs]
    test = corrected_t_test([float(np.mean(of_fold)) for of_fold in differences.values()], float(np.mean(sizes)))
    detectable = detectable_difference(test.standard_error, level=level, dof=test.dof)
    return {"change": test.mean, "t": test.t, "dof": test.dof, "p": test.p, "detectable": detectable}


def _published_stage(series: Series, stage: str, part: str) -> dict[str, float]:
    """Give what Table 13 prints; it has the magnetisation with single texts alone."""
    row = ROWS.get(series.target, "") if series.level in (NO_TEXT, "formula") else ""
    cell = published_cell("multimodal-v1", "Table 13", row, stage, SPLITS[part])
    return {f"published_{metric}": value for metric, value in cell.items()}


def transfer_sentence(frame: pd.DataFrame, target: str) -> str | None:
    """Say in plain words which steps of the transfer changed the error of one target; None if no step was tested."""
    rows = frame[(frame["target"] == target) & frame["change"].notna()] if len(frame) else frame
    if not len(rows):
        return None
    told, steps = [], cast("list[dict[str, Any]]", rows.to_dict("records"))
    for row in steps:
        if row["p_holm"] < LEVEL:
            text = f" ({row['level']})" if row["level"] in TEXT_LEVELS else ""
            told.append(f"{row['stage']}{text} {'lowers' if row['change'] < 0 else 'raises'} it")
    rest = "; the other steps do not change it significantly" if 0 < len(told) < len(steps) else ""
    return (
        "Validation RMSE from stage to stage, over folds, after Holm's correction at 5 % over"
        f" {labels.counted(len(steps), 'step')}: {'; '.join(told) or 'no step changes it significantly'}{rest}"
        f" ({power(steps, 'p_holm', target)})."
    )


def transfer_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return the stages of one target, images first, then each text level; None without stages."""
    rows = of_target(frame, target)
    if not len(rows):
        return None
    unit = labels.unit_after(target)
    beside, rows = rows[rows["group"] == "baseline"], rows[rows["group"] == "network"]
    decimals = labels.decimals_for(float(rows.loc[rows["part"] == "test", "rmse_mean"].min()))
    header = (
        *("Stage", "n", *(f"RMSE{unit} {SHORT[part]}" for part in PARTS), *(f"R² {SHORT[part]}" for part in PARTS)),
        *(f"Published R² {SHORT[part]}" for part in PARTS),
        *(f"Published RMSE {SHORT[part]}, scaled" for part in PARTS),
        "p of the step",
    )
    groups = []
    for level, of_level in rows.groupby("level", sort=False):
        lines = _lines(of_level, decimals)
        groups.append(("Images" if level == NO_TEXT else f"Images and texts: {TEXTS[str(level)]}", lines))
    groups += [("Baselines", _lines(beside, decimals))] if len(beside) else []
    runs = sorted(set(rows["runs"]))
    unfrozen = rows.loc[rows["stage"].str.startswith("Finetuning"), "level"]
    frozen = "" if rows["level"].isin(unfrozen).all() else " Where it is missing, the backbone stayed frozen."
    caption = (
        "Pre-Trained: after the readout on frozen features; Finetuning: after everything was unfrozen, the result of"
        f" the run.{frozen} Tr: training, Te: validation (the paper's testing), H: our test set (its holdout). n:"
        " crystals of a run in these. Mean ± sample standard deviation over"
        f" {labels.span(runs[0], runs[-1])} runs (folds × seeds). p of the step: corrected resampled t-test over"
        " folds of the change of the validation RMSE from the stage before (that of the image network for the first"
        f" with text), Holm's correction over the steps; bold: below {LEVEL}. Published: {SOURCE_V1}, Table 13, as"
        " printed, its RMSE on targets scaled to 0..1 as far as can be told; a dash: nothing published."
        f"{other_fusion(study, 'scalar')} Lineage {lineage_id}."
    )
    title = f"From stage to stage: {labels.target_label(target)}"
    return Table(f"v1-stages-{target}", title, header, tuple(groups), caption, text_columns=1)


def _lines(rows: pd.DataFrame, decimals: int) -> tuple[Row, ...]:
    stages = rows.groupby("stage", sort=False)
    return tuple(_stage_cells(str(stage), parts.set_index("part"), decimals) for stage, parts in stages)


def _stage_cells(stage: str, parts: pd.DataFrame, decimals: int) -> Row:
    rows = parts.loc[list(PARTS)].to_dict("records")
    p = float(parts.loc["val", "p_holm"])  # type: ignore[arg-type]
    cells = (
        stage,
        " / ".join(labels.span(row["n"], row["n_max"]) for row in rows),
        *(labels.spread(row["rmse_mean"], row["rmse_sd"], decimals) for row in rows),
        *(labels.spread(row["r2_mean"], row["r2_sd"], 2) for row in rows),
        *(labels.printed(row["published_r2"]) for row in rows),
        *(labels.printed(row["published_rmse"]) for row in rows),
        labels.number(p, 3),
    )
    return Row(cells, frozenset({len(cells) - 1} if p < LEVEL else ()))
