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

import pandas as pd

from rhoflow.config import Study
from rhoflow.report import labels
from rhoflow.report.render import Row, Table

PUBLISHED = Path(__file__).parent / "published.csv"
SOURCE = "Massa, Kaszuba, Papanikolaou, Sankowski 2024 (arXiv 2401.09301v3)"
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
        ``target, unit, model, level``; ours: ``n, runs, r2_mean, r2_sd, rmse_mean, rmse_sd``; theirs:
        ``row, table, published_r2, published_rmse`` (`unit`), ``note``.
    """
    if not len(results):
        return pd.DataFrame()
    known = _test_rows()
    ours = ["target", "unit", "model", "level", "n", "runs", "r2_mean", "r2_sd", "rmse_mean", "rmse_sd"]
    rows = []
    for one in results.loc[results["part"] == "test", ours].to_dict("records"):
        for table, row in published_rows(one["model"], one["level"]):
            theirs = known.get((table, row, COLUMNS.get(one["target"], "")))
            if theirs:
                rows.append({**{str(name): value for name, value in one.items()}, "row": row, **theirs})
    return pd.DataFrame(rows)


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
    rows = frame[frame["target"] == target].to_dict("records") if len(frame) else []
    if not rows:
        return None
    unit = f" [{labels.unit_label(target)}]"
    decimals = labels.decimals_for(min(row["rmse_mean"] for row in rows))
    header = (
        *("Model", "Text", "Published as", "n", "R² test", "Published R²"),
        *(f"RMSE test{unit}", f"Published RMSE{unit}"),
    )
    doubts = sorted({f"{row['table']}, {row['row']}" for row in rows if row["note"]})
    caption = (
        f"Published: {SOURCE}, as printed; CLIP: the mean of its trials. Ours: n test crystals, mean ± sample"
        " standard deviation over folds and seeds. Other crystals, other splits, and unless the study says so other"
        " networks: the columns are no contest."
        f"{' With a doubt, see the notes in published.csv: ' + '; '.join(doubts) + '.' if doubts else ''}"
        f" Lineage {lineage_id}."
    )
    body = tuple(Row(_cells(row, decimals)) for row in rows)
    title = f"Beside the published figures: {labels.target_label(target)}"
    return Table(f"published-{target}", title, header, (("", body),), caption, text_columns=3)


def _cells(row: dict[Any, Any], decimals: int) -> tuple[str, ...]:
    return (
        labels.model_label(row["model"]),
        labels.level_cell(row["level"]),
        f"{row['table']}, {row['row']}",
        str(row["n"]),
        labels.spread(row["r2_mean"], row["r2_sd"], 2),
        labels.number(row["published_r2"], 2),
        labels.spread(row["rmse_mean"], row["rmse_sd"], decimals),
        labels.number(row["published_rmse"], decimals),
    )
