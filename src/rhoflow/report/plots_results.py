"""The plots beside the tables: residuals by number of elements, learning curves by share, what one change does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rhoflow.report import labels
from rhoflow.report.plots_input import COLOURS, elements_name, n_elements
from rhoflow.report.results import of_target
from rhoflow.report.runs import Series
from rhoflow.report.significance import LEVEL
from rhoflow.report.style import FOLDS, GREY, GROUPS, INK, ORANGE, WIDTH, empty, panel_title

_LINES = ("-", "--", ":", "-.")
_RASTER = 2000  # more points than this are drawn as pixels, also in an SVG


def residuals_figure(series: Sequence[Series], formulas: Mapping[str, str]) -> Figure:
    """Draw the errors of the test crystals (predicted minus calculated) by number of elements, a panel a series.

    Boxes: quartiles and median, whiskers to the farthest within 1.5 interquartile ranges; every crystal is a dot.

    Parameters
    ----------
    series : sequence of Series
        Models of one target.
    formulas : mapping of str to str
        Formula by material id.
    """
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    if not any(len(one.common_test()[0]) for one in series):
        empty(figure.subplots(), "no test crystal" if series else "no finished run")
        return figure
    panels = figure.subplots(1, max(2, len(series)), sharey=True, squeeze=False)[0]
    for axes, one in zip(panels, series, strict=False):
        _residuals_panel(axes, one, formulas)
    panels[0].set_ylabel("predicted − DFT" + labels.unit_after(series[0].target))
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    return figure


def _residuals_panel(axes: Axes, series: Series, formulas: Mapping[str, str]) -> None:
    ids, y_true, y_pred = series.common_test()
    errors = y_pred.mean(axis=0) - y_true
    numbers = np.array([min(n_elements(formulas.get(one, one)), len(COLOURS)) for one in ids.tolist()], dtype=np.intp)
    rng = np.random.default_rng(0)
    there = sorted(set(numbers.tolist()))
    for number in there:
        values = errors[numbers == number]
        axes.boxplot(
            [values],
            positions=[number],
            widths=0.55,
            showfliers=False,
            medianprops={"color": INK},
            boxprops={"color": GREY},
            whiskerprops={"color": GREY},
            capprops={"color": GREY},
        )
        places = number + rng.uniform(-0.2, 0.2, len(values))
        style: dict[str, Any] = {"s": 12, "alpha": 0.8, "linewidths": 0.4, "edgecolors": "white", "zorder": 3}
        axes.scatter(places, values, color=COLOURS[number - 1], rasterized=len(ids) > _RASTER, **style)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)))
    names = [
        f"{elements_name(number).split(' element')[0]}\nn = {int((numbers == number).sum())}" for number in there
    ]
    axes.set_xticks(there, names)
    axes.set_xlabel("elements")
    axes.grid(axis="y")
    panel_title(axes, labels.series_label(series.model, series.level))


def curves_figure(frame: pd.DataFrame, target: str) -> Figure:
    """Draw the RMSE of one target by number of training crystals, validation and test beside each other.

    Dots are means over folds and seeds, bars their sample standard deviation.

    Parameters
    ----------
    frame : DataFrame
        `rhoflow.report.curves.curves_frame`.
    """
    rows = of_target(frame, target)
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    if not len(rows):
        empty(figure.subplots(), "no finished run on a share of the training part")
        return figure
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    kinds = list(dict.fromkeys(zip(rows["model"], rows["level"], strict=True)))
    for axes, (part, name) in zip(panels, (("val", "validation"), ("test", "test")), strict=True):
        for number, (model, level) in enumerate(kinds):
            ours = (rows["model"] == model) & (rows["level"] == level) & (rows["part"] == part)
            curve = rows[ours].sort_values("share")
            axes.errorbar(
                curve["n_train"].to_numpy(dtype=float),
                curve["rmse_mean"].to_numpy(dtype=float),
                yerr=curve["rmse_sd"].fillna(0).to_numpy(dtype=float),
                color=FOLDS[number % len(FOLDS)],
                linestyle=_LINES[number // len(FOLDS) % len(_LINES)],
                marker="o" if labels.group_of(model) == "network" else "D",
                markersize=3.6,
                elinewidth=0.9,
                label=labels.series_label(model, level),
            )
        axes.set_xlabel("training crystals")
        panel_title(axes, name)
        axes.grid(axis="y")
    panels[0].set_ylabel("RMSE" + labels.unit_after(target))
    panels[0].set_ylim(bottom=0)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=7)
    return figure


def ablation_figure(frame: pd.DataFrame, target: str) -> Figure:
    """Draw what each change does to the test RMSE of one target: bars with 95 % intervals, filled if significant.

    The orange dot is the change of the validation RMSE over the folds, filled if that is significant.

    Parameters
    ----------
    frame : DataFrame
        `rhoflow.report.ablation.ablation_frame`.
    """
    rows = frame[(frame["target"] == target) & frame["reference"].notna()] if len(frame) else frame
    figure = Figure(figsize=(WIDTH, 0.7 + 0.24 * max(len(rows), 2)), layout="constrained")
    axes = figure.subplots()
    if not len(rows):
        empty(axes, "no finished run with one thing changed")
        return figure
    for height, row in enumerate(rows.to_dict("records")):
        colour = GROUPS[labels.group_of(row["model"])]
        significant = row["p_holm"] < LEVEL
        axes.barh(
            height, row["rmse_difference"], height=0.62, color=colour if significant else "white", edgecolor=colour
        )
        if np.isfinite(row["rmse_low"]):
            axes.hlines(height, row["rmse_low"], row["rmse_high"], color=INK, linewidth=0.9)
        face = ORANGE if row["val_p_holm"] < LEVEL else "white"
        axes.plot(row["val_rmse_difference"], height, "o", markersize=4, color=ORANGE, markerfacecolor=face)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [_change(row) for row in rows.to_dict("records")])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("change of the RMSE" + labels.unit_after(target))
    axes.grid(axis="x")
    return figure


def _change(row: Mapping[Any, Any]) -> str:
    model = labels.series_label(str(row["model"]), str(row["level"]))
    return f"{model}: {labels.variant_label(row['variant'])}" if row["variant"] else model
