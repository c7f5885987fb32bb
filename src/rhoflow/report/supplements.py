"""The tables beside the results: computed once here, for the files of tables and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from rhoflow.config import Study
from rhoflow.report.comparisons import comparisons_frame
from rhoflow.report.ensemble import ensemble_frame, ensemble_table
from rhoflow.report.names import table_names
from rhoflow.report.published import published_frame, published_table
from rhoflow.report.render import Table
from rhoflow.report.runs import Series
from rhoflow.report.verdicts import comparisons_table, verdict
from rhoflow.report.zeros import zeros_frame, zeros_table

NO_RUN = "No run has finished yet.\n"
NO_PAIR = "No model and reference have runs to compare.\n"
NOTHING_PUBLISHED = "Nothing is published for these targets, models and text levels.\n"


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
    empty : str
        What stands in the file where there is no table.
    """

    name: str
    title: str
    frame: pd.DataFrame
    tables: dict[str, Table]
    sentences: dict[str, str] = field(default_factory=dict)
    empty: str = NO_RUN


def supplements(
    series: Sequence[Series], results: pd.DataFrame, *, study: Study, lineage_id: str
) -> list[Supplement]:
    """Every table that a study has beside its results.

    Parameters
    ----------
    results : DataFrame
        `rhoflow.report.results.results_frame` of the series.
    """
    found = [
        _comparisons(series, study, lineage_id),
        _ensemble(series, study, lineage_id),
        _zeros(series, study, lineage_id),
        _published(results, study, lineage_id),
    ]
    return [one for one in found if any(file.startswith(f"{one.name}.") for file in table_names(study))]


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
        empty=NO_PAIR,
    )


def _ensemble(series: Sequence[Series], study: Study, lineage_id: str) -> Supplement:
    frame = ensemble_frame(series, resamples=study.report.bootstrap)
    tables = {one: ensemble_table(frame, one, study=study, lineage_id=lineage_id) for one in study.targets}
    there = {target: table for target, table in tables.items() if table}
    return Supplement("ensemble", "All runs together", frame, there)


def _zeros(series: Sequence[Series], study: Study, lineage_id: str) -> Supplement:
    frame = zeros_frame(series)
    tables = {one: zeros_table(frame, one, study=study, lineage_id=lineage_id) for one in study.targets}
    there = {target: table for target, table in tables.items() if table}
    return Supplement("zeros", "Zero and not", frame, there)


def _published(results: pd.DataFrame, study: Study, lineage_id: str) -> Supplement:
    frame = published_frame(results)
    tables = {one: published_table(frame, one, lineage_id=lineage_id) for one in study.targets}
    there = {target: table for target, table in tables.items() if table}
    return Supplement("published", "Beside the published figures", frame, there, empty=NOTHING_PUBLISHED)
