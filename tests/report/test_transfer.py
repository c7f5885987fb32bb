from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import root_mean_squared_error

from rhoflow.config import Study
from rhoflow.report.runs import Run, Series, main_series
from rhoflow.report.significance import LEVEL, detectable_difference, holm
from rhoflow.report.transfer import STAGES, transfer_frame, transfer_sentence, transfer_table
from rhoflow.training.names import BASELINE_LEVELS, OPTIONAL_BASELINES
from rhoflow.training.stage import FROZEN

EXACT = 1e-9


@pytest.fixture(scope="module")
def series(grid_series: list[Series]) -> list[Series]:
    return main_series(grid_series)


@pytest.fixture(scope="module")
def frame(series: list[Series]) -> pd.DataFrame:
    return transfer_frame(series)


def errors(root: Path, kind: str, fold: int) -> tuple[float, float]:
    """RMSE on the validation part, and n_val / n_train."""
    table = pd.read_parquet(root / f"runs/{kind}/fold{fold}/seed0/predictions.parquet")
    val = table[table["part"] == "val"]
    return root_mean_squared_error(val["y_true"], val["y_pred"]), len(val) / (table["part"] == "train").sum()


def test_four_stages_as_published(frame: pd.DataFrame, grid_study: Study) -> None:
    rows = frame[(frame["target"] == "k_vrh") & (frame["part"] == "val") & (frame["group"] == "network")]
    assert rows["stage"].tolist() == [*list(STAGES)[:2], *list(STAGES)[2:] * 2, list(STAGES)[2]]
    assert rows["level"].tolist() == ["none"] * 2 + ["formula"] * 2 + ["keywords"] * 2 + ["all"]
    table = transfer_table(frame, "k_vrh", study=grid_study, lineage_id="0123")
    assert table is not None
    assert [name for name, _ in table.groups] == [
        "Images",
        *(f"Images and texts: {one}" for one in ("Single", "Key", "All")),
        "Baselines",
    ]
    assert table.header[2:8] == (*(f"RMSE [GPa] {part}" for part in ("Tr", "Te", "H")), "R² Tr", "R² Te", "R² H")


def test_first_stage_is_that_after_the_readout(grid_root: Path, frame: pd.DataFrame) -> None:
    """The made-up runs had half as large errors again before the last stage."""
    rows = frame[(frame["target"] == "k_vrh") & (frame["part"] == "val") & (frame["model"] == "image")]
    final = np.mean([errors(grid_root, "image/k_vrh/none", fold)[0] for fold in range(3)])
    assert rows["rmse_mean"].tolist() == pytest.approx([1.5 * final, final], rel=EXACT)


def test_steps_are_tested_over_folds(grid_root: Path, frame: pd.DataFrame) -> None:
    rows = frame[(frame["target"] == "k_vrh") & (frame["part"] == "val")].set_index(["level", "stage"])
    step = rows.loc["formula", "Pre-Trained (images+text)"]
    pairs = [
        (errors(grid_root, "fusion/k_vrh/formula", fold), errors(grid_root, "image/k_vrh/none", fold))
        for fold in range(3)
    ]
    d = [1.5 * fusion[0] - image[0] for fusion, image in pairs]
    t = np.mean(d) / np.sqrt((1 / 3 + np.mean([fusion[1] for fusion, _ in pairs])) * np.var(d, ddof=1))
    assert step["change"] == pytest.approx(np.mean(d), rel=EXACT)
    assert step["t"] == pytest.approx(t, rel=EXACT)
    assert step["p"] == pytest.approx(2 * scipy.stats.t.sf(abs(t), 2), rel=1e-8)
    assert rows["p_holm"].to_numpy() == pytest.approx(holm(rows["p"]), nan_ok=True)
    assert rows["p"].notna().sum() == 6
    assert np.isnan(rows.loc["none", "Pre-Trained (images)"]["change"])


def test_baselines_stand_below_without_a_step(grid_root: Path, frame: pd.DataFrame) -> None:
    rows = frame[(frame["target"] == "k_vrh") & (frame["group"] == "baseline")]
    assert set(rows["model"]) == set(BASELINE_LEVELS) - set(OPTIONAL_BASELINES)
    assert rows["change"].isna().all()
    row = rows.set_index(["stage", "part"]).loc["Text TF-IDF + ridge (all)", "val"]
    expected = [errors(grid_root, "tfidf-ridge/k_vrh/all", fold)[0] for fold in range(3)]
    assert row["rmse_mean"] == pytest.approx(np.mean(expected), rel=EXACT)


def frozen(one: Series) -> Series:
    """Give a series as it is where nothing is unfrozen: the last stage repeats the metrics of the first."""

    def without(run: Run) -> Run:
        training = run.metrics["training"]
        if training is None:
            return run
        first = training["stages"][0]
        last = {"name": "finetune", "epochs": 0, "best_epoch": 0, "stopped": FROZEN, "metrics": first["metrics"]}
        return dataclasses.replace(run, metrics={**run.metrics, "training": {**training, "stages": [first, last]}})

    return dataclasses.replace(one, runs=tuple(map(without, one.runs)))


def test_stage_that_was_left_out_is_no_row_and_no_test(
    grid_root: Path, series: list[Series], grid_study: Study
) -> None:
    rows = transfer_frame([frozen(one) for one in series if one.target == "k_vrh"])
    trained = rows[rows["group"] == "network"]
    assert set(trained["stage"]) == {"Pre-Trained (images)", "Pre-Trained (images+text)"}
    steps = rows[rows["p"].notna()].set_index("level")
    assert steps.index.tolist() == ["formula", "keywords", "all"]  # the image network's readout is what came before
    d = [
        1.5 * (errors(grid_root, "fusion/k_vrh/formula", k)[0] - errors(grid_root, "image/k_vrh/none", k)[0])
        for k in range(3)
    ]
    share = np.mean([errors(grid_root, "fusion/k_vrh/formula", k)[1] for k in range(3)])
    standard_error = np.sqrt((1 / 3 + share) * np.var(d, ddof=1))
    assert steps.loc["formula", "change"] == pytest.approx(np.mean(d), rel=EXACT)
    expected = detectable_difference(standard_error, level=LEVEL / 3, dof=2)
    assert steps.loc["formula", "detectable"] == pytest.approx(expected, rel=EXACT)
    table = transfer_table(rows, "k_vrh", study=grid_study, lineage_id="0")
    assert table is not None
    assert "Where it is missing, the backbone stayed frozen." in table.caption


def test_magnetisation_of_single_texts_has_published_numbers(series: list[Series]) -> None:
    moment = [dataclasses.replace(one, target="total_magnetization") for one in series if one.target == "k_vrh"]
    rows = transfer_frame(moment).set_index(["level", "stage", "part"])
    assert rows.loc[("formula", "Finetuning (images+text)", "test"), "published_r2"] == 0.57
    assert rows.loc[("none", "Pre-Trained (images)", "train"), "published_rmse"] == 0.08
    assert np.isnan(rows.loc[("keywords", "Finetuning (images+text)", "test"), "published_r2"])


def test_runs_without_metrics_of_their_stages_have_no_row(series: list[Series], grid_study: Study) -> None:
    def bare(run: Run) -> Run:
        training = run.metrics["training"] and {**run.metrics["training"], "stages": []}
        return dataclasses.replace(run, metrics={**run.metrics, "training": training})

    old = [dataclasses.replace(one, runs=tuple(map(bare, one.runs))) for one in series]
    assert len(transfer_frame(old)) == 0
    assert transfer_table(transfer_frame(old), "k_vrh", study=grid_study, lineage_id="0") is None


def test_sentence_names_what_changes_the_error(frame: pd.DataFrame) -> None:
    rows = frame[frame["target"] == "k_vrh"].assign(p_holm=1.0)
    nothing = transfer_sentence(rows, "k_vrh")
    assert nothing is not None
    assert "over 6 steps: no step changes it significantly (smallest detectable with 80 % power [GPa]: " in nothing
    step = (rows["stage"] == "Finetuning (image)") & (rows["part"] == "val")
    said = transfer_sentence(rows.assign(p_holm=np.where(step, 0.01, 1.0)), "k_vrh")
    assert said is not None
    assert "Finetuning (image) lowers it; the other steps do not change it significantly (smallest" in said
    untested = transfer_sentence(rows.assign(p_holm=np.nan, detectable=np.nan), "k_vrh")
    assert untested is not None
    assert untested.endswith("no step changes it significantly (too few for a test).")
