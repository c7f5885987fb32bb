"""The figures of a study: what is drawn, under which name, from which numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rhoflow.config import Study
from rhoflow.materials.digests import read_json, write_json
from rhoflow.report import entries, labels
from rhoflow.report.ablation import ablation_frame
from rhoflow.report.cells import make_creation, make_stack, read_crystal, stack_fields
from rhoflow.report.crystals import read_crystals, read_pictures, read_text, varied_examples
from rhoflow.report.curves import curves_frame, curves_tests
from rhoflow.report.entries import Entry
from rhoflow.report.headline import chosen
from rhoflow.report.names import FIGURE_INDEX, SALIENCY_INDEX, figure_names
from rhoflow.report.plots import (
    distribution_figure,
    learning_figure,
    overview_figure,
    parity_figure,
    slices_figure,
)
from rhoflow.report.plots_input import creation_figure, elements_figure, heights_figure
from rhoflow.report.plots_results import ablation_figure, curves_figure, residuals_figure
from rhoflow.report.provenance import Code, code_version, lineage
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, main_series, read_series
from rhoflow.report.style import house_style, save

_NAMED = ("formula", "prototype")


def write_figures(root: Path, out: Path, *, study: Study, code: Code | None = None) -> None:
    """Write every figure as PNG and SVG into `out`, and ``figures.json`` with their captions.

    The names are those of `figure_names`, whatever has run: a panel without data says so.
    """
    series = read_series(root, study)
    frame = results_frame(main_series(series), resamples=study.report.bootstrap)
    crystals = read_crystals(root)
    lineage_id = lineage(root, study, code or code_version()).id
    written = []
    with house_style():
        for entry, figure in _all(root, study, series, frame, crystals):
            save(figure, out, entry.name, lineage_id=lineage_id)
            written.append(asdict(entry))
    write_json(out / FIGURE_INDEX, written)


def read_index(folder: Path) -> list[Entry]:
    """Entries of the figures in `folder`; none if they have not been drawn."""
    indices = [folder / name for name in (FIGURE_INDEX, SALIENCY_INDEX)]
    return [Entry(**entry) for index in indices if index.exists() for entry in read_json(index)]


def _all(
    root: Path, study: Study, series: list[Series], frame: pd.DataFrame, crystals: pd.DataFrame
) -> Iterator[tuple[Entry, Figure]]:
    names, main = figure_names(study), main_series(series)
    yield entries.overview_entry(study, frame), overview_figure(frame, study.targets)
    formulas = dict(zip(crystals["material_id"], crystals["formula"], strict=True))
    changes = _changes(series, study)
    for target in study.targets:
        ours = [one for one in main if one.target == target]
        found = [chosen(frame, ours, target, group) for group in ("network", "baseline")] if ours else []
        pair = [one for one in found if one is not None]
        yield entries.parity_entry(target, pair), parity_figure(pair, formulas)
        yield entries.residuals_entry(target, pair), residuals_figure(pair, formulas)
        if f"curves_{target}" in names:
            yield entries.curves_entry(target, changes["curves"]), curves_figure(changes["curves"], target)
        if f"ablation_{target}" in names:
            yield entries.ablation_entry(target, study), ablation_figure(changes["ablation"], target)
        if f"learning_{target}" in names:
            yield (
                entries.learning_entry(target, two_part=study.two_part),
                learning_figure(ours, two_part=study.two_part),
            )
        yield entries.distribution_entry(target, crystals), distribution_figure(crystals, target)
    yield from _input_figures(root, study, crystals)
    yield entries.elements_entry(study, crystals), elements_figure(crystals, study.targets)


def _changes(series: Sequence[Series], study: Study) -> dict[str, pd.DataFrame]:
    """Frames of learning curves and of one thing changed, where the study has such series."""
    frames = {}
    if study.ablation.fractions:
        frames["curves"] = curves_frame(series, curves_tests(series, study=study))
    if any(name.startswith("ablation_") for name in figure_names(study)):
        frames["ablation"] = ablation_frame(series, study=study)
    return frames


def _input_figures(root: Path, study: Study, crystals: pd.DataFrame) -> Iterator[tuple[Entry, Figure]]:
    """Yield what the models see: the way to an image, images, and densities at several heights of one crystal."""
    ids = varied_examples(crystals, study.report.examples)
    found = read_pictures(root, ids)
    pictures = {one: found[one] for one in ids if one in found}
    rows = crystals.set_index("material_id")
    formulas, prototypes = (dict(zip(crystals["material_id"], crystals[name], strict=True)) for name in _NAMED)
    titles = {one: f"{labels.formula_label(formulas[one])}, {prototypes[one]}" for one in pictures}
    first = next(iter(pictures), None)
    record = read_crystal(root, first) if first else None
    creation = make_creation(record, study, side=pictures[record.material_id].side) if record else None
    name = titles[first] if first else "no crystal"
    yield (
        entries.creation_entry(study, name),
        creation_figure(
            creation,
            pictures[first] if first else None,
            read_text(root, first) if first else None,
            field=study.field,
            facts=_facts(study, rows, first, name) if first else [],
        ),
    )
    yield entries.slices_entry(study, titles), slices_figure(pictures, titles)
    fields = {field: labels.FIELDS[field] for field in stack_fields(study.field)}
    yield entries.heights_entry(study, name), heights_figure(make_stack(record, study) if record else None, fields)


def _facts(study: Study, rows: pd.DataFrame, material_id: str, name: str) -> list[str]:
    """Lines below the drawing of a crystal: its name and its targets."""
    values = {target: float(rows.loc[material_id, target]) for target in study.targets if target in rows}  # type: ignore[arg-type]
    return [
        name,
        *(
            f"{labels.target_label(target)} {labels.number(value, labels.decimals_for(value))}"
            f" {labels.unit_label(target)}".rstrip()
            for target, value in values.items()
        ),
    ]
