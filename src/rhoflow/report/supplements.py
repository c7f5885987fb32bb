"""The tables beside the results: computed once here, for the files of tables and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from rhoflow.config import Study
from rhoflow.report.comparisons import comparisons_frame
from rhoflow.report.ensemble import ensemble_frame, ensemble_table
from rhoflow.report.render import Table
from rhoflow.report.runs import Series
from rhoflow.report.verdicts import comparisons_table, verdict


@dataclass(frozen=True)
class Supplement:
    """One table file, with a table a target.

    Attributes
    ----------
    name : str
        Key of `rhoflow.report.names.TABLES`.
    title : str
        Heading of the file.
    frame : DataFrame
        All its numbers; empty if there are none.
    tables : dict of str to Table
        By target; a target without numbers is left out.
    sentences : dict of str to str
        What a table says in plain words, by target.
    """

    name: str
    title: str
    frame: pd.DataFrame
    tables: dict[str, Table]
    sentences: dict[str, str] = field(default_factory=dict)


def supplements(series: Sequence[Series], *, study: Study, lineage_id: str) -> list[Supplement]:
    """Every table that a study has beside its results."""
    return [_comparisons(series, study, lineage_id), _ensemble(series, study, lineage_id)]


def _comparisons(series: Sequence[Series], study: Study, lineage_id: str) -> Supplement:
    frame = comparisons_frame(series, resamples=study.report.bootstrap)
    tables = {one: comparisons_table(frame, one, study=study, lineage_id=lineage_id) for one in study.targets}
    said = {one: verdict(frame, one) for one in study.targets}
    return Supplement(
        "comparisons",
        "Comparisons with the references",
        frame,
        {target: table for target, table in tables.items() if table},
        {target: sentence for target, sentence in said.items() if sentence},
    )


def _ensemble(series: Sequence[Series], study: Study, lineage_id: str) -> Supplement:
    frame = ensemble_frame(series, resamples=study.report.bootstrap)
    tables = {one: ensemble_table(frame, one, study=study, lineage_id=lineage_id) for one in study.targets}
    there = {target: table for target, table in tables.items() if table}
    return Supplement("ensemble", "All runs together", frame, there)
