"""Image and text together at each text level, laid out as Tables 6 and 12 of arXiv 2401.09301v1.

The paper prints its RMSEs in eV, GPa and mu_B, but of targets scaled to 0..1 (an inference from their size, see
published.csv): beside them stand ours over the range of the training targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.config import Study
from rhoflow.dataset.names import PARTS, TEXT_LEVELS
from rhoflow.report import labels
from rhoflow.report.comparisons import Pair, pair_of
from rhoflow.report.published import SOURCE_V1, other_fusion, published_cell
from rhoflow.report.render import Row, Table
from rhoflow.report.results import part_scores
from rhoflow.report.runs import Run, Series
from rhoflow.report.statistics import mean_sd, or_nan
from rhoflow.training.evaluate import root_mean_squared_error

# Its names for targets, text levels and parts; Table 12 calls its longest texts Most.
ROWS = {"band_gap": "E_BG", "formation_energy_per_atom": "E_F", "total_magnetization": "M_tot", "k_vrh": "B"}
TEXTS = {"formula": "Single", "keywords": "Key", "all": "All"}
SPLITS = {"train": "train", "val": "test", "test": "holdout"}
SHORT = {"train": "Tr", "val": "Te", "test": "H"}
ENCODERS = {"Table 6": "RoBERTa", "Table 12": "ALBERT"}


def levels_frame(series: Sequence[Series]) -> pd.DataFrame:
    """One row a target, text level, part, and model: image and text together, and baselines beside them.

    Parameters
    ----------
    series : sequence of Series
        `rhoflow.report.runs.main_series`.

    Returns
    -------
    DataFrame
        Columns of `rhoflow.report.results.part_scores`; ``rmse_scaled_mean, rmse_scaled_sd``: over the range of the
        training targets; of the networks ``table6_r2, table6_rmse, table12_r2, table12_rmse``: published, the RMSE
        on that scale.
    """
    rows = []
    for one in series:
        if one.model == "fusion" or labels.group_of(one.model) == "baseline":
            rows += [part_scores(one, part) | scaled_errors(one, part) | _published(one, part) for part in PARTS]
    return pd.DataFrame(rows)


def scaled_errors(series: Series, part: str) -> dict[str, float]:
    """RMSE over the range of the training targets: ``rmse_scaled_mean, rmse_scaled_sd`` over the runs."""
    shares = [or_nan(root_mean_squared_error(*run.part(part)[1:])) / training_range(run) for run in series.runs]
    return dict(zip(("rmse_scaled_mean", "rmse_scaled_sd"), mean_sd(shares), strict=True))


def training_range(run: Run) -> float:
    """Range of the training targets."""
    return float(np.ptp(run.part("train")[1]))


def _published(series: Series, part: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for table, key in (("Table 6", "table6"), ("Table 12", "table12")):
        text = TEXTS.get(series.level, "") if series.model == "fusion" else ""
        column = "Most" if (table, text) == ("Table 12", "All") else text
        cell = published_cell("multimodal-v1", table, ROWS.get(series.target, ""), column, SPLITS[part])
        found |= {f"{key}_{metric}": value for metric, value in cell.items()}
    return found


def levels_pairs(series: Sequence[Series], target: str) -> list[Pair]:
    """Image and text with longer texts against the same with the shortest ones of one target."""
    ours = {one.level: one for one in series if (one.model, one.target) == ("fusion", target)}
    first, *others = [level for level in TEXT_LEVELS if level in ours] or [""]
    found = [pair_of(ours[level], ours[first]) for level in others]
    return [pair for pair in found if 0 in pair.repeats]


def levels_table(frame: pd.DataFrame, *, study: Study, lineage_id: str) -> Table | None:
    """Return all targets below each other, the text levels side by side; None without a fusion network."""
    ours = frame[frame["model"] == "fusion"] if len(frame) else frame
    if not len(ours):
        return None
    levels = [level for level in TEXTS if level in set(ours["level"])]
    header = ("", *(f"{TEXTS[level]} {SHORT[part]}" for level in levels for part in PARTS))
    groups = []
    for target in dict.fromkeys(ours["target"]):
        title = labels.axis_label(target)
        rows = frame[frame["target"] == target]
        groups.append((title[0].upper() + title[1:], tuple(_target_rows(rows, levels))))
    runs = sorted(set(ours["runs"]))
    caption = (
        f"{', '.join(f'{TEXTS[level]}: texts of the level {level}' for level in levels)}; Tr: training, Te:"
        " validation (the paper's testing), H: our test set (its holdout). n: crystals of a run. Image+text: mean ±"
        f" sample standard deviation over {labels.span(runs[0], runs[-1])} runs (folds × seeds). RMSE, scaled: over"
        f" the range of the training targets. Published: {SOURCE_V1}, as printed, their RMSE on that scale as far as"
        f" can be told; other crystals and splits, so this is no contest.{other_fusion(study, 'scalar')} Table 12"
        f" calls All Most. Lineage {lineage_id}."
    )
    return Table("v1-levels", "Image and text by text level", header, tuple(groups), caption, text_columns=1)


def _target_rows(rows: pd.DataFrame, levels: Sequence[str]) -> Iterator[Row]:
    fusion = _by_place(rows[rows["model"] == "fusion"])
    places = [(level, part) for level in levels for part in PARTS]
    tested = (rows["model"] == "fusion") & (rows["part"] == "test")
    decimals = labels.decimals_for(float(rows.loc[tested, "rmse_mean"].min()))

    def line(name: str, cells: dict[tuple[str, str], dict[Any, Any]], column: str, digits: int) -> Row:
        values = [cells.get(place, {}) for place in places]
        numbers = [
            labels.spread(one.get(f"{column}_mean", np.nan), one.get(f"{column}_sd", np.nan), digits)
            for one in values
        ]
        return Row((name, *numbers))

    sizes = [fusion.get(place) for place in places]
    yield Row(("n", *(labels.span(one["n"], one["n_max"]) if one else labels.DASH for one in sizes)))
    yield line("RMSE", fusion, "rmse", decimals)
    yield line("RMSE, scaled", fusion, "rmse_scaled", 2)
    yield line("R²", fusion, "r2", 2)
    for table, key in (("Table 6", "table6"), ("Table 12", "table12")):
        for metric, name in (("rmse", "RMSE, scaled"), ("r2", "R²")):
            printed = [labels.printed(fusion.get(place, {}).get(f"{key}_{metric}", np.nan)) for place in places]
            if set(printed) != {labels.DASH}:
                yield Row((f"Published, {table} ({ENCODERS[table]}): {name}", *printed))
    for model in labels.BASELINES:
        beside = rows[rows["model"] == model]
        cells = _by_place(beside)
        if not beside["level"].isin(TEXT_LEVELS).any():  # it reads no text: the same numbers at every level
            by_part = {row["part"]: row for row in beside.to_dict("records")}
            cells = {(level, part): by_part[part] for level, part in places if part in by_part}
        if cells:
            yield line(f"{labels.model_label(model)}: RMSE", cells, "rmse", decimals)
            yield line(f"{labels.model_label(model)}: R²", cells, "r2", 2)


def _by_place(rows: pd.DataFrame) -> dict[tuple[str, str], dict[Any, Any]]:
    return {(row["level"], row["part"]): row for row in rows.to_dict("records")}
