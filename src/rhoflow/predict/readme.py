"""The model card of an exported folder, for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymatgen.core import Composition

from rhoflow.dataset.names import PARTS
from rhoflow.predict.card import Card
from rhoflow.report.ensemble import CONFORMAL


def describe(card: Card) -> str:
    """Markdown: what the ensemble predicts, from what, how well, for which crystals, and how to use it."""
    elements = sorted({element for one in card.seen for element in Composition(one.formula).get_el_amt_dict()})
    weights = sorted({f"{part}: {name}" for run in card.runs for part, name in run.started_from.items()})
    study = card.study
    lines = [
        f"# {card.model} -> {card.target} [{card.unit}]",
        "",
        f"{len(card.runs)} networks (folds x seeds) of the study `{study['study']}`, text level `{card.level}`,"
        f" trained on the density field `{study['field']}`; starting weights {'; '.join(weights)}.",
        "",
        "```bash",
        "rhoflow predict --model <this folder> CHGCAR",
        "```",
        "",
        "| part | n a run | R2 | RMSE | MAE |",
        "|---|---|---|---|---|",
        *(_row(card, part) for part in PARTS),
        "",
        "Mean over the runs (sample standard deviation); RMSE and MAE in the unit above.",
        "",
        *_interval(card),
        "",
        f"Trained on {len(card.seen)} crystals of {len(elements)} elements: {', '.join(elements)}. Other elements,"
        " densities of another engine or potential, and crystals without the study's plane are refused.",
        "",
        f"Lineage `{card.lineage.get('id', '')}`, rhoflow {card.code.get('version')} ({card.code.get('source')})."
        " `model.json` has all settings, scalers, ids of the splits, residuals and versions.",
    ]
    return "\n".join(lines) + "\n"


def _row(card: Card, part: str) -> str:
    counts = sorted({run.n[part] for run in card.runs})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    cells = [_mean([run.metrics[part].get(name) for run in card.runs]) for name in ("r2", "rmse", "mae")]
    return f"| {part} | {n} | {' | '.join(cells)} |"


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{np.mean(known):.4g}" + (f" ({np.std(known, ddof=1):.2g})" if len(known) > 1 else "")


def _interval(card: Card) -> list[str]:
    """Say how wide the interval is and what it held."""
    width = card.half_width
    if width is None:
        return [f"No {CONFORMAL:.0%} interval: {len(card.residuals)} validation materials are too few."]
    text = f"{CONFORMAL:.0%} interval: mean +- {width:.4g} {card.unit}, from {len(card.residuals)} validation errors."
    if card.coverage:
        one = card.coverage
        share = one.covered / one.n
        text += (
            f" It held {one.covered} of {one.n} test crystals ({share:.0%}; 95 %: {one.low:.0%} to {one.high:.0%})."
        )
    return [text]
