"""Scores of every fold, and the errors of a study with how they spread over folds and over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from rhoflow.config import Study
from rhoflow.dataset.names import PARTS
from rhoflow.report import labels
from rhoflow.report.render import Row, Table
from rhoflow.report.results import METRICS, fold_scores, of_target
from rhoflow.report.runs import Series
from rhoflow.report.statistics import mean_sd

_ERRORS = ("rmse", "mae")


def folds_frame(series: Iterable[Series]) -> pd.DataFrame:
    """One row a target, model, level, part and fold, of all variants and of all repeats of the splits.

    Parameters
    ----------
    series : iterable of Series
        `rhoflow.report.runs.read_series`.

    Returns
    -------
    DataFrame
        ``target, unit, group, model, level, part, repeat, fold`` (numbered over the repeats); ``seeds``, ``n``
        (materials, of the seed with the fewest); ``r2`` (dimensionless), ``rmse, mae`` (`unit`): mean over the seeds;
        ``<metric>_sd_seeds``: their sample standard deviation, NaN for one.
    """
    rows: list[dict[str, Any]] = []
    for one in series:
        for part in PARTS:
            for fold, scores in fold_scores(one, part).items():
                runs = [run for run in one.runs if run.key.fold == fold]
                row = {"target": one.target, "unit": runs[0].metrics["unit"], "group": labels.group_of(one.model)}
                row |= {"model": one.model, "level": one.level, "part": part}
                row |= {"repeat": fold // one.folds if one.folds else 0, "fold": fold, "seeds": len(runs)}
                row["n"] = min(len(run.part(part)[0]) for run in runs)
                for metric in METRICS:
                    row[metric], row[f"{metric}_sd_seeds"] = mean_sd([score[metric] for score in scores])
                rows.append(row)
    return pd.DataFrame(rows)


def errors_table(results: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table | None:
    """Return RMSE and MAE of one target, of each run and pooled, with their spreads; None without runs.

    Parameters
    ----------
    results : DataFrame
        `rhoflow.report.results.results_frame`.
    """
    rows = of_target(results, target)
    if not len(rows):
        return None
    unit = labels.unit_after(target)
    decimals = labels.decimals_for(float(rows.loc[rows["part"] == "test", "mae_mean"].min()))
    header = (
        *("Model", "Text", *(f"{metric.upper()} {part}{unit}" for metric in _ERRORS for part in PARTS)),
        *("R² pooled", f"RMSE pooled{unit}", f"MAE pooled{unit}", f"SD folds{unit}", f"SD seeds{unit}"),
    )
    groups = []
    for group, name in labels.GROUPS.items():
        of_group = rows[rows["group"] == group].groupby(["model", "level"], sort=False)
        lines = tuple(
            _cells(str(model), str(level), one.set_index("part").to_dict("index"), decimals)
            for (model, level), one in of_group
        )
        groups += [(name, lines)] if lines else []
    caption = (
        f"Mean ± sample standard deviation over the runs ({study.splits.folds} folds ×"
        f" {labels.counted(len(study.seeds), 'seed')}). Pooled: the validation predictions of all folds together,"
        " mean over seeds. SD of the test RMSE: over the folds, seeds averaged first, and over the seeds of a fold,"
        f" mean over folds; a dash where there is one seed. Nothing is tested here: {labels.TESTED}. Lineage"
        f" {lineage_id}."
    )
    title = f"Errors: {labels.target_label(target)}"
    return Table(f"errors-{target}", title, header, tuple(groups), caption, text_columns=2)


def _cells(model: str, level: str, parts: dict[Any, dict[Any, Any]], decimals: int) -> Row:
    val, test = parts["val"], parts["test"]
    cells = [labels.model_label(model), labels.level_cell(level)]
    for metric in _ERRORS:
        cells += [
            labels.spread(parts[part][f"{metric}_mean"], parts[part][f"{metric}_sd"], decimals) for part in PARTS
        ]
    cells.append(labels.number(val["r2_pooled"], 2))
    cells += [labels.number(val[f"{metric}_pooled"], decimals) for metric in _ERRORS]
    return Row((*cells, *(labels.number(test[f"rmse_sd_{name}"], decimals) for name in ("folds", "seeds"))))
