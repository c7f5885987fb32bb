"""Our test rows beside those that Massa et al. published for the same target, model and text level.

``published.csv`` holds every number of the three papers' tables and figures that could be had, as printed: `study`
sfe and multimodal-v1 (Massa, Papanikolaou, Sankowski 2024, arXiv 2401.09301v1), multimodal (Massa, Kaszuba,
Papanikolaou, Sankowski 2024, arXiv 2401.09301v3); `table`, `row`, `column`, `split`, `metric`, `value`, `unit`,
`note` (what is doubtful about a number; 000 and 002 are two conversions of v3 to text, 001 is one of v1).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.config import Study
from rhoflow.report import labels
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target

PUBLISHED = Path(__file__).parent / "published.csv"
SOURCE = "Massa, Kaszuba, Papanikolaou, Sankowski 2024 (arXiv 2401.09301v3)"
SOURCE_V1 = "Massa, Papanikolaou, Sankowski 2024 (arXiv 2401.09301v1)"
# The language model in context of v1: its target, text level, and place; its RMSE is of a target scaled to 0..1.
_IN_CONTEXT = ("k_vrh", "formula")
_TABLE_7 = ("multimodal-v1", "Table 7", "GPT-4, 5 in-context samples", "Single; B", "holdout")
# Their names for our targets; house units are those that they print.
COLUMNS = {"formation_energy_per_atom": "E_F", "efermi": "E_fermi", "k_vrh": "K_VRH"}
TEXTS = {"formula": "Formula", "keywords": "Keywords", "all": "All"}
# What a fusion network joins, by fusion.kind: `penultimate` is that of v3, `scalar` that of v1.
_JOINED = {
    "penultimate": "the last hidden layers of the image and text networks",
    "scalar": "the image network's prediction and the text",
}


def published_rows(model: str, level: str) -> list[tuple[str, str]]:
    """(table, row) of the paper for one of our models; several where the paper repeats it.

    Fig. 2 prints the stacked model's image part once beside each text level. Table 1 is CLIP, at the level all; its
    row `mean` is that over three trials.
    """
    if model == "clip":
        return [("Table 1", "mean")] if level == "all" else []
    if model == "image":
        return [("Fig. 2", f"{text} Image") for text in TEXTS.values()]
    parts = {"text": "Text", "fusion": "Image+Text"}
    return [("Fig. 2", f"{TEXTS[level]} {parts[model]}")] if model in parts and level in TEXTS else []


def read_published() -> pd.DataFrame:
    """Read the published numbers as printed, `value` as float64 (NaN where it is no number)."""
    table = pd.read_csv(PUBLISHED, dtype=str, keep_default_na=False)
    return table.assign(value=pd.to_numeric(table["value"], errors="coerce"))


def published_cell(study: str, table: str, row: str, column: str, split: str) -> dict[str, float]:
    """Look up the published ``r2`` and ``rmse`` of one cell, as printed; NaN where none is.

    Parameters
    ----------
    table, row, column, split : str
        Values of the columns of that name, e.g. ``Fig. 2a``, ``Formula Text``, ``E_F``, ``val``.
    """
    found = _cells_by_place().get((study, table, row, column, split), {})
    return {metric: found.get(metric, float("nan")) for metric in ("r2", "rmse")}


@functools.cache
def _cells_by_place() -> dict[tuple[str, ...], dict[str, float]]:
    cells: dict[tuple[str, ...], dict[str, float]] = {}
    for one in read_published().to_dict("records"):
        place = tuple(one[name] for name in ("study", "table", "row", "column", "split"))
        cells.setdefault(place, {})[one["metric"].lower()] = one["value"]
    return cells


def other_fusion(study: Study, kind: str) -> str:
    """Say that the paper's fusion network, one of `kind`, is not that of the study; empty where it is."""
    ours = study.fusion.kind
    return "" if ours == kind else f" The paper's network joins {_JOINED[kind]}, ours {_JOINED[ours]}."


def published_frame(results: pd.DataFrame) -> pd.DataFrame:
    """One row a target, model, level and published row, test set.

    Parameters
    ----------
    results : DataFrame
        `rhoflow.report.results.results_frame`.

    Returns
    -------
    DataFrame
        ``target, unit, model, level``; ours: ``n, runs, r2_mean, r2_sd, rmse_mean, rmse_sd`` (NaN on the row of the
        language model where the study has none); theirs: ``row, table, published_r2, published_rmse`` (`unit`),
        ``published_rmse_scaled`` (of a target scaled to 0..1), ``note``.
    """
    if not len(results):
        return pd.DataFrame()
    known = _test_rows()
    ours = ["target", "unit", "model", "level", "n", "runs", "r2_mean", "r2_sd", "rmse_mean", "rmse_sd"]
    rows: list[dict[str, Any]] = []
    tested = _records(results.loc[results["part"] == "test", ours])
    for one in tested:
        for table, row in published_rows(one["model"], one["level"]):
            theirs = known.get((table, row, COLUMNS.get(one["target"], "")))
            if theirs:
                rows.append({**one, "row": row, **theirs})
    target, level = _IN_CONTEXT
    units = [one["unit"] for one in tested if one["target"] == target]
    asked = [one for one in tested if (one["target"], one["model"], one["level"]) == (target, "llm", level)]
    if units:
        ours_or_none = asked or [{"target": target, "unit": units[0], "model": "llm", "level": level}]
        rows += [{**one, **_in_context()} for one in ours_or_none]
    if not rows:
        return pd.DataFrame()
    of_theirs = ["row", "table", "published_r2", "published_rmse", "published_rmse_scaled", "note"]
    return pd.DataFrame(rows, columns=[*ours, *of_theirs]).astype({"n": "Int64", "runs": "Int64"})


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dict("records")  # type: ignore[return-value]


def _in_context() -> dict[str, Any]:
    """Give what v1 prints of its language model."""
    table, row = _TABLE_7[1:3]
    cell = published_cell(*_TABLE_7)
    found = read_published().query("table == @table")
    return {
        "row": row,
        "table": table,
        "published_r2": cell["r2"],
        "published_rmse_scaled": cell["rmse"],
        "note": "; ".join(filter(None, found["note"])),
    }


def _test_rows() -> dict[tuple[str, str, str], dict[str, Any]]:
    """Group the published test numbers by (Table 1 or Fig. 2, row, column)."""
    numbers = read_published()
    numbers = numbers[(numbers["study"] == "multimodal") & (numbers["split"] == "test")]
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in numbers.to_dict("records"):
        key = (one["table"].rstrip("abcd"), one["row"], one["column"])
        entry = found.setdefault(key, {"table": one["table"], "note": ""})
        entry[f"published_{one['metric'].lower()}"] = one["value"]
        entry["note"] = "; ".join(filter(None, [entry["note"], one["note"]]))
    return found


def published_table(frame: pd.DataFrame, target: str, *, lineage_id: str) -> Table | None:
    """Return our test rows of one target beside the published ones; None if none is published."""
    rows = of_target(frame, target).to_dict("records")
    if not rows:
        return None
    unit = labels.unit_after(target)
    decimals = labels.decimals_for(min((row["rmse_mean"] for row in rows if row["rmse_mean"] > 0), default=np.nan))
    header = (
        *("Model", "Text", "Published as", "n", "R² test", "Published R²"),
        *(f"RMSE test{unit}", f"Published RMSE{unit}"),
    )
    doubts = sorted({f"{row['table']}, {row['row']}" for row in rows if row["note"]})
    asked = any(row["model"] == "llm" for row in rows)
    theirs = (
        f"; {_TABLE_7[1]}: {SOURCE_V1}, its RMSE of a target scaled to 0..1 as far as can be told" if asked else ""
    )
    caption = (
        f"Published: {SOURCE}, as printed; CLIP: the mean of its trials{theirs}. Ours: n test crystals, mean ± sample"
        " standard deviation over folds and seeds. Other crystals, other splits, and unless the study says so other"
        f" networks: the columns are no contest and not tested against each other; of ours, {labels.TESTED}."
        f"{' With a doubt, see the notes in published.csv: ' + '; '.join(doubts) + '.' if doubts else ''}"
        f" Lineage {lineage_id}."
    )
    body = tuple(Row(_cells(row, decimals)) for row in rows)
    title = f"Beside the published figures: {labels.target_label(target)}"
    return Table(f"published-{target}", title, header, (("", body),), caption, text_columns=3)


def _cells(row: dict[Any, Any], decimals: int) -> tuple[str, ...]:
    scaled = row["published_rmse_scaled"]
    return (
        labels.model_label(row["model"]),
        labels.level_cell(row["level"]),
        f"{row['table']}, {row['row']}",
        labels.DASH if pd.isna(row["n"]) else str(row["n"]),
        labels.spread(row["r2_mean"], row["r2_sd"], 2),
        labels.number(row["published_r2"], 2),
        labels.spread(row["rmse_mean"], row["rmse_sd"], decimals),
        f"{labels.printed(scaled)}, scaled" if scaled > 0 else labels.number(row["published_rmse"], decimals),
    )
