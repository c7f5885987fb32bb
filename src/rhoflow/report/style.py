"""House style of the figures, and files of them with the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rhoflow.materials.digests import atomic

# Okabe and Ito's palette, told apart by colour-blind readers.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, INK = "#9AA0A6", "#22262B"
FOLDS = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
GROUPS = {"network": BLUE, "llm": GREEN, "baseline": RED}
MARKERS = {"network": "o", "llm": "s", "baseline": "D"}
WIDTH = 7.2  # inches, a page's two columns
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs on every machine
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "axes.edgecolor": "#6B7178",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E4E7EA",
    "grid.linewidth": 0.6,
    "xtick.color": "#4A4F55",
    "ytick.color": "#4A4F55",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.3,
    "figure.dpi": 180,
    "savefig.dpi": 180,
    "savefig.facecolor": "white",
    "svg.hashsalt": "rhoflow",  # else the ids inside an SVG are random
    "svg.fonttype": "path",
    "text.parse_math": False,  # a $ in a name is a $
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save within this block in the house style."""
    with mpl.rc_context(_STYLE):
        yield


def save(figure: Figure, folder: Path, name: str, *, lineage_id: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg``, without date and software: equal figures, equal bytes.

    The lineage id stands in the lower right corner, and as text in the files' metadata.
    """
    figure.text(0.999, 0.001, f"lineage {lineage_id}", ha="right", va="bottom", fontsize=4.5, color=GREY)
    with atomic(folder / f"{name}.png") as part:
        figure.savefig(part, format="png", metadata={"Software": None, "Lineage": lineage_id})
    figure.set_layout_engine("none")  # laid out once, not once a format
    with atomic(folder / f"{name}.svg") as part:
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None, "Identifier": lineage_id})


def panel_title(axes: Axes, text: str) -> None:
    """Small heading of one panel, set left."""
    axes.set_title(text, loc="left", fontweight="bold")


def empty(axes: Axes, why: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", color=GREY, transform=axes.transAxes)
