"""The figures of a study: what is drawn, under which name, with which caption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from rhoflow.config import Study
from rhoflow.materials.digests import read_json, write_json
from rhoflow.report import labels
from rhoflow.report.crystals import read_crystals, read_pictures, varied_examples
from rhoflow.report.headline import chosen
from rhoflow.report.names import FIGURE_INDEX, figure_names
from rhoflow.report.plots import (
    distribution_figure,
    learning_figure,
    overview_figure,
    parity_figure,
    slices_figure,
)
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, read_series
from rhoflow.report.style import house_style, save


@dataclass(frozen=True)
class Entry:
    """One figure in ``figures/figures.json``.

    Attributes
    ----------
    name : str
        File name without ``.png`` or ``.svg``.
    target : str or None
        Property that it shows; None for the whole study.
    caption, alt : str
        For readers, and for those who cannot see it.
    """

    name: str
    kind: Literal["overview", "parity", "learning", "distribution", "slices"]
    target: str | None
    caption: str
    alt: str


def write_figures(root: Path, out: Path, *, study: Study) -> None:
    """Write every figure as PNG and SVG into `out`, and ``figures.json`` with their captions.

    The names are those of `figure_names`, whatever has run: a panel without data says so.
    """
    series = read_series(root, study)
    frame = results_frame(series, resamples=study.report.bootstrap)
    crystals = read_crystals(root)
    entries = []
    with house_style():
        for entry, figure in _all(root, study, series, frame, crystals):
            save(figure, out, entry.name)
            entries.append(asdict(entry))
    write_json(out / FIGURE_INDEX, entries)


def read_index(folder: Path) -> list[Entry]:
    """Entries of the figures in `folder`; none if they have not been drawn."""
    index = folder / FIGURE_INDEX
    return [Entry(**entry) for entry in read_json(index)] if index.exists() else []


def _all(
    root: Path, study: Study, series: list[Series], frame: pd.DataFrame, crystals: pd.DataFrame
) -> Iterator[tuple[Entry, Figure]]:
    names = figure_names(study)
    yield _overview(study, frame), overview_figure(frame, study.targets)
    formulas = dict(zip(crystals["material_id"], crystals["formula"], strict=True))
    for target in study.targets:
        ours = [one for one in series if one.target == target]
        found = [chosen(frame, ours, target, group) for group in ("network", "baseline")] if ours else []
        pair = [one for one in found if one is not None]
        yield _parity(target, pair), parity_figure(pair, formulas)
        if f"learning_{target}" in names:
            yield _learning(target), learning_figure(ours)
        yield _distribution(target, crystals), distribution_figure(crystals, target)
    ids = varied_examples(crystals, study.report.examples)
    found_pictures = read_pictures(root, ids)
    pictures = {one: found_pictures[one] for one in ids if one in found_pictures}
    prototypes = dict(zip(crystals["material_id"], crystals["prototype"], strict=True))
    titles = {one: f"{labels.formula_label(formulas[one])}, {prototypes[one]}" for one in pictures}
    yield _slices(study, titles), slices_figure(pictures, titles)


def _overview(study: Study, frame: pd.DataFrame) -> Entry:
    sizes = sorted(set(frame.loc[frame["part"] == "test", "n"])) if len(frame) else []
    n = " or ".join(map(str, sizes)) or "no"
    caption = (
        f"R² on the test set ({n} crystals) of networks (dots) and baselines (diamonds)"
        f"{_in_context(frame)}: mean over folds and seeds;"
        f" lines are 95 % bootstrap intervals over the {labels.RESAMPLED[study.splits.strategy]}"
        f" ({study.report.bootstrap} resamples), an arrow marks one that goes on."
        " Dashed: always predicting the mean of the test set."
    )
    alt = f"Dot plot of test R² by model for {_listed([labels.target_label(one) for one in study.targets])}."
    return Entry("overview", "overview", None, caption, alt)


def _in_context(frame: pd.DataFrame) -> str:
    there = len(frame) and (frame["group"] == "llm").any()
    return " and of the language model (square) on the crystals that it answered" if there else ""


def _parity(target: str, pair: list[Series]) -> Entry:
    shown = _listed([labels.series_label(one.model, one.level) for one in pair]) or "no model yet"
    roles = _listed(["the network" if labels.is_network(one.model) else "the baseline" for one in pair])
    n = len(pair[0].common_test()[0]) if pair else 0
    runs = max((len(one.runs) for one in pair), default=0)
    caption = (
        f"Predicted against DFT {labels.axis_label(target)} of the {n} test crystals: {shown}"
        f"{f', {roles} with the lowest validation RMSE' if roles else ''}. Mean over {runs} runs; error bars are the"
        " sample standard deviation over runs. The three crystals furthest off are named."
    )
    alt = f"Parity plot of the {labels.target_label(target)} on {n} test crystals for {shown}."
    return Entry(f"parity_{target}", "parity", target, caption, alt)


def _learning(target: str) -> Entry:
    caption = (
        f"RMSE {_unit(target)}of the networks for the {labels.target_label(target)} by epoch: readout on frozen"
        " features, then (finetune) everything unfrozen. A line is a run, its colour the fold: solid validation,"
        " dotted training (with dropout, so it may lie above). The dot is the stage's best epoch by validation; a"
        " finetune without a dot improved nothing, and the readout was kept. The first epochs may lie above the axes."
    )
    alt = f"Learning curves of the networks for the {labels.target_label(target)}, one line a fold and seed."
    return Entry(f"learning_{target}", "learning", target, caption, alt)


def _distribution(target: str, crystals: pd.DataFrame) -> Entry:
    known = crystals[crystals[target].notna()] if target in crystals else crystals.iloc[:0]
    caption = (
        f"{labels.axis_label(target)} of {len(known)} crystals: above as a histogram, below every crystal by"
        " structure prototype (number of crystals in brackets). Blue: training and validation; orange: test."
    )
    alt = f"Distribution of the {labels.target_label(target)} over {len(known)} crystals, by prototype."
    return Entry(f"distribution_{target}", "distribution", target, caption[0].upper() + caption[1:], alt)


def _slices(study: Study, names: dict[str, str]) -> Entry:
    plane = study.slices.plane if isinstance(study.slices.plane, str) else "({}{}{})".format(*study.slices.plane)
    caption = (
        f"The {labels.FIELDS[study.field]} of {len(names)} crystals on the {plane} plane,"
        f" {study.slices.pixels} × {study.slices.pixels} pixels, as the networks see it: z-scored and"
        " divided into [−1, 1] (0 is the mean of the image). Below each,"
        " the side of the square. Crystals are drawn by a hash of their id, one a prototype; the colours are on an"
        " asinh scale, the same for all."
    )
    return Entry(
        "slices", "slices", None, caption, f"Density slices of {_listed(list(names.values())) or 'no crystal'}."
    )


def _unit(target: str) -> str:
    return f"[{labels.unit_label(target)}] " if labels.unit_label(target) else ""


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
