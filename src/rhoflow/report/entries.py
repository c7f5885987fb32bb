"""What stands below the figures: their names, captions and descriptions, as in ``figures/figures.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rhoflow.config import SliceOptions, Study
from rhoflow.report import labels
from rhoflow.report.cells import stack_fields
from rhoflow.report.runs import Series


@dataclass(frozen=True)
class Entry:
    """One figure in ``figures/figures.json``.

    Attributes
    ----------
    name : str
        File name without ``.png`` or ``.svg``.
    kind : str
        One of `rhoflow.report.names.PER_TARGET` or `rhoflow.report.names.WHOLE`.
    target : str or None
        Property that it shows; None for the whole study.
    caption, alt : str
        For readers, and for those who cannot see it.
    """

    name: str
    kind: str
    target: str | None
    caption: str
    alt: str


def of_target(kind: str, target: str, caption: str, alt: str) -> Entry:
    """Entry of a figure of one target."""
    return Entry(f"{kind}_{target}", kind, target, caption, alt)


def overview_entry(study: Study, frame: pd.DataFrame) -> Entry:
    """Entry of the test R2 of all models."""
    sizes = sorted(set(frame.loc[frame["part"] == "test", "n"])) if len(frame) else []
    n = " or ".join(map(str, sizes)) or "no"
    caption = (
        f"R² on the test set ({n} crystals) of networks (dots) and baselines (diamonds)"
        f"{_in_context(frame)}: mean over folds and seeds;"
        f" lines are 95 % bootstrap intervals over the {labels.RESAMPLED[study.splits.strategy]}"
        f" ({study.report.bootstrap} resamples), an arrow marks one that goes on."
        " Dashed: always predicting the mean of the test set."
    )
    alt = f"Dot plot of test R² by model for {listed([labels.target_label(one) for one in study.targets])}."
    return Entry("overview", "overview", None, caption, alt)


def _in_context(frame: pd.DataFrame) -> str:
    there = len(frame) and (frame["group"] == "llm").any()
    return " and of the language model (square) on the crystals that it answered" if there else ""


def parity_entry(target: str, pair: Sequence[Series]) -> Entry:
    """Entry of predicted against calculated values."""
    shown = _shown(pair)
    roles = _roles(pair)
    n, runs = _sizes(pair)
    caption = (
        f"Predicted against DFT {labels.axis_label(target)} of the {n} test crystals: {shown}"
        f"{f', {roles} with the lowest validation RMSE' if roles else ''}. Mean over"
        f" {labels.counted(runs, 'run')}; error bars are the sample standard deviation over runs. The"
        " three crystals furthest off are named."
    )
    alt = f"Parity plot of the {labels.target_label(target)} on {n} test crystals for {shown}."
    return of_target("parity", target, caption, alt)


def _shown(pair: Sequence[Series]) -> str:
    return listed([labels.series_label(one.model, one.level) for one in pair]) or "no model yet"


def _roles(pair: Sequence[Series]) -> str:
    return listed(["the network" if labels.is_network(one.model) else "the baseline" for one in pair])


def _sizes(pair: Sequence[Series]) -> tuple[int, int]:
    n = len(pair[0].common_test()[0]) if pair else 0
    return n, max((len(one.runs) for one in pair), default=0)


def residuals_entry(target: str, pair: Sequence[Series]) -> Entry:
    """Entry of errors by number of elements."""
    shown, (n, runs) = _shown(pair), _sizes(pair)
    caption = (
        f"Error (predicted minus DFT{labels.unit_after(target)}, mean over {labels.counted(runs, 'run')}) of the"
        f" {labels.target_label(target)} of the {n} test crystals by number of elements: {shown}. Boxes: median and"
        " quartiles; whiskers: the farthest within 1.5 interquartile ranges; dots: crystals."
    )
    alt = f"Errors of the {labels.target_label(target)} by number of elements for {shown}."
    return of_target("residuals", target, caption, alt)


def learning_entry(target: str, *, two_part: bool = False) -> Entry:
    """Entry of the error by epoch; of a fit in two parts, by validation alone."""
    training = "" if two_part else ", dotted training (with dropout, so it may lie above)"
    caption = (
        f"RMSE{labels.unit_after(target)} of the networks for the {labels.target_label(target)} by epoch: readout on"
        " frozen features, then (finetune) everything unfrozen. A line is a run, its colour the fold: solid"
        f" validation{training}. The dot is the stage's best epoch by validation; a"
        " finetune without a dot improved nothing, and the readout was kept. The first epochs may lie above the axes."
    )
    alt = f"Learning curves of the networks for the {labels.target_label(target)}, one line a fold and seed."
    return of_target("learning", target, caption, alt)


def curves_entry(target: str, frame: pd.DataFrame) -> Entry:
    """Entry of the error by share of the training part."""
    shares = sorted(set(frame.loc[frame["target"] == target, "share"])) if len(frame) else []
    caption = (
        f"RMSE{labels.unit_after(target)} for the {labels.target_label(target)} by number of training crystals"
        f" ({listed([str(share) for share in shares]) or 'no'} % of the training part, each share within the next),"
        " on the whole validation part and the whole test set: mean over folds and seeds; bars: sample standard"
        " deviation over these runs. Dots: networks; diamonds: baselines."
    )
    alt = f"Error of the {labels.target_label(target)} against the number of training crystals."
    return of_target("curves", target, caption, alt)


def ablation_entry(target: str, study: Study) -> Entry:
    """Entry of what one change does."""
    caption = (
        f"Change of the test RMSE{labels.unit_after(target)} for the {labels.target_label(target)} where one thing"
        f" differs (bars; to the right: worse) with its 95 % interval by a paired bootstrap over the"
        f" {labels.RESAMPLED[study.splits.strategy]}; filled: p below 0.05 by random swaps after Holm's correction."
        " Orange: change of the validation RMSE over the folds; filled: p below 0.05 by the corrected resampled"
        " t-test after Holm's correction. All numbers are in the table."
    )
    alt = f"Bars of the change of the error of the {labels.target_label(target)}, one a change."
    return of_target("ablation", target, caption, alt)


def distribution_entry(target: str, crystals: pd.DataFrame) -> Entry:
    """Entry of the values by prototype."""
    known = crystals[crystals[target].notna()] if target in crystals else crystals.iloc[:0]
    caption = (
        f"{labels.axis_label(target)} of {len(known)} crystals: above as a histogram, below every crystal by"
        " structure prototype (number of crystals in brackets). Blue: training and validation; orange: test."
    )
    alt = f"Distribution of the {labels.target_label(target)} over {len(known)} crystals, by prototype."
    return of_target("distribution", target, caption[0].upper() + caption[1:], alt)


def elements_entry(study: Study, crystals: pd.DataFrame) -> Entry:
    """Entry of the values by number of elements."""
    names = listed([labels.target_label(target) for target in study.targets])
    caption = f"Distribution of {names} over the {len(crystals)} crystals, coloured by their number of elements."
    return Entry("elements", "elements", None, caption, f"Histograms of {names} by number of elements.")


def slices_entry(study: Study, names: Mapping[str, str]) -> Entry:
    """Entry of the example images."""
    size = f"{study.slices.pixels} × {study.slices.pixels}"
    caption = (
        f"The {labels.FIELDS[study.field]} of {len(names)} crystals on the {plane_name(study.slices)} plane,"
        f" {size} pixels, as the networks see it: z-scored and"
        " divided into [−1, 1] (0 is the mean of the image). Below each,"
        " the side of the square. Crystals are drawn by a hash of their id, one a prototype; the colours are on an"
        " asinh scale, the same for all."
    )
    return Entry(
        "slices", "slices", None, caption, f"Density slices of {listed(list(names.values())) or 'no crystal'}."
    )


def creation_entry(study: Study, name: str) -> Entry:
    """Entry of the way from a crystal to its image and texts."""
    size = f"{study.slices.pixels} × {study.slices.pixels}"
    caption = (
        f"How an entry of the data set is made, for {name}: a, its conventional cell; b, the"
        f" {labels.FIELDS[study.field]} on three faces of that cell; c, the same on the {plane_name(study.slices)}"
        f" plane, with the square that is cut out; d, the image that the networks see, {size} pixels, z-scored and"
        " divided into [−1, 1]; e, its texts, cut after four lines. It is the first crystal of the example slices."
        " The colours are on asinh scales."
    )
    return Entry("creation", "creation", None, caption, f"Cell, density, slice, image and texts of {name}.")


def heights_entry(study: Study, name: str) -> Entry:
    """Entry of the densities at several heights."""
    first, second = (labels.FIELDS[field] for field in stack_fields(study.field))
    caption = (
        f"The {first} (above) and the {second} (below) of {name} on planes across z, the third vector of the"
        " conventional cell, at heights above its heaviest atom; squares of two lattice constants, centred above that"
        " atom. From the archive's own grid, before any scaling; the colours are on asinh scales, one a row."
    )
    return Entry("heights", "heights", None, caption, f"Two densities of {name} on planes at four heights.")


def plane_name(slices: SliceOptions) -> str:
    """Name of the image's plane, e.g. ``(111)``."""
    return slices.plane if isinstance(slices.plane, str) else "({}{}{})".format(*slices.plane)


def listed(words: Sequence[str]) -> str:
    """Join words by commas and a last ``and``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
