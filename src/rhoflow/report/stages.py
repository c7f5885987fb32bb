"""Text level x input x part, and their average over the targets: laid out as Fig. 2 of arXiv 2401.09301v3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.config import Study
from rhoflow.dataset.names import PARTS, TEXT_LEVELS
from rhoflow.report import labels
from rhoflow.report.comparisons import Pair, pair_of
from rhoflow.report.published import COLUMNS, SOURCE, TEXTS, other_fusion, published_cell
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target, part_scores
from rhoflow.report.runs import Series
from rhoflow.report.statistics import mean_sd, or_nan
from rhoflow.training.evaluate import r2_score

INPUTS = {"image": "Image", "text": "Text", "fusion": "Image+Text"}
# Figure of the paper by target; the average over its three targets has one of its own.
FIGURES = {"formation_energy_per_atom": "Fig. 2a", "efermi": "Fig. 2b", "k_vrh": "Fig. 2c"}
AVERAGE = "average"


def stages_frame(series: Sequence[Series]) -> pd.DataFrame:
    """One row a target, text level, input and part; baselines below, and R2 averaged over the targets at the end.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.main_series`.

    Returns
    -------
    DataFrame
        Columns of `rhoflow.report.results.part_scores`, with ``text``: the text level of the row (the image network
        stands at each level, as published); ``published_r2``, ``published_rmse`` (`unit`): the paper's, NaN where it
        has none. Target `average`: mean over the targets of each run's R2, then over the runs.
    """
    rows = []
    for one, text in _placed(series):
        figure, name = FIGURES.get(one.target, ""), f"{TEXTS.get(text, '')} {INPUTS.get(one.model, '')}"
        for part in PARTS:
            found = published_cell("multimodal", figure, name, COLUMNS.get(one.target, ""), part)
            theirs = {f"published_{metric}": value for metric, value in found.items()}
            rows.append({**part_scores(one, part), "text": text, **theirs})
    return pd.DataFrame([*rows, *_average_rows(series)])


def _placed(series: Sequence[Series]) -> list[tuple[Series, str]]:
    """Series with the text level that they stand at; baselines once, at their own."""
    levels = [level for level in TEXT_LEVELS if any(one.level == level for one in series if one.model in INPUTS)]
    order = list(INPUTS)
    stacked = [
        (one, level)
        for level in levels
        for one in sorted((one for one in series if one.model in INPUTS), key=lambda one: order.index(one.model))
        if one.model == "image" or one.level == level
    ]
    beside = [(one, one.level) for one in series if labels.group_of(one.model) == "baseline"]
    targets = list(dict.fromkeys(one.target for one in series))
    return sorted([*stacked, *beside], key=lambda item: targets.index(item[0].target))


def _average_rows(series: Sequence[Series]) -> list[dict[str, Any]]:
    """R2 averaged over all targets, where there are several."""
    targets = list(dict.fromkeys(one.target for one in series))
    placed: dict[tuple[str, str], list[Series]] = {}
    for one, text in _placed(series):
        placed.setdefault((one.model, text), []).append(one)
    rows = []
    for (model, text), found in placed.items():
        if len(targets) < 2 or len(found) < len(targets):
            continue
        name = f"{TEXTS.get(text, '')} {INPUTS.get(model, '')}"
        for part in PARTS:
            scores = _averages(found, part)
            mean, sd = mean_sd(scores)
            sizes = [len(run.part(part)[0]) for one in found for run in one.runs]
            rows.append(
                {
                    **{"target": AVERAGE, "unit": "", "group": labels.group_of(model), "model": model},
                    **{"level": found[0].level, "part": part, "runs": len(scores), "n": min(sizes)},
                    **{"n_max": max(sizes), "r2_mean": mean, "r2_sd": sd, "text": text},
                    "published_r2": published_cell("multimodal", "Fig. 2d", name, AVERAGE, part)["r2"],
                }
            )
    return rows


def _averages(found: Sequence[Series], part: str) -> list[float]:
    """Mean R2 over the targets, of each fold and seed that all of them have."""
    by_key: dict[tuple[int, int], list[float | None]] = {}
    for one in found:
        for run in one.runs:
            by_key.setdefault((run.key.fold, run.key.seed), []).append(r2_score(*run.part(part)[1:]))
    whole = [values for values in by_key.values() if len(values) == len(found)]
    return [float(np.mean([or_nan(value) for value in values])) for values in whole]


def stages_pairs(series: Sequence[Series], target: str) -> list[Pair]:
    """Image and text together against image alone and text alone, at each level of one target."""
    ours = {(one.model, one.level): one for one in series if one.target == target}
    found = [
        pair_of(one, ours[other])
        for (model, level), one in ours.items()
        if model == "fusion"
        for other in (("image", "none"), ("text", level))
        if other in ours
    ]
    return [pair for pair in found if 0 in pair.repeats]


def stages_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return the table of one target, or of their average; None if there are no networks for it."""
    rows = of_target(frame, target)
    if not len(rows) or not (rows["group"] == "network").any():
        return None
    average = target == AVERAGE
    tested = rows[(rows["part"] == "test") & (rows["group"] == "network")]
    decimals = 2 if average else labels.decimals_for(float(tested["rmse_mean"].min()))
    unit = "" if average else labels.unit_after(target)
    what = "R²" if average else f"R² / RMSE{unit}"
    header = ("Input", "n", *(f"{what} {part}" for part in PARTS), *(f"Published {part}" for part in PARTS))
    groups = [
        (TEXTS[text], tuple(_rows(rows[(rows["text"] == text) & (rows["group"] == "network")], decimals)))
        for text in TEXTS
        if ((rows["text"] == text) & (rows["group"] == "network")).any()
    ]
    beside = tuple(_rows(rows[rows["group"] == "baseline"], decimals))
    groups += [("Baselines", beside)] if beside else []
    title = "average over the targets" if average else labels.target_label(target)
    return Table(
        f"stages-{target}",
        f"Text level, input and part: {title}",
        header,
        tuple(groups),
        _caption(rows, average=average, study=study, lineage_id=lineage_id),
        text_columns=1,
    )


def _rows(rows: pd.DataFrame, decimals: int) -> list[Row]:
    return [
        Row(
            (
                _name(str(model), str(level)),
                " / ".join(labels.span(one["n"], one["n_max"]) for one in parts),
                *(_ours(one, decimals) for one in parts),
                *(_theirs(one) for one in parts),
            )
        )
        for (model, level), parts in (
            (key, group.set_index("part").loc[list(PARTS)].to_dict("records"))
            for key, group in rows.groupby(["model", "level"], sort=False)
        )
    ]


def _name(model: str, level: str) -> str:
    return INPUTS.get(model) or labels.series_label(model, level)


def _ours(row: dict[Any, Any], decimals: int) -> str:
    """``R2 / RMSE``, each with its spread; the average has R2 alone."""
    names = (("r2", 2), ("rmse", decimals))
    cells = [labels.spread(row.get(f"{name}_mean", np.nan), row.get(f"{name}_sd", np.nan), n) for name, n in names]
    return " / ".join(cell for cell in cells if cell != labels.DASH) or labels.DASH


def _theirs(row: dict[Any, Any]) -> str:
    """``R2 / RMSE`` as printed."""
    cells = [labels.printed(row.get(f"published_{name}", np.nan)) for name in ("r2", "rmse")]
    return " / ".join(cell for cell in cells if cell != labels.DASH) or labels.DASH


def _caption(rows: pd.DataFrame, *, average: bool, study: Study, lineage_id: str) -> str:
    runs = sorted(set(rows["runs"]))
    theirs = (
        "The published average is over the paper's three targets, formation energy, Fermi energy and bulk modulus."
        " The average is not tested, the targets are, one by one."
        if average
        else "Where a dash stands, nothing is published."
    )
    return (
        "n: crystals in training / validation / test of a run."
        f" Mean ± sample standard deviation over {labels.span(runs[0], runs[-1])} runs (folds × seeds)"
        f"{', of the R² averaged over the targets of this study' if average else ''}. Published: {SOURCE}, Fig. 2,"
        f" as printed: other crystals and splits, so the columns are no contest."
        f"{other_fusion(study, 'penultimate')} {theirs} The image network reads no text and stands at every level, as"
        f" published. Lineage {lineage_id}."
    )
