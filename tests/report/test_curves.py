from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import root_mean_squared_error

from rhoflow.config import Study
from rhoflow.report.curves import curve_pairs, curves_frame, curves_table, curves_tests
from rhoflow.report.plots_results import curves_figure
from rhoflow.report.runs import Series

EXACT = 1e-9


@pytest.fixture(scope="module")
def series(grid_series: list[Series]) -> list[Series]:
    return grid_series


@pytest.fixture(scope="module")
def frame(series: list[Series], grid_study: Study) -> pd.DataFrame:
    return curves_frame(series, curves_tests(series, study=grid_study))


def test_networks_and_baselines_have_curves(frame: pd.DataFrame) -> None:
    kinds = set(zip(frame["model"], frame["level"], strict=True))
    assert {("image", "none"), ("clip", "formula"), ("magpie-forest", "none"), ("tfidf-ridge", "formula")} <= kinds
    assert ("text", "formula") not in kinds  # ablation.models leaves it out
    for _, curve in frame[frame["part"] == "test"].groupby(["model", "level"]):
        assert curve["share"].tolist() == [50, 100]
        assert curve["n_train"].is_monotonic_increasing
    assert set(frame["target"]) == {"k_vrh"}


def test_points_are_those_of_the_prediction_files(grid_root: Path, frame: pd.DataFrame) -> None:
    row = frame.set_index(["model", "level", "share", "part"]).loc["image", "none", 50, "test"]
    errors, sizes = [], []
    for fold in range(3):
        table = pd.read_parquet(grid_root / f"runs/image-f50/k_vrh/none/fold{fold}/seed0/predictions.parquet")
        test = table[table["part"] == "test"]
        errors.append(root_mean_squared_error(test["y_true"], test["y_pred"]))
        sizes.append((table["part"] == "train").sum())
    assert row["rmse_mean"] == pytest.approx(np.mean(errors), rel=EXACT)
    assert row["rmse_sd_folds"] == pytest.approx(np.std(errors, ddof=1), rel=EXACT)
    assert np.isnan(row["rmse_sd_seeds"])
    assert row["n_train"] == pytest.approx(np.mean(sizes))


def test_spread_over_seeds_is_within_a_fold(series: list[Series], grid_study: Study) -> None:
    ours = [one for one in series if one.model in ("image", "image-f50") and one.target == "k_vrh"]
    doubled = []
    for one in ours:
        again = [
            dataclasses.replace(
                run,
                key=dataclasses.replace(run.key, seed=1),
                predictions=run.predictions.assign(y_pred=run.predictions["y_true"] + 10.0),
            )
            for run in one.runs
        ]
        doubled.append(dataclasses.replace(one, runs=(*one.runs, *again)))
    rows = curves_frame(doubled, curves_tests(doubled, study=grid_study))
    row = rows.set_index(["share", "part"]).loc[100, "test"]
    first = [root_mean_squared_error(*run.part("test")[1:]) for run in ours[0].runs]
    assert row["rmse_sd_seeds"] == pytest.approx(np.mean([np.std([one, 10.0], ddof=1) for one in first]), rel=EXACT)
    means = [(one + 10.0) / 2 for one in first]
    assert row["rmse_sd_folds"] == pytest.approx(np.std(means, ddof=1), rel=EXACT)


def test_every_share_is_compared_with_the_whole(series: list[Series], frame: pd.DataFrame) -> None:
    pairs = curve_pairs(series, "k_vrh")
    assert all(pair.model.model == f"{pair.reference.model}-f50" for pair in pairs)
    rows = frame[frame["rmse_difference"].notna()]
    assert len(rows) == len(pairs)
    assert set(zip(rows["share"], rows["part"], strict=True)) == {(50, "test")}
    assert set(rows["comparisons"]) == {len(pairs)}


def test_table_has_a_group_a_model(frame: pd.DataFrame, grid_study: Study) -> None:
    table = curves_table(frame, "k_vrh", study=grid_study, lineage_id="0123")
    assert table is not None
    assert [name for name, _ in table.groups][:2] == ["Image network", "CLIP (formula)"]
    assert [row.cells[0] for row in table.groups[0][1]] == ["50 %", "100 %"]
    assert "Lineage 0123." in table.caption
    assert curves_table(frame, "efermi", study=grid_study, lineage_id="0") is None


def test_lines_are_the_points_of_the_table(frame: pd.DataFrame) -> None:
    figure = curves_figure(frame, "k_vrh")
    validation, test = figure.axes
    rows = frame[(frame["model"] == "image") & (frame["part"] == "test")].sort_values("share")
    line = test.containers[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), rows["n_train"])
    np.testing.assert_allclose(line.get_ydata(), rows["rmse_mean"])
    assert len(validation.containers) == frame.groupby(["model", "level"]).ngroups
    assert validation.get_ylabel() == "RMSE [GPa]"
