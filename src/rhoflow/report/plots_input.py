"""The plots of what goes in: how an image is made, densities at several heights, properties by number of elements."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from rhoflow.dataset.names import TEXT_LEVELS
from rhoflow.report import labels
from rhoflow.report.cells import HEIGHTS, Cell, Creation, Stack, bonds
from rhoflow.report.crystals import Picture
from rhoflow.report.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY, WIDTH, empty, panel_title
from rhoflow.text.shards import TextRecord

Floats = NDArray[np.float64]
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED)  # 1, 2, ... elements; the last for that many and more
_ATOMS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
_VIEW = np.array([1.0, 0.55, 0.45])  # from where the cell is looked at
_LINES = 4  # of a text


def n_elements(formula: str) -> int:
    """Return the number of elements in a formula, e.g. 2 for ``CaF2``."""
    return len(set(re.findall(r"[A-Z][a-z]?", formula)))


def elements_name(number: int) -> str:
    """Return what a group of crystals is called: ``1 element``, ..., ``5 or more elements``."""
    if number >= len(COLOURS):
        return f"{len(COLOURS)} or more elements"
    return labels.counted(number, "element")


def elements_figure(crystals: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """Histogram of each target, coloured by the number of elements of the crystals.

    Parameters
    ----------
    crystals : DataFrame
        `rhoflow.report.crystals.read_crystals`.
    """
    shown = [target for target in targets if target in crystals and crystals[target].notna().any()]
    columns = min(2, max(1, len(shown)))
    lines = max(1, math.ceil(len(shown) / columns))
    figure = Figure(figsize=(WIDTH, 0.3 + 2.0 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    if not shown:
        empty(panels.flat[0], "no crystal has these properties")
        return figure
    numbers = np.minimum([n_elements(formula) for formula in crystals["formula"]], len(COLOURS))
    there = sorted(set(numbers.tolist()))
    for axes, target in zip(panels.flat, shown, strict=False):
        known = crystals[target].notna().to_numpy()
        values = crystals[target].to_numpy(dtype=float)
        edges = np.histogram_bin_edges(values[known], bins="auto" if known.sum() > 30 else 8)
        axes.hist(
            [values[known & (numbers == number)] for number in there],
            bins=list(edges[:: max(1, len(edges) // 40)]) if len(edges) > 40 else list(edges),
            stacked=True,
            color=[COLOURS[number - 1] for number in there],
            edgecolor="white",
            linewidth=0.5,
            label=[f"{elements_name(number)} (n = {int((numbers == number).sum())})" for number in there],
        )
        axes.set(xlabel=labels.axis_label(target), ylabel="crystals")
    handles, names = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(there)))
    return figure


def creation_figure(
    creation: Creation | None, picture: Picture | None, text: TextRecord | None, *, field: str, facts: Sequence[str]
) -> Figure:
    """Draw how one crystal becomes an image and a text: cell, density, slice, image; below its texts.

    Parameters
    ----------
    field : str
        The study's.
    facts : sequence of str
        Lines about the crystal: formula, properties.
    """
    figure = Figure(figsize=(WIDTH, 3.7))
    if creation is None or picture is None:
        empty(figure.subplots(), "no crystal with archive and image")
        return figure
    above = [figure.add_axes((0.01 + 0.25 * k, 0.5, 0.225, 0.44)) for k in range(4)]
    _draw_cell(above[0], creation.cell)
    _draw_faces(above[1], creation, field)
    _square(above[2], creation.wide, creation.wide_side, _norm(creation.wide, field), _colours(field))
    half = creation.side / 2
    edge = INK if _signed(field) else "white"
    above[2].add_patch(Rectangle((-half, -half), 2 * half, 2 * half, fill=False, edgecolor=edge, linewidth=1.4))
    lowest = float(picture.image.min())
    _square(above[3], picture.image, picture.side, AsinhNorm(linear_width=0.05, vmin=lowest, vmax=1))
    for axes, title in zip(above, ("a  crystal", "b  density", "c  slice", "d  image"), strict=True):
        panel_title(axes, title)
    figure.text(0.12, 0.485, "\n".join(facts), ha="center", va="top", fontsize=6.5)
    for axes, side in ((above[2], creation.wide_side), (above[3], picture.side)):
        axes.set_xlabel(f"{side:.1f} Å", fontsize=7, labelpad=2)
    _draw_texts(figure.add_axes((0.01, 0.0, 0.98, 0.3)), text)
    return figure


def _projection() -> Floats:
    """(2, 3) axes to the right and up, seen along `_VIEW`."""
    view = _VIEW / np.linalg.norm(_VIEW)
    right = np.cross([0, 0, 1], view)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(view, right)])


def _draw_cell(axes: Axes, cell: Cell) -> None:
    """Atoms, bonds between nearest ones, and edges of a cell; what is nearer is drawn later."""
    flat = _projection()
    for start, end in _edges(cell.lattice):
        axes.plot(*np.stack([flat @ start, flat @ end], axis=1), color=GREY, linewidth=0.7, zorder=1)
    points, depth = cell.cart_coords @ flat.T, cell.cart_coords @ _VIEW
    ranks = 2 + np.argsort(np.argsort(depth, kind="stable"), kind="stable") / max(len(depth), 1)
    for i, j in bonds(cell):
        order = float(min(ranks[i], ranks[j])) - 0.001
        axes.plot(*points[[i, j]].T, color="#C3C8CD", linewidth=2.0, zorder=order)
    names = list(dict.fromkeys(cell.symbols))
    for number, name in enumerate(names):
        rows = [k for k, symbol in enumerate(cell.symbols) if symbol == name]
        colour = _ATOMS[number % len(_ATOMS)]
        for k in rows:
            axes.plot(
                *points[k], "o", color=colour, markersize=7, markeredgecolor="white", zorder=float(ranks[k]),
                label=name if k == rows[0] else None,
            )  # fmt: skip
    axes.legend(loc="upper right", fontsize=6.5, handletextpad=0.1, borderpad=0, borderaxespad=0)
    _frame(axes, cell.lattice)


def _frame(axes: Axes, lattice: Floats) -> None:
    """Show a cell whole, as large as the panel allows."""
    corners = np.array([_projection() @ end for edge in _edges(lattice) for end in edge])
    middle, half = (corners.min(axis=0) + corners.max(axis=0)) / 2, 0.55 * np.ptp(corners, axis=0).max()
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal")
    axes.set_axis_off()


def _edges(lattice: Floats) -> list[tuple[Floats, Floats]]:
    """Return the twelve edges of a cell."""
    corners = [np.array(corner) for corner in np.ndindex(2, 2, 2)]
    return [
        (corner @ lattice, (corner + np.eye(3)[axis]) @ lattice)
        for corner in corners
        for axis in range(3)
        if corner[axis] == 0
    ]


def _draw_faces(axes: Axes, creation: Creation, field: str) -> None:
    """Density on the three faces of the cell that are seen, with its scale below."""
    flat, values = _projection(), np.concatenate([rho.ravel() for _, rho in creation.faces])
    norm = _norm(values, field)
    for near, far in zip(creation.faces[::2], creation.faces[1::2], strict=True):
        edges, rho = far if (far[0][0] @ _VIEW) > 0 else near
        corner, u, v = (flat @ edge for edge in edges)
        matrix = np.array([[u[0], v[0], corner[0]], [u[1], v[1], corner[1]], [0, 0, 1]])
        shown = axes.imshow(
            rho, cmap=_colours(field), norm=norm, extent=(0, 1, 0, 1), origin="lower", interpolation="nearest"
        )
        shown.set_transform(Affine2D(matrix) + axes.transData)
        outline = np.stack([corner, corner + u, corner + u + v, corner + v, corner], axis=1)
        axes.plot(*outline, color="white", linewidth=0.6)
    _frame(axes, creation.cell.lattice)
    bar = axes.figure.colorbar(shown, cax=axes.inset_axes((0.1, -0.05, 0.8, 0.035)), orientation="horizontal")
    _scale(bar, norm)


def _scale(bar: Colorbar, norm: Normalize) -> None:
    """Label a colour scale in plain numbers."""
    top, low = float(norm.vmax or 1), float(norm.vmin or 0)
    ticks = [low, 0.0, 0.1 * top, top] if low > -0.1 * top else [low, 0.1 * low, 0.0, 0.1 * top, top]
    digits = labels.decimals_for(0.1 * top)
    bar.set_ticks(ticks[1:] if low > -0.1 * top else ticks, labels=None)
    bar.set_ticklabels([labels.number(tick, digits) for tick in bar.get_ticks()])
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=6)
    bar.set_label("e/Å³", fontsize=6.5, labelpad=1)
    bar.outline.set_visible(False)


def _signed(field: str) -> bool:
    return field in ("spin", "deformation")


def _colours(field: str) -> str:
    return "RdBu_r" if _signed(field) else "magma"


def _norm(values: Floats, field: str) -> Normalize:
    """Asinh scale: nuclei are a hundred times denser than bonds; even about zero for a signed field."""
    top = float(np.abs(values).max()) or 1.0
    low = -top if _signed(field) else min(0.0, float(values.min()))
    return AsinhNorm(linear_width=(0.01 if _signed(field) else 0.05) * top, vmin=low, vmax=top)


def _square(
    axes: Axes, image: NDArray[np.floating], side: float, norm: Normalize, colours: str = "magma"
) -> AxesImage:
    """Image of a plane around its centre [A]."""
    half = side / 2
    shown = axes.imshow(image, cmap=colours, norm=norm, extent=(-half, half, -half, half), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return shown


def _draw_texts(axes: Axes, text: TextRecord | None) -> None:
    axes.set_axis_off()
    panel_title(axes, "e  texts")
    if text is None:
        axes.text(0, 0.8, "no text", color=GREY, transform=axes.transAxes)
        return
    lines = []
    for level in TEXT_LEVELS:
        wrapped = textwrap.wrap(text[level] or "", 112)
        cut = [*wrapped[: _LINES - 1], wrapped[_LINES - 1] + " …"] if len(wrapped) > _LINES else wrapped
        lines += [f"{level if not number else '':<9} {line}" for number, line in enumerate(cut or [""])]
    axes.text(
        0,
        1.0,
        "\n".join(lines),
        transform=axes.transAxes,
        va="top",
        fontsize=6.2,
        family="DejaVu Sans Mono",
        color=INK,
    )


def heights_figure(stack: Stack | None, fields: Mapping[str, str]) -> Figure:
    """Draw densities on planes along z: a row a field, a column a height.

    Parameters
    ----------
    fields : mapping of str to str
        What each field is called, in the order of the rows.
    """
    figure = Figure(figsize=(WIDTH, 0.4 + 1.75 * len(fields)), layout="constrained")
    panels = figure.subplots(len(fields), len(HEIGHTS), squeeze=False)
    for number, (row, (field, name)) in enumerate(zip(panels, fields.items(), strict=True)):
        planes = None if stack is None else stack.fields.get(field)
        if stack is None or planes is None:
            why = "no crystal with an archive" if stack is None else stack.missing[field]
            for axes in row:
                axes.set_axis_off()
            row[0].text(0, 0.5, f"{name}: {why}", color=GREY, transform=row[0].transAxes)
            continue
        norm = _norm(planes, field)
        for axes, plane, height in zip(row, planes, HEIGHTS, strict=True):
            shown = _square(axes, plane, stack.side, norm, _colours(field))
            if number == 0:
                axes.set_title(f"z = {height * stack.spacing:.2f} Å", fontsize=8, pad=3)
        row[0].set_ylabel(name.split(" (")[0], fontsize=7.5)
        _scale(figure.colorbar(shown, ax=list(row), shrink=0.85, aspect=18, pad=0.01), norm)
    return figure
