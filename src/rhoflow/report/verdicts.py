"""The comparisons for readers: a table a target, and what is significant in plain words."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from rhoflow.config import Study
from rhoflow.report import labels
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target
from rhoflow.report.significance import LEVEL

_TESTS = {"p_holm": "rmse_difference", "val_p_holm": "val_rmse_difference"}


def comparisons_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return the comparisons of one target, grouped by reference; None if there are none."""
    rows = _rows(frame, target)
    if not rows:
        return None
    unit = labels.unit_after(target)
    detectable = [row["detectable"] for row in rows if math.isfinite(row["detectable"])]
    decimals = labels.decimals_for(min(detectable, default=math.nan))
    sizes = sorted({_size(row) for row in rows})
    header = (
        *("Model", "Text", *(["n"] if len(sizes) > 1 else [])),
        *(f"ΔRMSE test{unit}", "95 % interval", "ΔR² test", "95 % interval", "p test", f"Detectable test{unit}"),
        *(f"ΔRMSE val{unit}", "p folds", f"Detectable folds{unit}"),
    )
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        cells = [labels.model_label(row["model"]), labels.level_cell(row["level"])]
        cells += [_size(row)] if len(sizes) > 1 else []
        cells += _cells(row, decimals)
        bold = {len(cells) - 5: row["p_holm"], len(cells) - 2: row["val_p_holm"]}
        found = frozenset(column for column, p in bold.items() if p < LEVEL)
        grouped.setdefault(f"minus {_reference(row)}", []).append(Row(tuple(cells), found))
    title = f"Differences from the references: {labels.target_label(target)}"
    groups = tuple((name, tuple(of)) for name, of in grouped.items())
    caption = _caption(rows, sizes, study=study, lineage_id=lineage_id)
    return Table(f"comparisons-{target}", title, header, groups, caption, text_columns=2)


def _rows(frame: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    return of_target(frame, target).to_dict("records")  # type: ignore[return-value]


def _reference(row: dict[str, Any]) -> str:
    return labels.series_label(row["reference"], row["reference_level"])


def _size(row: dict[str, Any]) -> str:
    return f"{row['n']}" if row["n"] == row["n_groups"] else f"{row['n']} in {row['n_groups']} groups"


def _cells(row: dict[str, Any], decimals: int) -> list[str]:
    return [
        labels.number(row["rmse_difference"], decimals),
        labels.interval(row["rmse_low"], row["rmse_high"], decimals),
        labels.number(row["r2_difference"], 2),
        labels.interval(row["r2_low"], row["r2_high"], 2),
        labels.number(row["p_holm"], 3),
        labels.number(row["detectable"], decimals),
        labels.number(row["val_rmse_difference"], decimals),
        labels.number(row["val_p_holm"], 3),
        labels.number(row["val_detectable"], decimals),
    ]


def _caption(rows: list[dict[str, Any]], sizes: list[str], *, study: Study, lineage_id: str) -> str:
    m, folds = rows[0]["comparisons"], sorted({row["folds"] for row in rows})
    n = f"n = {sizes[0]} test crystals" if len(sizes) == 1 else "n test crystals that both predict"
    return " ".join(
        [
            f"{n}. Model minus reference: a negative ΔRMSE favours the model. Seeds are averaged first, then folds.",
            f"Test: the {labels.RESAMPLED[study.splits.strategy]} resampled, the trained models fixed: the interval"
            " is a paired bootstrap's, p is that of random swaps of the two models' errors.",
            f"Folds: corrected resampled t-test (Nadeau and Bengio 2003) on the validation parts of"
            f" {labels.span(folds[0], folds[-1])} folds, which includes retraining; networks stop early by these"
            " parts.",
            f"p: Holm's correction over the {m} comparisons of this target, each test by itself; bold: below"
            f" {LEVEL}.",
            f"Detectable: the true difference found with 80 % power at {LEVEL}/{m}; a dash where there are too"
            " few for any.",
            f"Lineage {lineage_id}.",
        ]
    )


def verdict(frame: pd.DataFrame, target: str) -> str | None:
    """Say in plain words which differences of one target are significant and which not; None if none was tested."""
    rows = _rows(frame, target)
    if not rows:
        return None
    n, folds = sorted({row["n"] for row in rows}), sorted({row["folds"] for row in rows})
    m = len(rows)
    models = len({(row["model"], row["level"]) for row in rows})
    references = len({_reference(row) for row in rows})
    return (
        f"By RMSE, after Holm's correction at 5 % over {labels.counted(m, 'comparison')} of"
        f" {labels.counted(models, 'model')} with {labels.counted(references, 'reference')}."
        f" On the {labels.span(n[0], n[-1])} test crystals, the"
        f" trained models fixed: {findings(rows, 'p_holm', target)} Over {labels.span(folds[0], folds[-1])} folds,"
        f" retraining included: {findings(rows, 'val_p_holm', target)} What is not significant is not shown to be"
        " equal."
    )


def findings(rows: list[dict[str, Any]], p: str, target: str) -> str:
    """Tell what one test found, and the smallest difference that it could have found."""
    better: dict[str, list[str]] = {}
    worse: dict[str, list[str]] = {}
    for row in rows:
        if row[p] < LEVEL:
            side = better if row[_TESTS[p]] < 0 else worse
            side.setdefault(_reference(row), []).append(labels.series_label(row["model"], row["level"]))
    told = [
        f"{', '.join(models)} {'is' if len(models) == 1 else 'are'} {how} than {reference}"
        for how, side in (("better", better), ("worse", worse))
        for reference, models in side.items()
    ]
    total = sum(len(models) for side in (better, worse) for models in side.values())
    rest = f"; the other {len(rows) - total} differences are not significant" if 0 < total < len(rows) else ""
    return f"{'; '.join(told) or 'no difference is significant'}{rest} ({power(rows, p, target)})."


def power(rows: list[dict[str, Any]], p: str, target: str) -> str:
    """Tell the smallest differences that the tests behind the column `p` could have found."""
    column = "detectable" if p == "p_holm" else "val_detectable"
    sizes = sorted(row[column] for row in rows if math.isfinite(row[column]))
    if not sizes:
        return "too few for a test"
    unit = labels.unit_label(target)
    low, high = (labels.number(size, labels.decimals_for(size)) for size in (sizes[0], sizes[-1]))
    span = low if low == high else f"{low} to {high}, by pair"
    return f"smallest detectable with 80 % power{f' [{unit}]' if unit else ''}: {span}"
