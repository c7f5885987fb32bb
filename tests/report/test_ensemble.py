from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from rhoflow.config import Study, load_study
from rhoflow.report.ensemble import (
    clopper_pearson,
    conformal_half_width,
    ensemble_frame,
    ensemble_sentence,
    ensemble_table,
    ensemble_tests,
    out_of_fold,
    together,
)
from rhoflow.report.runs import Series, main_series, read_series

EXACT = 1e-10


@pytest.fixture(scope="module")
def frame(root: Path, study: Study) -> pd.DataFrame:
    return ensemble_frame(read_series(root, study), resamples=200)


def predictions(root: Path, part: str) -> list[pd.DataFrame]:
    files = sorted(root.glob("runs/fusion/k_vrh/keywords/fold*/seed0/predictions.parquet"))
    tables = [pd.read_parquet(file).set_index("material_id").sort_index() for file in files]
    return [table[table["part"] == part] for table in tables]


def test_ensemble_is_the_mean_of_the_runs(root: Path, frame: pd.DataFrame) -> None:
    tables = predictions(root, "test")
    y_true, members = tables[0]["y_true"], np.array([table["y_pred"] for table in tables])
    row = frame.set_index(["target", "model", "level"]).loc["k_vrh", "fusion", "keywords"]
    mean = members.mean(axis=0)
    assert (row["members"], row["n"]) == (3, len(y_true))
    assert row["r2"] == pytest.approx(r2_score(y_true, mean), rel=EXACT)
    assert row["rmse"] == pytest.approx(root_mean_squared_error(y_true, mean), rel=EXACT)
    assert row["mae"] == pytest.approx(mean_absolute_error(y_true, mean), rel=EXACT)
    assert row["spread"] == pytest.approx(np.mean(np.std(members, axis=0, ddof=1)), rel=EXACT)


def test_ensemble_errs_no_more_than_its_members_on_average(root: Path, frame: pd.DataFrame) -> None:
    """Jensen's inequality, for every model."""
    for one in read_series(root, load_study({"study": "made-up"})):
        _, y_true, members = one.common_test()
        kind = (frame["target"] == one.target) & (frame["model"] == one.model) & (frame["level"] == one.level)
        assert frame[kind]["rmse"].item() <= np.mean([root_mean_squared_error(y_true, y) for y in members]) + EXACT


def test_interval_is_calibrated_on_each_validation_crystal_once(root: Path, frame: pd.DataFrame) -> None:
    together = pd.concat(predictions(root, "val"))
    errors = np.sort(np.abs(together["y_pred"] - together["y_true"]))
    row = frame.set_index(["target", "model", "level"]).loc["k_vrh", "fusion", "keywords"]
    assert row["n_calibration"] == len(errors) == together.index.nunique()
    assert row["half_width"] == errors[math.ceil(0.9 * (len(errors) + 1)) - 1]
    tables = predictions(root, "test")
    off = np.abs(np.mean([table["y_pred"] for table in tables], axis=0) - tables[0]["y_true"])
    assert row["covered"] == (off <= row["half_width"]).sum()
    assert row["coverage"] == row["covered"] / row["n"]


def test_seeds_of_a_fold_are_averaged_before_the_error(root: Path, study: Study) -> None:
    one = next(one for one in read_series(root, study) if one.model == "image")
    table = one.runs[0].predictions
    opposite = table.assign(y_pred=2 * table["y_true"] - table["y_pred"])
    runs = [type(one.runs[0])(run.key, run.metrics, run.predictions, None) for run in one.runs[:1]]
    mirrored = type(runs[0])(runs[0].key, runs[0].metrics, opposite, None)
    both = type(one)(one.model, one.target, one.level, (runs[0], mirrored))
    assert out_of_fold(both) == pytest.approx(0.0, abs=1e-9)
    assert out_of_fold(type(one)(one.model, one.target, one.level, (mirrored,))).max() > 1.0


@pytest.mark.parametrize(
    ("n", "rank"), [(9, 9), (10, 10), (19, 18), (20, 19), (99, 90)], ids=["9", "10", "19", "20", "99"]
)
def test_half_width_is_the_right_order_statistic(n: int, rank: int) -> None:
    residuals = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert conformal_half_width(residuals) == rank


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_for_an_interval(n: int) -> None:
    assert conformal_half_width(np.arange(float(n))) == math.inf


def test_conformal_interval_covers_what_it_promises() -> None:
    """4000 times 39 + 1 exchangeable errors: covered in exactly 36 / 40 of the cases, +- three standard errors."""
    errors = np.random.default_rng(3).standard_t(3, (4000, 40)) ** 2
    covered = [row[-1] <= conformal_half_width(row[:-1]) for row in errors]
    assert np.mean(covered) == pytest.approx(36 / 40, abs=0.015)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), share=st.floats(0, 1))
def test_clopper_pearson_ends_where_the_tails_hold_two_and_a_half_percent(n: int, share: float) -> None:
    hits = round(share * n)
    interval = clopper_pearson(hits, n)
    if hits > 0:
        assert scipy.stats.binom.sf(hits - 1, n, interval.low) == pytest.approx(0.025, abs=1e-6)
    if hits < n:
        assert scipy.stats.binom.cdf(hits, n, interval.high) == pytest.approx(0.025, abs=1e-6)
    assert interval.low <= hits / n <= interval.high


def test_clopper_pearson_of_all_has_the_closed_form() -> None:
    """All of n: the lower end is 0.025^(1/n), the upper one 1."""
    interval = clopper_pearson(16, 16)
    assert (interval.low, interval.high) == pytest.approx((0.025 ** (1 / 16), 1.0), abs=EXACT)
    assert math.isnan(clopper_pearson(0, 0).low)


def test_table_shows_runs_n_interval_and_coverage(frame: pd.DataFrame, study: Study) -> None:
    table = ensemble_table(frame, "k_vrh", study=study, lineage_id="0123")
    assert table is not None
    assert [name for name, _ in table.groups] == ["Networks", "Baselines"]
    assert sum(len(rows) for _, rows in table.groups) == 15
    row = frame.set_index(["target", "model", "level"]).loc["k_vrh", "fusion", "keywords"]
    (cells,) = [
        row.cells for _, rows in table.groups for row in rows if row.cells[:2] == ("Fusion network", "keywords")
    ]
    assert cells[2:4] == ("3", "16")
    assert cells[4] == f"{row['r2']:.2f}".replace("-", "−")
    assert cells[8] == f"± {row['half_width']:.1f}"
    assert cells[10] == f"{row['covered']} of 16"
    assert "Lineage 0123." in table.caption
    assert "as if crystals of one group" not in table.caption
    assert ensemble_table(frame, "efermi", study=study, lineage_id="0123") is None


def test_without_test_crystals_there_are_dashes(untested: list[Series], study: Study) -> None:
    table = ensemble_table(ensemble_frame(untested, resamples=50), "k_vrh", study=study, lineage_id="0123")
    assert table is not None
    rows = [row.cells for _, rows in table.groups for row in rows]
    assert [row[2:8] for row in rows] == [("3", "0", "–", "–", "–", "–")] * 2
    assert all(row[8].startswith("± ") for row in rows)  # calibrated on the validation parts


@pytest.fixture(scope="module")
def tests(grid_series: list[Series]) -> pd.DataFrame:
    return ensemble_tests(main_series(grid_series), resamples=200)


def test_ensembles_are_compared_with_ensembles(grid_series: list[Series], tests: pd.DataFrame) -> None:
    row = tests.set_index(["target", "model", "level", "reference"]).loc[
        "k_vrh", "fusion", "keywords", "pixels-ridge"
    ]
    kinds = [("fusion", "keywords"), ("pixels-ridge", "none")]
    rmse = []
    for model, level in kinds:
        one = next(
            one for one in main_series(grid_series) if (one.target, one.model, one.level) == ("k_vrh", model, level)
        )
        _, y_true, members = one.common_test()
        rmse.append(root_mean_squared_error(y_true, members.mean(axis=0)))
    assert row["rmse_difference"] == pytest.approx(rmse[0] - rmse[1], rel=EXACT)
    assert row["runs"] == 1
    assert 0 < row["p"] <= row["p_holm"] <= 1
    assert row["rmse_low"] < row["rmse_difference"] < row["rmse_high"]
    assert not any(name.startswith("val_") for name in tests.columns)


def test_a_models_own_ensemble_differs_from_it_in_nothing(grid_series: list[Series]) -> None:
    one = next(one for one in main_series(grid_series) if one.model == "magpie-forest")
    same = dataclasses.replace(one, model="image", runs=one.runs)
    (row,) = ensemble_tests([same, one], resamples=200).to_dict("records")
    assert (row["rmse_difference"], row["p"]) == (0.0, 1.0)
    assert len(together(one).runs) == 1


def test_sentence_says_what_is_significant_among_the_ensembles(tests: pd.DataFrame) -> None:
    better = (tests["model"] == "fusion") & (tests["level"] == "all") & (tests["reference"] == "pixels-ridge")
    told = tests.assign(p_holm=np.where(better, 0.001, 1.0), rmse_difference=-5.0)
    said = ensemble_sentence(told, "k_vrh")
    assert said is not None
    assert "Fusion network (all) is better than Image pixels + ridge; the other" in said
    assert f"over {(tests['target'] == 'k_vrh').sum()} comparisons with the references" in said
    none = ensemble_sentence(tests.assign(p_holm=1.0), "k_vrh")
    assert none is not None
    assert "no difference is significant" in none
    assert ensemble_sentence(tests, "efermi") is None
