"""The targets of a study: the wanted properties in house units, from the table or the runs, gaps named."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from rhoflow.config import near
from rhoflow.errors import StudyError
from rhoflow.properties import PROPERTIES
from rhoflow.sources.runs import RUN_PROPERTIES


def read_targets(
    catalog: Path, targets: Sequence[str], runs: Mapping[str, Mapping[str, float]] | None = None
) -> pd.DataFrame:
    """Read the targets of all catalogued materials; where the catalogue lacks a value, the run's stands in.

    Parameters
    ----------
    catalog : Path
        ``catalog/materials.parquet``.
    targets : sequence of str
        Property keys.
    runs : mapping of str to mapping of str to float, optional
        Properties that the run of a material gives, by id and key, in house units.

    Returns
    -------
    DataFrame
        Index material_id, one float64 column a target (house unit, NaN is missing).

    Raises
    ------
    StudyError
        If neither the source's table nor any run has a target.
    """
    runs = runs or {}
    columns = set(pq.read_schema(catalog).names)
    _check_given(targets, columns.union(*runs.values()))
    there = [target for target in targets if target in columns]
    table: pd.DataFrame = pq.read_table(catalog, columns=["material_id", *there]).to_pandas().set_index("material_id")
    for target in targets:
        of_run = [runs.get(material_id, {}).get(target, math.nan) for material_id in table.index]
        filler = pd.Series(of_run, index=table.index, dtype=np.float64)
        table[target] = table[target].fillna(filler) if target in there else filler
    return table[list(targets)]


def check_sources(catalog: Path, targets: Sequence[str]) -> None:
    """Stop, before any density is read, where nothing can give a target: no column of the table, no run file.

    The arguments are those of `read_targets`.

    Raises
    ------
    StudyError
        Naming the target.
    """
    runs = pq.read_table(catalog, columns=["run_path"])["run_path"].drop_null()
    _check_given(targets, {*pq.read_schema(catalog).names, *(RUN_PROPERTIES if len(runs) else ())})


def _check_given(targets: Sequence[str], given: Collection[str]) -> None:
    available = [key for key in PROPERTIES if key in given]
    for target in targets:
        if target not in available:
            raise StudyError(
                f"targets: the table of properties (or the VASP runs) has no {target}{near(target, available)};"
                f" it has {', '.join(available) or 'no known property'}; add a column"
                f" (for example {_example(target)}) or choose another target"
            )


def missing_targets(values: pd.DataFrame, notes: Mapping[str, str]) -> dict[str, str]:
    """Explain, for each material that lacks a target, which ones and what it is used for still.

    Parameters
    ----------
    values : DataFrame
        As `read_targets` returns it.
    notes : mapping of str to str
        What was wrong with the run of a material, by id.

    Returns
    -------
    dict of str to str
        Message by material id, in the order of `values`.
    """
    found = {}
    for material_id, gaps in values[values.isna().any(axis=1)].isna().iterrows():
        lacking, left = gaps.index[gaps].tolist(), gaps.index[~gaps].tolist()
        use = f"used for {', '.join(left)} all the same" if left else "no target is left, so it is out"
        note = f" (its run: {notes[str(material_id)]})" if material_id in notes else ""
        found[str(material_id)] = f"the source gives no value of {', '.join(lacking)}{note}; {use}"
    return found


def check_targets(values: pd.DataFrame) -> None:
    """Stop if no kept material has a value of some target.

    Raises
    ------
    StudyError
        Naming the target.
    """
    for target in values.columns[values.isna().all(axis=0)]:
        raise StudyError(
            f"targets: none of the {len(values)} kept materials has a value of {target};"
            " fill its column in the table of properties, or choose another target"
        )


def _example(target: str) -> str:
    units = list(PROPERTIES[target].units)
    return f"{target}_{units[0]}" if units[0] else target
