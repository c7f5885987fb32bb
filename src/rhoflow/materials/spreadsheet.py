"""Text that comes from outside, in tables that people open with a spreadsheet."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet computes instead of showing it


def spreadsheet_safe(table: pd.DataFrame) -> pd.DataFrame:
    """Copy with an apostrophe before every text that a spreadsheet would compute; numbers stay as they are."""
    texts = table.select_dtypes(exclude=["number", "bool"])
    return table.assign(**{str(name): texts[name].map(_safe, na_action="ignore") for name in texts})


def _safe(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", " ")  # a row of its own to some readers
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
