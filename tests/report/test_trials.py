from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import r2_score, root_mean_squared_error

from rhoflow.errors import StudyError
from rhoflow.report.comparisons import comparisons_frame
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, main_series
from rhoflow.report.trials import trials_frame, trials_sentence, trials_table, trials_tests

EXACT = 1e-9
TARGET = "formation_energy_per_atom"


@pytest.fixture(scope="module")
def series(grid_series: list[Series]) -> list[Series]:
    return grid_series


@pytest.fixture(scope="module")
def frame(series: list[Series]) -> pd.DataFrame:
    return trials_frame(series)


def predictions(root: Path, kind: str, fold: int, part: str) -> pd.DataFrame:
    table = pd.read_parquet(root / f"runs/{kind}/fold{fold}/seed0/predictions.parquet")
    return table[table["part"] == part].set_index("material_id").sort_index()


def rows_of(frame: pd.DataFrame, **where: str) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_trial_is_the_folds_of_its_partition(grid_root: Path, frame: pd.DataFrame, part: str) -> None:
    row = rows_of(frame, target=TARGET, model="clip", level="all", trial="#2", part=part).iloc[0]
    tables = [predictions(grid_root, f"clip/{TARGET}/all", fold, part) for fold in (3, 4, 5)]
    r2 = [r2_score(table["y_true"], table["y_pred"]) for table in tables]
    rmse = [root_mean_squared_error(table["y_true"], table["y_pred"]) for table in tables]
    assert row["r2_mean"] == pytest.approx(np.mean(r2), rel=EXACT)
    assert row["rmse_sd"] == pytest.approx(np.std(rmse, ddof=1), rel=EXACT)
    assert (row["n"], row["n_max"]) == (min(map(len, tables)), max(map(len, tables)))


def test_mean_row_is_that_of_the_trials(frame: pd.DataFrame) -> None:
    rows = rows_of(frame, target=TARGET, model="clip", level="all", part="test").set_index("trial")
    trials = rows.loc[["#1", "#2", "#3"], "rmse_mean"]
    assert rows.loc["mean", "rmse_mean"] == pytest.approx(trials.mean(), rel=EXACT)
    assert rows.loc["mean", "rmse_sd"] == pytest.approx(trials.std(ddof=1), rel=EXACT)
    assert rows.loc["mean", "runs"] == 3


def test_blocks_rows_and_columns_are_the_papers(frame: pd.DataFrame) -> None:
    table = trials_table(frame, "all", lineage_id="0123")
    assert table is not None
    blocks = dict(table.groups)
    assert list(blocks)[:4] == ["#1", "#2", "#3", "Mean of the trials"]
    for name in list(blocks)[:4]:
        first = [row.cells[0] for row in blocks[name]]
        assert first == ["Val. folds average", "Test", "Published: Val. folds average", "Published: Test"]
    assert table.header[2:] == ("bulk modulus R²", "RMSE [GPa]", "formation energy R²", "RMSE [eV/atom]")
    assert blocks["Mean of the trials"][3].cells[2:] == ("0.83", "32.1", "0.76", "0.31")
    assert blocks["#3"][2].cells[2:] == ("0.92", "21.1", "0.77", "0.35")
    assert [row.cells[0] for row in blocks["Baselines, mean of the trials"][:2]] == [
        "Mean predictor: Val. folds average",
        "Mean predictor: Test",
    ]
    assert "Lineage 0123." in table.caption
    assert "3 of them" in table.caption


def test_the_paper_has_no_other_texts(frame: pd.DataFrame) -> None:
    assert rows_of(frame, level="formula")["published_r2"].isna().all()
    table = trials_table(frame, "formula", lineage_id="0123")
    assert table is not None
    assert not any("Published" in row.cells[0] for _, rows in table.groups for row in rows)
    assert "Mean of the trials, random weights" in dict(table.groups)  # k_vrh alone has twins


def test_baselines_have_the_same_trials(grid_root: Path, frame: pd.DataFrame) -> None:
    assert set(frame.loc[frame["group"] == "baseline", "trial"]) == {"#1", "#2", "#3", "mean"}
    assert not frame["model"].str.contains("f50|shuffled|fourier").any()
    row = rows_of(frame, target=TARGET, model="magpie-forest", trial="#3", part="test").iloc[0]
    tables = [predictions(grid_root, f"magpie-forest/{TARGET}/none", fold, "test") for fold in (6, 7, 8)]
    rmse = [root_mean_squared_error(table["y_true"], table["y_pred"]) for table in tables]
    assert row["rmse_mean"] == pytest.approx(np.mean(rmse), rel=EXACT)


def test_baseline_on_the_structure_stands_beside_every_level(series: list[Series]) -> None:
    forest = next(one for one in series if (one.model, one.target) == ("magpie-forest", TARGET))
    structure = replace(forest, model="chgnet-ridge", level="structure")
    table = trials_table(trials_frame([*series, structure]), "all", lineage_id="0")
    assert table is not None
    names = [row.cells[0] for row in dict(table.groups)["Baselines, mean of the trials"]]
    assert "CHGNet embedding + ridge: Test" in names


@pytest.mark.parametrize("reference", ["mean/none", "magpie-forest/none", "quantiles-ridge/density"])
def test_t_test_goes_over_all_folds_of_all_partitions(grid_root: Path, series: list[Series], reference: str) -> None:
    model, level = reference.split("/")
    row = rows_of(trials_tests(series), target=TARGET, level="all", reference=model).iloc[0]
    d, shares = [], []
    for fold in range(9):
        ours = predictions(grid_root, f"clip/{TARGET}/all", fold, "val")
        theirs = predictions(grid_root, f"{model}/{TARGET}/{level}", fold, "val")
        train = predictions(grid_root, f"clip/{TARGET}/all", fold, "train")
        d.append(
            root_mean_squared_error(ours["y_true"], ours["y_pred"])
            - root_mean_squared_error(theirs["y_true"], theirs["y_pred"])
        )
        shares.append(len(ours) / len(train))
    t = np.mean(d) / np.sqrt((1 / 9 + np.mean(shares)) * np.var(d, ddof=1))
    assert (row["folds"], row["repeats"], row["val_dof"]) == (9, 3, 8)
    assert row["val_t"] == pytest.approx(t, rel=EXACT)
    assert row["val_p"] == pytest.approx(2 * scipy.stats.t.sf(abs(t), 8), rel=1e-8)


def test_twin_is_compared_over_all_partitions_too(series: list[Series]) -> None:
    tests = trials_tests(series)
    twins = rows_of(tests, reference="clip-random")
    assert twins["level"].tolist() == ["formula"]
    assert twins["folds"].tolist() == [9]
    # Three levels against the mean and three references, one level against its twin.
    assert set(rows_of(tests, target="k_vrh")["comparisons"]) == {13}


def test_sentence_counts_folds_and_partitions(series: list[Series]) -> None:
    said = trials_sentence(trials_tests(series), TARGET)
    assert said is not None
    assert said.startswith("By RMSE over 9 validation folds of 3 partitions, retraining included")
    assert trials_sentence(trials_tests(series), "efermi") is None


def test_partitions_have_test_sets_of_their_own(series: list[Series]) -> None:
    clip = next(one for one in series if one.model == "clip")
    with pytest.raises(StudyError, match="test set is not that of"):
        clip.common_test()
    sizes = [set(clip.of_repeat(repeat).common_test()[0].tolist()) for repeat in clip.repeats]
    assert not sizes[0] & sizes[1]


def test_others_meet_clip_on_the_test_set_of_the_first_partition(grid_root: Path, series: list[Series]) -> None:
    frame = comparisons_frame(series, resamples=100)
    row = rows_of(frame, target=TARGET, model="clip", level="all", reference="magpie-forest").iloc[0]
    d = []
    for fold in range(3):
        ours = predictions(grid_root, f"clip/{TARGET}/all", fold, "test")
        theirs = predictions(grid_root, f"magpie-forest/{TARGET}/none", fold, "test")
        assert ours.index.tolist() == theirs.index.tolist()
        d.append(
            root_mean_squared_error(ours["y_true"], ours["y_pred"])
            - root_mean_squared_error(theirs["y_true"], theirs["y_pred"])
        )
    assert row["rmse_difference"] == pytest.approx(np.mean(d), rel=EXACT)
    assert (row["runs"], row["folds"]) == (3, 9)
    twin = rows_of(frame, model="clip", reference="clip-random").iloc[0]
    assert (twin["runs"], twin["folds"]) == (3, 9)


def test_results_are_those_of_the_first_partition(series: list[Series]) -> None:
    frame = results_frame(main_series(series), resamples=100)
    assert set(frame["runs"]) == {3}
    assert set(rows_of(frame, model="clip")["runs"]) == {3}
    assert {model for model in frame["model"] if "-" in model and model.split("-")[0] in ("image", "clip")} == {
        "image-random",
        "clip-random",
    }
