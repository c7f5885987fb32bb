from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from rhoflow.config import Study
from rhoflow.report.comparisons import families_frame
from rhoflow.report.runs import Series, main_series
from rhoflow.report.stages import AVERAGE, stages_frame, stages_pairs, stages_table

EXACT = 1e-9


@pytest.fixture(scope="module")
def series(grid_series: list[Series]) -> list[Series]:
    return main_series(grid_series)


@pytest.fixture(scope="module")
def frame(series: list[Series]) -> pd.DataFrame:
    return stages_frame(series)


def test_nine_rows_and_three_parts_as_published(frame: pd.DataFrame, grid_study: Study) -> None:
    table = stages_table(frame, "k_vrh", study=grid_study, lineage_id="0123")
    assert table is not None
    groups = dict(table.groups)
    assert list(groups) == ["Formula", "Keywords", "All", "Baselines"]
    for name in ("Formula", "Keywords", "All"):
        assert [row.cells[0] for row in groups[name]] == ["Image", "Text", "Image+Text"]
    assert table.header == (
        *("Input", "n", "R² / RMSE [GPa] train", "R² / RMSE [GPa] val", "R² / RMSE [GPa] test"),
        *("Published train", "Published val", "Published test"),
    )
    assert groups["Formula"][2].cells[5:] == ("0.97 / 13.22", "0.87 / 27.98", "0.87 / 25.32")
    assert groups["All"][1].cells[7] == "0.75 / 35.11"
    assert groups["Baselines"][0].cells[5:] == ("–", "–", "–")


def test_cells_are_the_runs_scores(grid_root: Path, frame: pd.DataFrame) -> None:
    row = frame.set_index(["target", "model", "text", "part"]).loc["k_vrh", "fusion", "keywords", "val"]
    scores = []
    for fold in range(3):
        table = pd.read_parquet(grid_root / f"runs/fusion/k_vrh/keywords/fold{fold}/seed0/predictions.parquet")
        table = table[table["part"] == "val"]
        scores.append(r2_score(table["y_true"], table["y_pred"]))
    assert row["r2_mean"] == pytest.approx(np.mean(scores), rel=EXACT)
    assert row["r2_sd"] == pytest.approx(np.std(scores, ddof=1), rel=EXACT)
    assert row["runs"] == 3


def test_image_stands_at_every_level_with_the_same_numbers(frame: pd.DataFrame) -> None:
    rows = frame[(frame["model"] == "image") & (frame["part"] == "test") & (frame["target"] == "k_vrh")]
    assert rows["text"].tolist() == ["formula", "keywords", "all"]
    assert len(set(rows["r2_mean"])) == 1
    assert rows["published_rmse"].tolist() == [28.09, 28.09, 32.18]


def test_average_is_over_the_targets_run_by_run(grid_root: Path, frame: pd.DataFrame, grid_study: Study) -> None:
    row = frame.set_index(["target", "model", "text", "part"]).loc[AVERAGE, "text", "all", "test"]
    means = []
    for fold in range(3):
        scores = []
        for target in ("k_vrh", "formation_energy_per_atom"):
            table = pd.read_parquet(grid_root / f"runs/text/{target}/all/fold{fold}/seed0/predictions.parquet")
            table = table[table["part"] == "test"]
            scores.append(r2_score(table["y_true"], table["y_pred"]))
        means.append(np.mean(scores))
    assert row["r2_mean"] == pytest.approx(np.mean(means), rel=EXACT)
    assert row["r2_sd"] == pytest.approx(np.std(means, ddof=1), rel=EXACT)
    assert row["published_r2"] == 0.74  # Fig. 2d, All Text
    table = stages_table(frame, AVERAGE, study=grid_study, lineage_id="0123")
    assert table is not None
    assert table.header[2] == "R² train"
    assert "/" not in table.groups[0][1][0].cells[2]


def test_one_target_has_no_average(series: list[Series], grid_study: Study) -> None:
    alone = stages_frame([one for one in series if one.target == "k_vrh"])
    assert AVERAGE not in set(alone["target"])
    assert stages_table(alone, AVERAGE, study=grid_study, lineage_id="0123") is None


def test_family_is_both_inputs_against_each_alone(series: list[Series]) -> None:
    found = stages_pairs(series, "k_vrh")
    kinds = {(pair.model.model, pair.model.level, pair.reference.model, pair.reference.level) for pair in found}
    assert kinds == {
        ("fusion", level, *other)
        for level in ("formula", "keywords", "all")
        for other in (("image", "none"), ("text", level))
    }
    assert set(families_frame([found], resamples=100)["comparisons"]) == {6}
