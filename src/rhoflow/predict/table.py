"""Predictions as a table for a terminal, and as CSV or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from rhoflow.errors import StudyError
from rhoflow.materials.digests import atomic, write_json
from rhoflow.materials.spreadsheet import spreadsheet_safe
from rhoflow.predict.ensemble import Ensemble, Prediction

COLUMNS = ("file", "formula", "target", "unit", "mean", "sd", "low", "high", "n_runs", "warnings", "refused")
SUFFIXES = (".csv", ".json")


def check_output(path: Path) -> None:
    """Stop at a file that is neither CSV nor JSON, before anything is computed."""
    if path.suffix not in SUFFIXES:
        raise StudyError(f"--output {path}: must end in {' or '.join(SUFFIXES)}")


def write_predictions(path: Path, ensemble: Ensemble, predictions: Sequence[Prediction]) -> None:
    """Write one row a density file, refused ones included, in the order given; equal predictions give equal bytes."""
    check_output(path)
    target = ensemble.card.target
    rows = [asdict(one) | {"target": target, "warnings": list(one.warnings)} for one in predictions]
    if path.suffix == ".json":
        write_json(path, [{name: row[name] for name in COLUMNS} for row in rows])
        return
    for row in rows:
        row["warnings"] = "; ".join(row["warnings"])
    with atomic(path) as part:
        spreadsheet_safe(pd.DataFrame(rows, columns=list(COLUMNS))).to_csv(part, index=False, lineterminator="\n")


def format_predictions(ensemble: Ensemble, predictions: Sequence[Prediction]) -> str:
    """Word the predictions as a table, with warnings and refusals below it."""
    card = ensemble.card
    head = f"{card.target} [{card.unit}] by {card.model}, level {card.level}, {len(card.runs)} runs"
    rows: list[tuple[str, ...]] = [("file", "formula", "mean", "sd", "90 % interval")]
    rows += [_row(one) for one in predictions if one.refused is None]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"warning: {_told(one.file, text)}" for one in predictions for text in one.warnings]
    notes += [f"refused: {_told(one.file, one.refused)}" for one in predictions if one.refused]
    return "\n".join([head, *table, *notes])


def _told(file: str, text: str) -> str:
    return text if file in text else f"{file}: {text}"


def _row(one: Prediction) -> tuple[str, ...]:
    interval = "-" if one.low is None or one.high is None else f"{one.low:.4g} to {one.high:.4g}"
    spread = "-" if one.sd is None else f"{one.sd:.2g}"
    return one.file, one.formula or "-", f"{one.mean:.4g}", spread, interval
