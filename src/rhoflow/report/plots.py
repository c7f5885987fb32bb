"""The plots: each a function of a frame or of runs; nothing is computed that a table does not hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from rhoflow.report import labels
from rhoflow.report.crystals import Picture
from rhoflow.report.results import of_target
from rhoflow.report.runs import Series
from rhoflow.report.style import BLUE, FOLDS, GREY, GROUPS, INK, MARKERS, ORANGE, WIDTH, empty, panel_title

_WORST = 3  # crystals named in a parity plot
_LOWEST_R2 = -1.0
_PROTOTYPES = 12
_RASTER = 2000  # more points than this are drawn as pixels, also in an SVG


def overview_figure(frame: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """Test R2 of every model (dots) with its bootstrap interval (lines), a panel a target.

    Parameters
    ----------
    frame : DataFrame
        `rhoflow.report.results.results_frame`.
    """
    test = frame[frame["part"] == "test"] if len(frame) else frame
    rows = max((int((test["target"] == target).sum()) for target in targets), default=0) if len(test) else 1
    columns = min(2, len(targets))
    lines = math.ceil(len(targets) / columns)
    figure = Figure(figsize=(WIDTH, lines * (0.9 + 0.215 * rows)), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes, target in zip(panels.flat, targets, strict=False):
        shown = of_target(test, target)
        if len(shown):
            _overview_panel(axes, shown, named=axes in panels[:, 0] or not _same_rows(test, targets))
            panel_title(axes, labels.target_label(target).capitalize())
        else:
            empty(axes, f"no finished run for the {labels.target_label(target)}")
    for axes in panels.flat[len(targets) :]:
        axes.set_axis_off()
    return figure


def _same_rows(test: pd.DataFrame, targets: Sequence[str]) -> bool:
    kinds = {tuple(map(tuple, test.loc[test["target"] == one, ["model", "level"]].to_numpy())) for one in targets}
    return len(kinds) == 1


def _overview_panel(axes: Axes, shown: pd.DataFrame, *, named: bool) -> None:
    left = max(_LOWEST_R2, min(0.0, float(shown[["r2_low", "r2_mean"]].min().min())) - 0.05)
    for height, row in enumerate(shown.to_dict("records")):
        colour = GROUPS[row["group"]]
        if math.isfinite(row["r2_low"]):
            axes.hlines(height, max(row["r2_low"], left), row["r2_high"], color=colour, linewidth=1.6, alpha=0.55)
        if np.fmin(row["r2_low"], row["r2_mean"]) < left:
            axes.plot(left, height, marker="<", color=colour, markersize=4, clip_on=False)
        if row["r2_mean"] >= left:
            marker = MARKERS[row["group"]]
            axes.plot(row["r2_mean"], height, marker, color=colour, markersize=5 if marker == "o" else 4.4)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set(xlim=(left, 1.02), ylim=(len(shown) - 0.4, -0.6), xlabel="test R²")
    names = [labels.series_label(row["model"], row["level"]) for row in shown.to_dict("records")]
    axes.set_yticks(range(len(names)), names if named else [""] * len(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def parity_figure(series: Sequence[Series], formulas: Mapping[str, str]) -> Figure:
    """Predicted against calculated values of the test crystals, a panel a series.

    Dots are means over runs, error bars their sample standard deviation; the crystals furthest off are named.

    Parameters
    ----------
    series : sequence of Series
        Models of one target.
    formulas : mapping of str to str
        Formula by material id.
    """
    figure = Figure(figsize=(WIDTH, WIDTH / 2), layout="constrained")
    tested = [(y_true, y_pred.mean(axis=0)) for _, y_true, y_pred in (one.common_test() for one in series)]
    values = np.ravel(np.concatenate(tested, axis=1)) if tested else np.empty(0)
    if not len(values):
        empty(figure.subplots(), "no test crystal" if series else "no finished run")
        return figure
    panels = figure.subplots(1, max(2, len(series)), sharex=True, sharey=True, squeeze=False)[0]
    margin = 0.07 * max(float(np.ptp(values)), 1e-9)
    limits = (float(values.min()) - margin, float(values.max()) + margin)
    for axes, one in zip(panels, series, strict=False):
        axes.plot(limits, limits, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)))
        _parity_panel(axes, one, formulas)
        axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"DFT {labels.axis_label(one.target)}")
    panels[0].set_ylabel(f"predicted {labels.axis_label(series[0].target)}")
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    return figure


def _parity_panel(axes: Axes, series: Series, formulas: Mapping[str, str]) -> None:
    ids, y_true, y_pred = series.common_test()
    mean = y_pred.mean(axis=0)
    sd = y_pred.std(axis=0, ddof=1) if len(y_pred) > 1 else None
    group = labels.group_of(series.model)
    colour, marker = GROUPS[group], MARKERS[group]
    bars = axes.errorbar(y_true, mean, yerr=sd, fmt=marker, color=colour, markersize=4.5, elinewidth=0.9, alpha=0.85)
    bars.lines[0].set_rasterized(len(ids) > _RASTER)
    for k in np.argsort(-np.abs(mean - y_true), kind="stable")[:_WORST]:
        name = labels.formula_label(formulas.get(str(ids[k]), str(ids[k])))
        below = mean[k] < y_true[k]
        axes.annotate(
            name,
            (y_true[k], mean[k]),
            xytext=(5, -4) if below else (-5, 4),
            textcoords="offset points",
            ha="left" if below else "right",
            va="top" if below else "bottom",
            fontsize=7,
            color="#4A4F55",
        )
    panel_title(axes, labels.series_label(series.model, series.level))
    axes.text(0.04, 0.96, f"n = {len(ids)}", transform=axes.transAxes, va="top", color="#4A4F55")


def learning_figure(series: Sequence[Series], *, two_part: bool = False) -> Figure:
    """Draw the validation and training error of one target's networks by epoch, a panel a stage.

    A line a run, coloured by fold, dotted for the training error; the dot is the best epoch of the stage.

    Parameters
    ----------
    two_part : bool
        The training loss has a cross entropy in it and is no squared error: no training error is drawn.
    """
    shown = [
        one for one in series if labels.is_network(one.model) and any(run.history is not None for run in one.runs)
    ]
    columns = min(3, max(1, len(shown)))
    lines = max(1, math.ceil(len(shown) / columns))
    figure = Figure(figsize=(WIDTH, 0.35 + 1.85 * lines), layout="constrained")
    if not shown:
        empty(figure.subplots(), "no finished network run")
        return figure
    figure.supxlabel("epoch of the stage", fontsize=8.5)
    top = _top(shown)
    cells = figure.subfigures(lines, columns, squeeze=False)
    for cell, one in zip(cells.flat, shown, strict=False):
        stages = list(dict.fromkeys(name for run in one.runs for name in _stages(run.history)))
        widths = [2.2] + [1.0] * (len(stages) - 1)
        panels = cell.subplots(1, len(stages), sharey=True, squeeze=False, width_ratios=widths)[0]
        for axes, stage in zip(panels, stages, strict=True):
            _stage_panel(axes, one, stage, two_part=two_part)
            axes.set(ylim=(0, top))
        if one is shown[0]:
            panels[0].legend(loc="upper right", fontsize=6.5, handlelength=1.2, labelspacing=0.2)
        panel_title(panels[0], labels.series_label(one.model, one.level))
        panels[0].set_ylabel("RMSE" + labels.unit_after(one.target))
    return figure


def _stages(history: pd.DataFrame | None) -> list[str]:
    return [] if history is None else list(dict.fromkeys(map(str, history["stage"])))


def _top(series: Sequence[Series]) -> float:
    """Upper end of the axes: the first epochs may start far off."""
    values = [
        run.history["val_rmse"].to_numpy(float) for one in series for run in one.runs if run.history is not None
    ]
    together = np.concatenate(values)
    together = together[np.isfinite(together)]
    return 1.1 * float(np.quantile(together, 0.98)) if len(together) else 1.0


def _stage_panel(axes: Axes, series: Series, stage: str, *, two_part: bool) -> None:
    longest = 1
    for run in series.runs:
        rows = run.history[run.history["stage"] == stage] if run.history is not None else pd.DataFrame()
        if len(rows) == 0:
            continue
        epochs = np.arange(1, len(rows) + 1)
        longest = max(longest, len(rows))
        colour = FOLDS[run.key.fold % len(FOLDS)]
        val = rows["val_rmse"].to_numpy(float)
        if not two_part:  # the loss is the mean squared error of the standardised target
            train = np.sqrt(rows["train_loss"].to_numpy(float)) * run.metrics["scaler"]["std"]
            axes.plot(epochs, train, color=colour, linewidth=1.0, alpha=0.8, linestyle=(0, (1, 1.2)))
        label = f"fold {run.key.fold}" if run.key.seed == series.runs[0].key.seed else None
        axes.plot(epochs, val, color=colour, linewidth=1.1, alpha=0.9, label=label)
        best = next((one["best_epoch"] for one in run.metrics["training"]["stages"] if one["name"] == stage), 0)
        if best:
            axes.plot(best, val[best - 1], "o", color=colour, markersize=3.6)
    axes.set_xlabel(stage, labelpad=2)
    axes.set_xlim(0.5, max(longest + 0.5, 2))
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="y")


def distribution_figure(crystals: pd.DataFrame, target: str) -> Figure:
    """Values of a property: a histogram of training and test crystals, and every crystal by prototype.

    Parameters
    ----------
    crystals : DataFrame
        `rhoflow.report.crystals.read_crystals`.
    """
    shown = crystals[crystals[target].notna()] if target in crystals else crystals.iloc[:0]
    if len(shown) == 0:
        figure = Figure(figsize=(WIDTH, 1.5), layout="constrained")
        empty(figure.subplots(), "no crystal has this property")
        return figure
    counts = shown["prototype"].value_counts()
    ranked = sorted(counts.index, key=lambda name: (-counts[name], name))
    names = ranked if len(ranked) <= _PROTOTYPES else [*ranked[: _PROTOTYPES - 1], "others"]
    row = {name: k for k, name in enumerate(names)}
    height = 0.19 * len(names) + 0.3
    figure = Figure(figsize=(WIDTH, height + 1.75), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.1, height])
    values, test = shown[target].to_numpy(float), (shown["part"] == "test").to_numpy()
    edges = np.histogram_bin_edges(values, bins="auto" if len(values) > 30 else 8)
    above.hist(
        [values[~test], values[test]],
        bins=list(edges),
        stacked=True,
        color=[BLUE, ORANGE],
        edgecolor="white",
        linewidth=0.6,
        label=[f"training and validation (n = {int((~test).sum())})", f"test (n = {int(test.sum())})"],
    )
    above.set_ylabel("crystals")
    above.legend(loc="best")
    rows = np.array([row.get(name, len(names) - 1) for name in shown["prototype"]], dtype=float)
    rows += np.random.default_rng(0).uniform(-0.22, 0.22, len(rows))
    for mask, colour, size in ((~test, BLUE, 11), (test, ORANGE, 17)):
        style = {"color": colour, "s": size, "alpha": 0.8, "linewidths": 0.4, "edgecolors": "white"}
        below.scatter(values[mask], rows[mask], rasterized=len(rows) > _RASTER, **style)
    size_of = {name: int(counts[name]) if name in counts else int((rows > len(names) - 1.5).sum()) for name in names}
    below.set_yticks(range(len(names)), [f"{name} ({size_of[name]})" for name in names])
    below.set(ylim=(len(names) - 0.4, -0.6), xlabel=labels.axis_label(target))
    below.grid(axis="y")
    below.tick_params(axis="y", length=0)
    return figure


def slices_figure(pictures: Mapping[str, Picture], names: Mapping[str, str]) -> Figure:
    """Images of some crystals on one colour scale, with name and side of the square.

    Parameters
    ----------
    pictures : mapping of str to Picture
        By material id, in the order shown.
    names : mapping of str to str
        What to write above each.
    """
    columns = min(3, max(1, len(pictures)))
    lines = max(1, math.ceil(len(pictures) / columns))
    size = WIDTH / 3.25
    figure = Figure(
        figsize=(WIDTH if columns == 3 else columns * size + 0.8, lines * (size + 0.3)), layout="constrained"
    )
    panels = figure.subplots(lines, columns, squeeze=False)
    # Nuclei are a hundred times denser than bonds: asinh keeps both visible, on one scale for all crystals.
    lowest = min((float(picture.image.min()) for picture in pictures.values()), default=-1.0)
    norm = AsinhNorm(linear_width=0.05, vmin=lowest, vmax=1)
    shown = None
    for axes, (material_id, picture) in zip(panels.flat, pictures.items(), strict=False):
        shown = axes.imshow(picture.image, cmap="magma", norm=norm, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(names.get(material_id, material_id), loc="left", fontsize=8, pad=3)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(f"{picture.side:.1f} Å", fontsize=7, labelpad=2, color=INK)
    for axes in panels.flat[len(pictures) :]:
        axes.set_axis_off()
    if shown is None:
        empty(panels.flat[0], "no image")
        return figure
    ticks = [tick for tick in (-0.1, 0.0, 0.1, 0.3, 1.0) if tick >= lowest]
    bar = figure.colorbar(shown, ax=panels.ravel().tolist(), shrink=0.6, aspect=30, pad=0.02)
    bar.set_ticks(ticks, labels=[labels.number(tick, 1) for tick in ticks], minor=False)
    bar.minorticks_off()
    bar.set_label("scaled density")
    bar.outline.set_visible(False)
    return figure
