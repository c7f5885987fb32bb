from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from rhoflow.config import Study
from rhoflow.report.folds import errors_table, folds_frame
from rhoflow.report.results import pooled_scores, results_frame, spreads
from rhoflow.report.runs import Run, Series

EXACT = 1e-9
TARGET = "k_vrh"


@pytest.fixture(scope="module")
def two_seeds(grid_series: list[Series]) -> Series:
    """The image network with a second seed, which errs a little more the later the fold."""
    one = next(one for one in grid_series if (one.model, one.target) == ("image", TARGET))

    def other(run: Run) -> Run:
        table = run.predictions
        worse = table["y_true"] + (1.1 + 0.2 * run.key.fold) * (table["y_pred"] - table["y_true"])
        return replace(run, key=replace(run.key, seed=1), predictions=table.assign(y_pred=worse))

    runs = [again for run in one.runs for again in (run, other(run))]
    return replace(one, runs=tuple(runs))


def rmses(series: Series, part: str) -> np.ndarray:
    """RMSE by fold and seed, by scikit-learn."""
    values = [root_mean_squared_error(*run.part(part)[1:]) for run in series.runs]
    return np.array(values).reshape(3, 2)


def test_spreads_keep_folds_and_seeds_apart(two_seeds: Series) -> None:
    found, values = spreads(two_seeds, "test"), rmses(two_seeds, "test")
    assert found["rmse_sd_folds"] == pytest.approx(values.mean(axis=1).std(ddof=1), rel=EXACT)
    assert found["rmse_sd_seeds"] == pytest.approx(values.std(axis=1, ddof=1).mean(), rel=EXACT)


def test_one_seed_has_no_spread_over_seeds(grid_series: list[Series]) -> None:
    found = spreads(grid_series[0], "test")
    assert np.isnan([found[f"{metric}_sd_seeds"] for metric in ("r2", "rmse", "mae")]).all()
    assert np.isfinite([found[f"{metric}_sd_folds"] for metric in ("r2", "rmse", "mae")]).all()


def test_pooled_scores_are_of_all_folds_together_a_seed(two_seeds: Series) -> None:
    found, expected = pooled_scores(two_seeds), []
    for seed in (0, 1):
        tables = [run.predictions[run.predictions["part"] == "val"] for run in two_seeds.runs if run.key.seed == seed]
        table = pd.concat(tables)
        pair = table["y_true"], table["y_pred"]
        expected.append((r2_score(*pair), root_mean_squared_error(*pair), mean_absolute_error(*pair)))
    names = ("r2_pooled", "rmse_pooled", "mae_pooled")
    assert [found[name] for name in names] == pytest.approx(np.mean(expected, axis=0), rel=EXACT)


def test_folds_have_the_scores_of_their_runs(grid_root: Path, grid_series: list[Series]) -> None:
    frame = folds_frame(grid_series)
    assert not frame.duplicated(["target", "model", "level", "part", "fold"]).any()
    rows = frame.set_index(["target", "model", "level", "part", "fold"])
    row = rows.loc[TARGET, "clip", "all", "val", 7]
    table = pd.read_parquet(grid_root / f"runs/clip/{TARGET}/all/fold7/seed0/predictions.parquet")
    table = table[table["part"] == "val"]
    assert (row["repeat"], row["seeds"], row["n"]) == (2, 1, len(table))
    assert row["r2"] == pytest.approx(r2_score(table["y_true"], table["y_pred"]), rel=EXACT)
    assert row["rmse"] == pytest.approx(root_mean_squared_error(table["y_true"], table["y_pred"]), rel=EXACT)
    assert row["mae"] == pytest.approx(mean_absolute_error(table["y_true"], table["y_pred"]), rel=EXACT)
    assert (TARGET, "image-f50", "none", "test", 2) in rows.index  # variants too


def test_a_fold_is_the_mean_over_its_seeds(two_seeds: Series) -> None:
    frame = folds_frame([two_seeds])
    test, values = frame[frame["part"] == "test"], rmses(two_seeds, "test")
    assert test["rmse"].to_numpy() == pytest.approx(values.mean(axis=1), rel=EXACT)
    assert test["rmse_sd_seeds"].to_numpy() == pytest.approx(values.std(axis=1, ddof=1), rel=EXACT)
    assert set(test["seeds"]) == {2}


def test_table_of_errors_prints_units_pooled_and_both_spreads(two_seeds: Series, grid_study: Study) -> None:
    frame = results_frame([two_seeds], resamples=100)
    table = errors_table(frame, TARGET, study=grid_study, lineage_id="0123")
    assert table is not None
    assert table.header[2:8] == tuple(
        f"{metric} {part} [GPa]" for metric in ("RMSE", "MAE") for part in ("train", "val", "test")
    )
    row = table.groups[0][1][0].cells
    pooled, test = pooled_scores(two_seeds), spreads(two_seeds, "test")
    assert row[8:] == (
        f"{pooled['r2_pooled']:.2f}".replace("-", "\N{MINUS SIGN}"),
        *(f"{value:.1f}" for value in (pooled["rmse_pooled"], pooled["mae_pooled"])),
        *(f"{test[name]:.1f}" for name in ("rmse_sd_folds", "rmse_sd_seeds")),
    )
    assert "differences are tested in the table of comparisons" in table.caption
    assert "Lineage 0123." in table.caption
    assert errors_table(frame, "efermi", study=grid_study, lineage_id="0") is None
