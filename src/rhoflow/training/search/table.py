"""The table of what the searches chose: trial counts, values, and the inner scores behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow.materials.digests import atomic, read_json
from rhoflow.materials.spreadsheet import spreadsheet_safe
from rhoflow.training.search.names import TABLE
from rhoflow.training.search.space import SETTINGS

FACTS = ("target", "model", "level", "fold", "unit", "n", "inner_folds", "trials", "given_up", "rmse", "own_rmse")


def write_table(chosen: Sequence[Path], tables: Path, *, lineage_id: str) -> None:
    """Write tables/search.csv and search.md, a row a series and fold, from the files of chosen settings."""
    rows = [_row(read_json(path)) for path in chosen]
    frame = pd.DataFrame(rows, columns=[*FACTS, *SETTINGS])
    frame = frame.sort_values(["target", "model", "level", "fold"], ignore_index=True)
    printed = spreadsheet_safe(frame.assign(lineage=lineage_id)).to_csv(index=False, lineterminator="\n")
    texts = {".csv": printed, ".md": _markdown(frame, lineage_id)}
    for name in TABLE:
        with atomic(tables / name) as part:
            part.write_text(texts[Path(name).suffix], encoding="utf-8")


def _row(found: dict[str, Any]) -> dict[str, Any]:
    counts = {
        "trials": len(found["trials"]),
        "given_up": sum(trial["rmse"] is None for trial in found["trials"]),
    }
    return {
        name: value for name, value in {**found, **counts, **found["values"]}.items() if name in (*FACTS, *SETTINGS)
    }


def _markdown(frame: pd.DataFrame, lineage_id: str) -> str:
    """Pipe table with three digits of each value, and what it says."""
    header = [name.replace("_", " ") for name in frame.columns]
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row] for row in frame.to_numpy())]
    caption = (
        "RMSE of the inner validation parts, all inner folds together, with the chosen settings, and with the study's"
        " own settings moved into the ranges (own rmse). Given up: trials that were worse than most before them after"
        f" some inner folds, or diverged. Outer validation and test materials took no part. Lineage {lineage_id}."
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{caption}\n"


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
