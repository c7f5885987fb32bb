"""The targets of a study: a table of the wanted properties in house units, gaps named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from rhoflow.config import near
from rhoflow.errors import StudyError
from rhoflow.properties import PROPERTIES


def read_targets(catalog: Path, targets: Sequence[str]) -> pd.DataFrame:
    """Read the targets of all catalogued materials.

    Parameters
    ----------
    catalog : Path
        ``catalog/materials.parquet``.
    targets : sequence of str
        Property keys.

    Returns
    -------
    DataFrame
        Index material_id, one float64 column a target (house unit, NaN is missing).

    Raises
    ------
    StudyError
        If the source's table has no column for a target.
    """
    columns = set(pq.read_schema(catalog).names)
    available = [key for key in PROPERTIES if key in columns]
    for target in targets:
        if target not in available:
            raise StudyError(
                f"targets: the table of properties has no {target}{near(target, available)};"
                f" it has {', '.join(available) or 'no known property'}; add a column"
                f" (for example {_example(target)}) or choose another target"
            )
    table: pd.DataFrame = pq.read_table(catalog, columns=["material_id", *targets]).to_pandas()
    return table.set_index("material_id")


def missing_targets(values: pd.DataFrame) -> dict[str, str]:
    """Explain, for each material that lacks a target, which ones and what it is used for still.

    Parameters
    ----------
    values : DataFrame
        As `read_targets` returns it.

    Returns
    -------
    dict of str to str
        Message by material id, in the order of `values`.
    """
    found = {}
    for material_id, gaps in values[values.isna().any(axis=1)].isna().iterrows():
        lacking, left = gaps.index[gaps].tolist(), gaps.index[~gaps].tolist()
        use = f"used for {', '.join(left)} all the same" if left else "no target is left, so it is out"
        found[str(material_id)] = f"no value of {', '.join(lacking)} in the table of properties; {use}"
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
            " fill its column in the table of properties or choose another target"
        )


def _example(target: str) -> str:
    units = list(PROPERTIES[target].units)
    return f"{target}_{units[0]}" if units[0] else target
