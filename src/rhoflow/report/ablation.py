"""What a model's result hangs on: the same model with one thing changed, and controls, against the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.config import SliceOptions, Study
from rhoflow.dataset.names import TEXT_LEVELS
from rhoflow.report import labels
from rhoflow.report.comparisons import Pair, families_frame, pair_of
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target, part_scores
from rhoflow.report.runs import Series
from rhoflow.report.significance import LEVEL
from rhoflow.training.names import READERS, base_of, fraction_of, other_images

# Columns of a comparison, see `rhoflow.report.comparisons.comparisons_frame`.
COMPARED = (
    *("reference", "reference_level", "comparisons", "n_groups", "folds"),
    *("rmse_difference", "rmse_low", "rmse_high", "r2_difference", "r2_low", "r2_high", "p", "detectable"),
    *("val_rmse_difference", "val_t", "val_dof", "val_p", "val_detectable", "p_holm", "val_p_holm"),
)
_IMAGE = ("field", "plane", "window", "planes", "content")
_SCORES = tuple(f"{metric}_{name}" for metric in ("r2", "rmse", "mae") for name in ("mean", "sd"))
BASE = "as in the study"


def ablation_pairs(series: Sequence[Series], target: str) -> list[Pair]:
    """Pair every series of one target with one thing changed with the series itself.

    Shares of the training part are left out (`rhoflow.report.curves`); of the text levels each stands against the
    first one of a model that has variants.
    """
    ours = {(one.model, one.level): one for one in series if one.target == target}
    changed = {base_of(model)[0] for model, _ in ours if _is_ablated(model)}
    found = []
    for (model, level), one in ours.items():
        base, variant = base_of(model)
        first = next(known for name, known in ours if name == base) if (base, level) in ours else level
        if _is_ablated(model) and (base, level) in ours:
            found.append(pair_of(one, ours[base, level]))
        elif not variant and base in changed and level in TEXT_LEVELS and level != first:
            found.append(pair_of(one, ours[base, first]))
    return [pair for pair in found if 0 in pair.repeats]


def _is_ablated(model: str) -> bool:
    variant = base_of(model)[1]
    return bool(variant) and fraction_of(variant) is None


def ablation_frame(series: Sequence[Series], *, study: Study) -> pd.DataFrame:
    """One row a series with one thing changed, and one a series that it is compared with.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.read_series`.

    Returns
    -------
    DataFrame
        ``target, unit, model`` (of the series itself), ``variant`` (empty: itself), ``level``; the setting:
        ``factor`` (what differs), ``field, plane, window, planes, content``; ``runs``, ``n_val``, ``n`` (validation
        crystals of the smallest run, test crystals); ``val_<metric>_mean, ..._sd``, ``test_<metric>_mean, ..._sd``
        for r2, rmse, mae; then the comparison with ``reference`` (`rhoflow.report.comparisons.comparisons_frame`;
        Holm's correction over the target), NaN on the rows that are one.
    """
    rows = []
    for target in study.targets:
        found = ablation_pairs(series, target)
        compared = families_frame([found], resamples=study.report.bootstrap)
        beside = {(row["model"], row["level"]): row for row in compared.to_dict("records")}
        shown = {(one.model, one.level): one for pair in found for one in (pair.reference, pair.model)}
        order = sorted(shown, key=lambda kind: (labels.order(*kind)[0], TEXT_ORDER.get(kind[1], -1), kind[0]))
        rows += [_row(shown[kind], beside.get(kind, {}), study) for kind in order]
    return pd.DataFrame(rows)


TEXT_ORDER = {level: place for place, level in enumerate(TEXT_LEVELS)}


def _row(series: Series, compared: dict[Any, Any], study: Study) -> dict[str, Any]:
    base, variant = base_of(series.model)
    first = series.of_repeat(0)
    parts = {part: part_scores(first, part) for part in ("val", "test")}
    row = {"target": series.target, "unit": parts["test"]["unit"], "model": base, "variant": variant}
    row |= {"level": series.level, **_setting(series, compared, study), "runs": len(first.runs)}
    row |= {"n_val": parts["val"]["n"], "n": parts["test"]["n"]}
    row |= {f"{part}_{name}": parts[part][name] for part in parts for name in _SCORES}
    return row | {name: compared.get(name, np.nan) for name in COMPARED}


def _setting(series: Series, compared: dict[Any, Any], study: Study) -> dict[str, Any]:
    """Field and slice that a series sees, and what of it differs from what it is compared with."""
    variant = base_of(series.model)[1]
    name = other_images(variant)
    images = study.ablation.images[name] if name else None
    slices = images.over(study.slices) if images else study.slices
    own, base = slice_facts(images.field or study.field if images else study.field, slices), ""
    if images:
        usual = slice_facts(study.field, study.slices)
        differing = [key for key in own if own[key] != usual[key]]
        base = ", ".join(differing) or "slices"
    elif variant:
        base = labels.variant_label(variant)
    elif compared:
        base = "level"
    return {"factor": base, **own}


def slice_facts(field: str, slices: SliceOptions) -> dict[str, Any]:
    """Give field, plane, window, number of planes and content of an image, for a table."""
    plane = slices.plane if isinstance(slices.plane, str) else "({} {} {})".format(*slices.plane)
    cells = slices.window.cells
    window = f"{cells} cells" if cells is not None else f"{slices.window.angstrom:g} A"
    return {"field": field, "plane": plane, "window": window, "planes": slices.planes, "content": slices.content}


def compared_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of `ablation_frame` that are comparisons, as `rhoflow.report.verdicts.verdict` reads them."""
    if not len(frame):
        return frame
    rows = frame[frame["reference"].notna()]
    names = [f"{row['model']}-{row['variant']}".rstrip("-") for row in rows.to_dict("records")]
    return rows.assign(model=names)


def fourier_frame(frame: pd.DataFrame, series: Sequence[Series], *, study: Study) -> pd.DataFrame:
    """Give the rows of `ablation_frame` with Fourier magnitudes in place of images, each after the one with images.

    The correction stays that of the whole family, in which they were tested. Of `series`, the baselines that read no
    image stand below, those of texts at the levels of the rows.
    """
    if not len(frame):
        return frame
    changed = frame[(frame["content"] == "fourier") & frame["reference"].notna()]
    kinds = {(row["target"], row["model"], row["level"]) for row in changed.to_dict("records")}
    places = zip(frame["target"], frame["model"], frame["level"], strict=True)
    own = pd.Series([place in kinds for place in places], index=frame.index)
    shown = frame[((frame["variant"] == "") & own) | frame.index.isin(changed.index)]
    others = set(TEXT_LEVELS) - set(shown["level"])
    beside = [
        {**_row(one, {}, study), **dict.fromkeys(_IMAGE, "")}
        for one in series
        if one.model in labels.BASELINES
        and one.model not in READERS["image"]
        and one.target in set(shown["target"])
        and one.level not in others
    ]
    return pd.DataFrame([*shown.to_dict("records"), *beside], columns=frame.columns)


def ablation_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return what a reader sees of one target, grouped by model; None if nothing was changed."""
    return _table(
        frame,
        target,
        name="ablation",
        title="One thing changed",
        study=study,
        lineage_id=lineage_id,
        note="Shuffled: images, or texts, dealt out anew among the crystals of each part, so that what a model still"
        " learns is not theirs. Other images: a crystal without one of them is missing from both models of the"
        " comparison.",
    )


def fourier_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return images against their Fourier magnitudes of one target; None without them."""
    return _table(
        frame,
        target,
        name="fourier",
        title="Images against their Fourier magnitudes",
        study=study,
        lineage_id=lineage_id,
        note="The paper has such a table too (arXiv 2401.09301v3, Table 3), whose numbers could not be had.",
    )


def _table(
    frame: pd.DataFrame, target: str, *, name: str, title: str, study: Study, lineage_id: str, note: str
) -> Table | None:
    rows = of_target(frame, target)
    if not len(rows):
        return None
    unit = labels.unit_after(target)
    decimals = labels.decimals_for(float(rows["test_rmse_mean"].min()))
    header = (
        *("Changed", "Text", "Field", "Plane", "Window", "Slices", "n"),
        *("R² val", f"RMSE val{unit}", f"MAE val{unit}", "R² test", f"RMSE test{unit}", f"MAE test{unit}"),
        *(f"ΔRMSE test{unit}", "95 % interval", "p test", f"ΔRMSE val{unit}", "p folds"),
    )
    groups = tuple(
        (labels.model_label(str(model)), tuple(_cells(row, decimals) for row in of_model.to_dict("records")))
        for model, of_model in rows.groupby("model", sort=False)
    )
    runs, m = sorted(set(rows["runs"])), rows["comparisons"].max()
    caption = (
        "n: crystals in validation / test of a run. Mean ± sample standard deviation over"
        f" {labels.span(runs[0], runs[-1])} runs (folds × seeds). Δ: the series minus the one above with nothing"
        " changed at its text level (another level: minus the first); the interval is a paired bootstrap's over the"
        f" {labels.RESAMPLED[study.splits.strategy]}, p test that of random swaps of the two models' errors, p folds"
        " that of the corrected resampled t-test over the folds, each after Holm's correction over"
        f" {labels.number(m, 0)} comparisons; bold: below {LEVEL}. {note} Lineage {lineage_id}."
    )
    return Table(f"{name}-{target}", f"{title}: {labels.target_label(target)}", header, groups, caption, 6)


def _cells(row: dict[Any, Any], decimals: int) -> Row:
    compared = isinstance(row["reference"], str)
    cells = [
        row["factor"] or BASE,
        labels.level_cell(row["level"]),
        *(str(row[name]) or labels.DASH for name in ("field", "plane", "window", "planes")),
        f"{row['n_val']} / {row['n']}",
    ]
    for part in ("val", "test"):
        for metric, digits in (("r2", 2), ("rmse", decimals), ("mae", decimals)):
            mean, sd = (row[f"{part}_{metric}_{name}"] for name in ("mean", "sd"))
            cells.append(labels.spread(mean, sd, digits))
    cells += [
        labels.number(row["rmse_difference"], decimals),
        labels.interval(row["rmse_low"], row["rmse_high"], decimals),
        labels.number(row["p_holm"], 3),
        labels.number(row["val_rmse_difference"], decimals),
        labels.number(row["val_p_holm"], 3),
    ]
    bold = {len(cells) - 3: row["p_holm"], len(cells) - 1: row["val_p_holm"]}
    return Row(tuple(cells), frozenset(k for k, p in bold.items() if compared and p < LEVEL))
