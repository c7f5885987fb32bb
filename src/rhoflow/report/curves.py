"""Learning curves: how a model's error falls with its share of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.config import Study
from rhoflow.report import labels
from rhoflow.report.comparisons import Pair, families_frame, pair_of
from rhoflow.report.render import Row, Table
from rhoflow.report.results import of_target, part_scores, spreads
from rhoflow.report.runs import Series
from rhoflow.report.significance import LEVEL
from rhoflow.training.names import base_of, fraction_of

WHOLE = 100
_SCORES = tuple(f"{metric}_{name}" for metric in ("r2", "rmse", "mae") for name in ("mean", "sd"))
_SPREADS = ("rmse_sd_folds", "rmse_sd_seeds")
_COMPARED = ("rmse_difference", "rmse_low", "rmse_high", "p_holm", "val_rmse_difference", "val_p_holm", "comparisons")


def share_of(model: str) -> int | None:
    """Share of the training part that a series sees [%]; None for a variant in which something else is changed."""
    variant = base_of(model)[1]
    return fraction_of(variant) if variant else WHOLE


def curve_pairs(series: Sequence[Series], target: str) -> list[Pair]:
    """Every share of one target's training part against the whole."""
    ours = {(one.model, one.level): one for one in series if one.target == target}
    found = [
        pair_of(one, ours[base_of(model)[0], level])
        for (model, level), one in ours.items()
        if fraction_of(base_of(model)[1]) is not None and (base_of(model)[0], level) in ours
    ]
    return [pair for pair in found if 0 in pair.repeats]


def curves_tests(series: Sequence[Series], *, study: Study) -> pd.DataFrame:
    """Test every share against the whole (columns: `rhoflow.report.comparisons.comparisons_frame`)."""
    return families_frame([curve_pairs(series, target) for target in study.targets], resamples=study.report.bootstrap)


def curves_frame(series: Sequence[Series], tests: pd.DataFrame) -> pd.DataFrame:
    """One row a target, model, level, share and part, of the models that were trained on shares.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.read_series`.
    tests : DataFrame
        `curves_tests`.

    Returns
    -------
    DataFrame
        ``target, unit, model, level, share`` [%], ``n_train`` (mean over the runs), ``part``, ``runs``, ``n``;
        ``<metric>_mean, <metric>_sd`` over the runs; ``rmse_sd_folds, rmse_sd_seeds``: of the seeds' means over the
        folds, and over the seeds, mean over the folds (`unit`; NaN for one). On test rows the comparison with the
        whole: ``rmse_difference, rmse_low, rmse_high, p_holm, val_rmse_difference, val_p_holm, comparisons``.
    """
    curved = {(one.target, base_of(one.model)[0], one.level) for one in series if _is_share(one.model)}
    known = {
        (row["target"], row["model"], row["level"]): {name: row[name] for name in _COMPARED}
        for row in tests.to_dict("records")
    }
    rows = []
    for one in series:
        base, share = base_of(one.model)[0], share_of(one.model)
        if share is None or (one.target, base, one.level) not in curved:
            continue
        first = one.of_repeat(0)
        n_train = float(np.mean([len(run.part("train")[0]) for run in first.runs]))
        for part in ("val", "test"):
            scores = part_scores(first, part)
            row = {"target": one.target, "unit": scores["unit"], "model": base, "level": one.level, "share": share}
            row |= {"n_train": n_train, "part": part, "runs": scores["runs"], "n": scores["n"]}
            spread = spreads(first, part)
            row |= {name: scores[name] for name in _SCORES} | {name: spread[name] for name in _SPREADS}
            compared = known.get((one.target, one.model, one.level), {}) if part == "test" else {}
            rows.append(row | {name: compared.get(name, np.nan) for name in _COMPARED})
    rows.sort(key=lambda row: (*_place(row, series), row["share"], row["part"] == "test"))
    return pd.DataFrame(rows)


def _is_share(model: str) -> bool:
    return fraction_of(base_of(model)[1]) is not None


def _place(row: dict[str, Any], series: Sequence[Series]) -> tuple[Any, ...]:
    targets = list(dict.fromkeys(one.target for one in series))
    return (targets.index(row["target"]), *labels.order(row["model"], row["level"]))


def curves_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return the learning curves of one target, a group a model; None if there are none."""
    rows = of_target(frame, target)
    if not len(rows):
        return None
    unit = labels.unit_after(target)
    decimals = labels.decimals_for(float(rows.loc[rows["part"] == "test", "rmse_mean"].min()))
    header = (
        *("Share", "n train", "n", "R² val", f"RMSE val{unit}", "R² test", f"RMSE test{unit}"),
        *(f"SD folds{unit}", f"SD seeds{unit}", f"ΔRMSE test{unit}", "95 % interval", "p test", "p folds"),
    )
    groups = []
    for (model, level), curve in rows.groupby(["model", "level"], sort=False):
        by_share = curve.groupby("share", sort=True)
        lines = tuple(
            _cells(int(str(share)), parts.set_index("part").to_dict("index"), decimals) for share, parts in by_share
        )
        groups.append((labels.series_label(str(model), str(level)), lines))
    runs, m = sorted(set(rows["runs"])), rows["comparisons"].max()
    caption = (
        "Share: of the training part, each within the next larger one; validation and test set stay whole. n train:"
        " mean over the runs; n: crystals in validation / test of a run. Mean ± sample standard deviation over"
        f" {labels.span(runs[0], runs[-1])} runs; SD of the test RMSE over the folds (seeds averaged first) and over"
        " the seeds of a fold. Δ: minus the same model on all of the training part; the interval is a paired"
        f" bootstrap's over the {labels.RESAMPLED[study.splits.strategy]}, p test that of random swaps, p folds that"
        f" of the corrected resampled t-test over folds, each after Holm's correction over"
        f" {labels.number(m, 0)} comparisons; bold: below {LEVEL}. Lineage {lineage_id}."
    )
    title = f"Learning curves: {labels.target_label(target)}"
    return Table(f"curves-{target}", title, header, tuple(groups), caption, text_columns=1)


def _cells(share: int, parts: dict[Any, dict[Any, Any]], decimals: int) -> Row:
    val, test = parts["val"], parts["test"]
    cells = [f"{share} %", labels.number(test["n_train"], 0), f"{val['n']} / {test['n']}"]
    for one in (val, test):
        cells.append(labels.spread(one["r2_mean"], one["r2_sd"], 2))
        cells.append(labels.spread(one["rmse_mean"], one["rmse_sd"], decimals))
    cells += [labels.number(test[f"rmse_sd_{name}"], decimals) for name in ("folds", "seeds")]
    cells += [
        labels.number(test["rmse_difference"], decimals),
        labels.interval(test["rmse_low"], test["rmse_high"], decimals),
        labels.number(test["p_holm"], 3),
        labels.number(test["val_p_holm"], 3),
    ]
    bold = {len(cells) - 2: test["p_holm"], len(cells) - 1: test["val_p_holm"]}
    return Row(tuple(cells), frozenset(k for k, p in bold.items() if p < LEVEL))
