"""The table of properties: which column is which property, in which unit.

A column is named ``<property>_<unit>`` (``k_vrh_GPa``), or a sidecar beside the table says what it holds:
``properties.csv.units.json`` or ``properties.csv.units.yaml`` for ``properties.csv``, with one entry a column,
``{"K (kbar)": {"property": "k_vrh", "unit": "kbar"}, "band_gap_type": null}``. The unit may be left out for
a dimensionless property; null says that the column is no property. Every other column is kept as text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from rhoflow.config import near
from rhoflow.errors import StudyError
from rhoflow.properties import PROPERTIES, Property, parse_column
from rhoflow.sources.directory import ID, sidecar_paths

# Written for "no value" by people and programs; anything else that is no number is a mistake to report.
MISSING = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "-", "--"})


@dataclass(frozen=True)
class PropertyTable:
    """A table of properties in house units.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    ids : list of str
        material_id of each row, as it stands there (not checked, perhaps twice).
    numbers : dict of str to (n_rows,) float64 array
        Values by property key, in the property's house unit; NaN is missing.
    texts : dict of str to list of str
        The other columns, as text.
    bad_cells : dict of int to list of str
        Messages about cells that are no numbers, by row.
    """

    name: str
    ids: list[str]
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    bad_cells: dict[int, list[str]] = field(default_factory=dict)


def read_table(path: Path) -> PropertyTable:
    """Read a CSV, Parquet or Excel table and its units.

    Raises
    ------
    StudyError
        If the file is missing or unreadable, has no column material_id, or a column's unit is unknown.
    """
    frame = _read_cells(path)
    if ID not in frame.columns:
        raise StudyError(
            f"{path}: no column {ID!r}{near(ID, frame.columns)}; its columns: {', '.join(frame.columns)}"
        )
    sidecar = _read_sidecar(path, list(frame.columns))
    table = PropertyTable(path.name, frame[ID].tolist())
    sources: dict[str, str] = {}
    for column in frame.columns.drop(ID):
        cells = frame[column].tolist()
        meaning = sidecar[column] if column in sidecar else _meaning(path, column, cells)
        if meaning is None:
            table.texts[column] = cells
            continue
        prop, factor = meaning
        if prop.key in sources:
            raise StudyError(f"{path}: columns {sources[prop.key]!r} and {column!r} both hold {prop.key}; keep one")
        sources[prop.key] = column
        table.numbers[prop.key] = _numbers(table, column, cells) * factor
    return table


def _read_cells(path: Path) -> pd.DataFrame:
    """Every cell of a table as stripped text; empty for missing."""
    if not path.is_file():
        raise StudyError(
            f"source.properties: no file {path}; give a table with a column {ID}, relative to source.path"
        )
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix in (".xlsx", ".xls", ".ods"):
            frame = _under_header(pd.read_excel(path, dtype=str, keep_default_na=False, header=None), path)
        else:
            rows = pd.read_csv(path, dtype=str, keep_default_na=False, header=None, encoding="utf-8-sig")
            frame = _under_header(rows, path)
    except ImportError as error:
        raise StudyError(f"{path}: cannot be read here ({error}); save the table as CSV") from None
    except (ValueError, OSError, BadZipFile) as error:  # pandas' parser errors, a wrong encoding are ValueErrors
        raise StudyError(f"{path}: no readable table ({error})") from None
    frame.columns = pd.Index([str(column).strip() for column in frame.columns])
    twice = frame.columns[frame.columns.duplicated()].tolist()
    if twice:
        raise StudyError(f"{path}: column {twice[0]!r} stands there twice; rename or remove one")
    return pd.DataFrame({column: [_text(cell) for cell in frame[column]] for column in frame.columns})


def _under_header(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Take the first row for the names of the columns; pandas would rename the second one of a name."""
    if rows.empty:
        raise StudyError(f"{path}: no readable table (it is empty)")
    return rows.iloc[1:].set_axis([str(name) for name in rows.iloc[0]], axis=1)


def _text(cell: Any) -> str:
    return "" if cell is None or cell is pd.NA or cell != cell else str(cell).strip()


def _read_sidecar(path: Path, columns: list[str]) -> dict[str, tuple[Property, float] | None]:
    """Read what the sidecar says about columns; empty without one."""
    found = [sidecar for sidecar in sidecar_paths(path) if sidecar.is_file()]
    if not found:
        return {}
    if len(found) > 1:
        raise StudyError(f"{found[0]} and {found[1]}: two sidecars for one table; keep one")
    try:
        entries = yaml.safe_load(found[0].read_text(encoding="utf-8"))  # YAML 1.1 reads JSON too
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{found[0]}: neither JSON nor YAML ({error})") from None
    if not isinstance(entries, dict):
        raise StudyError(f"{found[0]}: one entry a column is wanted, column: {{property: ..., unit: ...}}")
    for column in entries:
        if column not in columns:
            raise StudyError(f"{found[0]}: {path.name} has no column {column!r}{near(str(column), columns)}")
    return {column: _declared(found[0], column, entry) for column, entry in entries.items()}


def _declared(sidecar: Path, column: str, entry: Any) -> tuple[Property, float] | None:
    if entry is None:
        return None
    if not isinstance(entry, dict) or not {"property"} <= set(entry) <= {"property", "unit"}:
        raise StudyError(f"{sidecar}: {column!r} = {entry!r}: write {{property: k_vrh, unit: GPa}}, or null for none")
    key, unit = str(entry["property"]), str(entry.get("unit", ""))
    if key not in PROPERTIES:
        raise StudyError(
            f"{sidecar}: {column!r}: unknown property {key!r}{near(key, PROPERTIES)}; known: {', '.join(PROPERTIES)}"
        )
    prop = PROPERTIES[key]
    factors = {prop.unit: 1.0} | prop.units
    if unit not in factors:
        raise StudyError(f"{sidecar}: {column!r}: {key} in unit {unit!r}; accepted: {', '.join(factors) or 'none'}")
    return prop, factors[unit]


def _meaning(path: Path, column: str, cells: list[str]) -> tuple[Property, float] | None:
    """Property and factor of a column by its name; None for a column that is no property."""
    meaning = parse_column(column)
    if meaning is None and any(_is_number(cell) for cell in cells):
        key = _named_property(column)
        if key is not None:  # numbers under a property's name in an unknown unit: never guess, never drop
            wanted = ", ".join(f"{key}_{unit}" if unit else key for unit in PROPERTIES[key].units)
            raise StudyError(
                f"{path}: column {column!r} names the property {key} with no known unit; accepted: {wanted};"
                f" rename it, or declare it in {sidecar_paths(path)[0].name} (null: it is no property)"
            )
    return meaning


def _named_property(column: str) -> str | None:
    keys = [key for key in PROPERTIES if column == key or column.startswith(f"{key}_")]
    return max(keys, key=len, default=None)


def _numbers(table: PropertyTable, column: str, cells: list[str]) -> NDArray[np.float64]:
    """Values of a column as they stand; cells that are no numbers become NaN and a message."""
    values = np.full(len(cells), math.nan)
    for row, cell in enumerate(cells):
        if _is_number(cell):
            values[row] = float(cell)
        elif cell.lower() not in MISSING:
            message = f"{column} = {cell!r} is no finite number; correct the cell of {table.name} or leave it empty"
            table.bad_cells.setdefault(row, []).append(message)
    return values


def _is_number(cell: str) -> bool:
    try:  # float() reads "1_000" as well, which no table means
        return "_" not in cell and math.isfinite(float(cell))
    except ValueError:
        return False
