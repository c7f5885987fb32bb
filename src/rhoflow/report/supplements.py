"""The tables beside the results: computed once here, for the files of tables and for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from rhoflow.config import Study
from rhoflow.dataset.names import TEXT_LEVELS
from rhoflow.report import ablation, curves, stages, text_levels, transfer, trials
from rhoflow.report.comparisons import Pair, comparisons_frame, families_frame
from rhoflow.report.ensemble import ensemble_frame, ensemble_sentence, ensemble_table, ensemble_tests
from rhoflow.report.folds import errors_table, folds_frame
from rhoflow.report.names import table_names
from rhoflow.report.published import published_frame, published_table
from rhoflow.report.render import Table
from rhoflow.report.runs import Series, main_series
from rhoflow.report.verdicts import comparisons_table, verdict
from rhoflow.report.zeros import zeros_frame, zeros_sentence, zeros_table

NO_RUN = "No run has finished yet.\n"
NO_PAIR = "No model and reference have runs to compare.\n"
NOTHING_PUBLISHED = "Nothing is published for these targets, models and text levels.\n"


@dataclass(frozen=True)
class Supplement:
    """One table file, with a table a target or some of the whole study.

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
    whole : tuple of Table
        Tables of all targets together.
    tests : DataFrame or None
        The tests behind the sentences, where they are not in `frame`; for ``<name>_tests.csv``.
    """

    name: str
    title: str
    frame: pd.DataFrame
    tables: dict[str, Table]
    sentences: dict[str, str] = field(default_factory=dict)
    empty: str = NO_RUN
    whole: tuple[Table, ...] = ()
    tests: pd.DataFrame | None = None


def supplements(
    series: Sequence[Series], results: pd.DataFrame, *, study: Study, lineage_id: str
) -> list[Supplement]:
    """Every table that a study has beside its results.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.read_series`.
    results : DataFrame
        `rhoflow.report.results.results_frame` of those of them that are `rhoflow.report.runs.main_series`.
    """
    main = main_series(series)
    makers: dict[str, Callable[[], Supplement]] = {
        "errors": lambda: _errors(results, study, lineage_id),
        "folds": lambda: Supplement("folds", "Scores of every fold", folds_frame(series), {}),
        "comparisons": lambda: _comparisons(series, study, lineage_id),
        "ensemble": lambda: _ensemble(main, study, lineage_id),
        "zeros": lambda: _zeros(main, study, lineage_id),
        "published": lambda: _published(results, study, lineage_id),
        "stages": lambda: _stages(main, study, lineage_id),
        "clip_trials": lambda: _trials(series, study, lineage_id),
        "v1_levels": lambda: _levels(main, study, lineage_id),
        "v1_stages": lambda: _transfer(main, study, lineage_id),
    }
    there = {file.partition(".")[0] for file in table_names(study)}
    return [
        *(make() for name, make in makers.items() if name in there),
        *(_ablations(series, study, lineage_id) if "ablation" in there else []),
        *([_curves(series, study, lineage_id)] if "curves" in there else []),
    ]


def _per_target(make: Callable[[str], Table | None], study: Study) -> dict[str, Table]:
    tables = {target: make(target) for target in study.targets}
    return {target: table for target, table in tables.items() if table}


def _said(say: Callable[[str], str | None], study: Study) -> dict[str, str]:
    sentences = {target: say(target) for target in study.targets}
    return {target: sentence for target, sentence in sentences.items() if sentence}


def _families(pairs: Callable[[Sequence[Series], str], list[Pair]], main: list[Series], study: Study) -> pd.DataFrame:
    return families_frame([pairs(main, target) for target in study.targets], resamples=study.report.bootstrap)


def _errors(results: pd.DataFrame, study: Study, lineage_id: str) -> Supplement:
    tables = _per_target(lambda one: errors_table(results, one, study=study, lineage_id=lineage_id), study)
    return Supplement("errors", "Errors", results, tables)


def _comparisons(series: Sequence[Series], study: Study, lineage_id: str) -> Supplement:
    frame = comparisons_frame(series, resamples=study.report.bootstrap)
    tables = _per_target(lambda one: comparisons_table(frame, one, study=study, lineage_id=lineage_id), study)
    said = _said(lambda one: verdict(frame, one), study)
    return Supplement("comparisons", "Comparisons with the references", frame, tables, said, empty=NO_PAIR)


def _ensemble(main: list[Series], study: Study, lineage_id: str) -> Supplement:
    frame = ensemble_frame(main, resamples=study.report.bootstrap)
    tables = _per_target(lambda one: ensemble_table(frame, one, study=study, lineage_id=lineage_id), study)
    tests = ensemble_tests(main, resamples=study.report.bootstrap)
    said = _said(lambda one: ensemble_sentence(tests, one), study)
    return Supplement("ensemble", "All runs together", frame, tables, said, tests=tests)


def _zeros(main: list[Series], study: Study, lineage_id: str) -> Supplement:
    frame = zeros_frame(main)
    tables = _per_target(lambda one: zeros_table(frame, one, lineage_id=lineage_id), study)
    return Supplement("zeros", "Zero and not", frame, tables, _said(lambda one: zeros_sentence(frame, one), study))


def _published(results: pd.DataFrame, study: Study, lineage_id: str) -> Supplement:
    frame = published_frame(results)
    tables = _per_target(lambda one: published_table(frame, one, lineage_id=lineage_id), study)
    return Supplement("published", "Beside the published figures", frame, tables, empty=NOTHING_PUBLISHED)


def _stages(main: list[Series], study: Study, lineage_id: str) -> Supplement:
    frame, tests = stages.stages_frame(main), _families(stages.stages_pairs, main, study)
    tables = _per_target(lambda one: stages.stages_table(frame, one, study=study, lineage_id=lineage_id), study)
    average = stages.stages_table(frame, stages.AVERAGE, study=study, lineage_id=lineage_id)
    return Supplement(
        "stages",
        "Text level, input and part",
        frame,
        tables,
        _said(lambda one: verdict(tests, one), study),
        whole=(average,) if average else (),
        tests=tests,
    )


def _trials(series: Sequence[Series], study: Study, lineage_id: str) -> Supplement:
    frame, tests = trials.trials_frame(series), trials.trials_tests(series)
    tables = [trials.trials_table(frame, level, lineage_id=lineage_id) for level in TEXT_LEVELS]
    return Supplement(
        "clip_trials",
        "CLIP's trials",
        frame,
        {},
        _said(lambda one: trials.trials_sentence(tests, one), study),
        whole=tuple(table for table in tables if table),
        tests=tests,
    )


def _levels(main: list[Series], study: Study, lineage_id: str) -> Supplement:
    frame, tests = text_levels.levels_frame(main), _families(text_levels.levels_pairs, main, study)
    table = text_levels.levels_table(frame, study=study, lineage_id=lineage_id)
    return Supplement(
        "v1_levels",
        "Image and text by text level",
        frame,
        {},
        _said(lambda one: verdict(tests, one), study),
        whole=(table,) if table else (),
        tests=tests,
    )


def _transfer(main: list[Series], study: Study, lineage_id: str) -> Supplement:
    frame = transfer.transfer_frame(main)
    tables = _per_target(lambda one: transfer.transfer_table(frame, one, study=study, lineage_id=lineage_id), study)
    said = _said(lambda one: transfer.transfer_sentence(frame, one), study)
    return Supplement("v1_stages", "From stage to stage", frame, tables, said)


def _ablations(series: Sequence[Series], study: Study, lineage_id: str) -> list[Supplement]:
    frame = ablation.ablation_frame(series, study=study)
    tables = _per_target(lambda one: ablation.ablation_table(frame, one, study=study, lineage_id=lineage_id), study)
    tests = ablation.compared_rows(frame)
    said = _said(lambda one: verdict(tests, one), study)
    made = [Supplement("ablation", "One thing changed", frame, tables, said)]
    if not any(file.startswith("fourier.") for file in table_names(study)):
        return made
    magnitudes = ablation.fourier_frame(frame, series, study=study)
    beside = _per_target(
        lambda one: ablation.fourier_table(magnitudes, one, study=study, lineage_id=lineage_id), study
    )
    few = ablation.compared_rows(magnitudes)
    said = _said(lambda one: verdict(few, one), study)
    return [*made, Supplement("fourier", "Images against their Fourier magnitudes", magnitudes, beside, said)]


def _curves(series: Sequence[Series], study: Study, lineage_id: str) -> Supplement:
    tests = curves.curves_tests(series, study=study)
    frame = curves.curves_frame(series, tests)
    tables = _per_target(lambda one: curves.curves_table(frame, one, study=study, lineage_id=lineage_id), study)
    said = _said(lambda one: verdict(tests, one), study)
    return Supplement("curves", "Learning curves", frame, tables, said, tests=tests)
