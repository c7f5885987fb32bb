from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from rhoflow.report import statistics
from rhoflow.report.statistics import bootstrap_difference, bootstrap_interval, mean_sd, resampled_scores

EXACT = 1e-12
MONTE_CARLO = 0.03  # two bootstraps of 4000 resamples with other random numbers
ORACLES = {"r2": r2_score, "rmse": root_mean_squared_error, "mae": mean_absolute_error}


def data(n: int = 20, runs: int = 3, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y_true = rng.normal(100, 40, n)
    return y_true, y_true + rng.normal(0, 15, (runs, n))


def test_mean_sd_is_numpys_with_divisor_n_minus_1() -> None:
    values = [0.81, 0.93, 0.77]
    assert mean_sd(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)), abs=EXACT)


def test_mean_sd_leaves_out_undefined_scores() -> None:
    assert mean_sd([0.5, float("nan"), 0.7]) == mean_sd([0.5, 0.7])


@pytest.mark.parametrize(("values", "mean"), [([0.4], 0.4), ([], float("nan"))], ids=["one run", "no run"])
def test_spread_of_fewer_than_two_runs_is_undefined(values: list[float], mean: float) -> None:
    assert mean_sd(values) == pytest.approx((mean, float("nan")), nan_ok=True)


@pytest.mark.parametrize("metric", ["r2", "rmse", "mae"])
def test_resampled_scores_are_scikit_learns_on_the_drawn_materials(metric: str) -> None:
    y_true, y_pred = data()
    found = resampled_scores(y_true, y_pred, metric=metric, resamples=50, seed=3)
    counts = np.random.default_rng(3).multinomial(len(y_true), np.full(len(y_true), 1 / len(y_true)), size=50)
    expected = []
    for row in counts:
        drawn = np.repeat(np.arange(len(y_true)), row)
        expected.append(np.mean([ORACLES[metric](y_true[drawn], one[drawn]) for one in y_pred]))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_resamples_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    y_true, y_pred = data()
    whole = resampled_scores(y_true, y_pred, metric="r2", resamples=100)
    monkeypatch.setattr(statistics, "_BLOCK", 7 * len(y_true))
    np.testing.assert_allclose(resampled_scores(y_true, y_pred, metric="r2", resamples=100), whole, rtol=1e-12)


@pytest.mark.parametrize("metric", ["r2", "rmse"])
def test_interval_agrees_with_scipy(metric: str) -> None:
    y_true, y_pred = data(n=40)

    def statistic(rows: np.ndarray, axis: int) -> np.ndarray:
        squares = np.mean((y_pred[:, rows] - y_true[rows]) ** 2, axis=-1)
        return np.mean(1 - squares / np.var(y_true[rows], axis=-1) if metric == "r2" else np.sqrt(squares), axis=0)

    theirs = scipy.stats.bootstrap(
        (np.arange(len(y_true)),), statistic, n_resamples=4000, vectorized=True, method="percentile", rng=5
    ).confidence_interval
    ours = bootstrap_interval(y_true, y_pred, metric=metric, resamples=4000)
    scale = 1.0 if metric == "r2" else 15.0  # the noise of the data
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=MONTE_CARLO * scale)


def test_interval_holds_the_score_itself() -> None:
    y_true, y_pred = data()
    assert np.mean([r2_score(y_true, one) for one in y_pred]) in bootstrap_interval(
        y_true, y_pred, metric="r2", resamples=500
    )


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-1e4, 1e4), scale=st.floats(0.01, 100))
def test_r2_interval_knows_no_unit(shift: float, scale: float) -> None:
    y_true, y_pred = data()
    plain = bootstrap_interval(y_true, y_pred, metric="r2", resamples=100)
    other = bootstrap_interval(shift + scale * y_true, shift + scale * y_pred, metric="r2", resamples=100)
    assert (other.low, other.high) == pytest.approx((plain.low, plain.high), abs=1e-6)


def test_exact_predictions_have_the_interval_one_to_one() -> None:
    y_true, _ = data()
    interval = bootstrap_interval(y_true, np.array([y_true]), metric="r2", resamples=100)
    assert (interval.low, interval.high) == (1.0, 1.0)


@pytest.mark.parametrize(
    "y_true", [np.array([1.0, 2.0]), np.full(10, 3.0), np.array([])], ids=["two", "constant", "none"]
)
def test_interval_is_undefined_where_r2_is(y_true: np.ndarray) -> None:
    interval = bootstrap_interval(y_true, np.array([y_true + 1]), metric="r2", resamples=100)
    assert np.isnan([interval.low, interval.high]).all()


def test_same_seed_gives_the_same_interval_and_another_seed_does_not() -> None:
    y_true, y_pred = data()
    first = bootstrap_interval(y_true, y_pred, metric="r2", resamples=200)
    assert bootstrap_interval(y_true, y_pred, metric="r2", resamples=200) == first
    assert bootstrap_interval(y_true, y_pred, metric="r2", resamples=200, seed=1) != first


def test_difference_of_a_model_with_itself_is_exactly_zero() -> None:
    y_true, y_pred = data()
    difference = bootstrap_difference(y_true, y_pred, y_pred, metric="r2", resamples=200)
    assert (difference.low, difference.high) == (0.0, 0.0)


def test_difference_has_the_sign_of_the_gain() -> None:
    y_true, y_pred = data(n=60)
    worse = y_true + 5 * (y_pred - y_true)
    gain = bootstrap_difference(y_true, y_pred, worse, metric="r2", resamples=300)
    loss = bootstrap_difference(y_true, worse, y_pred, metric="r2", resamples=300)
    assert gain.low > 0
    assert (loss.low, loss.high) == pytest.approx((-gain.high, -gain.low), abs=EXACT)


GROUPS = np.array(list("aabbbcddefffgg") + ["h"] * 6)  # of 20 materials; unequal on purpose


@pytest.mark.parametrize("metric", ["r2", "rmse", "mae"])
def test_a_drawn_group_brings_all_its_members(metric: str) -> None:
    y_true, y_pred = data()
    found = resampled_scores(y_true, y_pred, metric=metric, resamples=50, groups=GROUPS, seed=3)
    names = sorted(set(GROUPS))
    counts = np.random.default_rng(3).multinomial(len(names), np.full(len(names), 1 / len(names)), size=50)
    expected = []
    for row in counts:
        members = (np.tile(np.flatnonzero(name == GROUPS), times) for name, times in zip(names, row, strict=True))
        drawn = np.concatenate(list(members))
        expected.append(np.mean([ORACLES[metric](y_true[drawn], one[drawn]) for one in y_pred]))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("metric", ["r2", "rmse"])
def test_copies_of_a_material_are_no_new_evidence(metric: str) -> None:
    """Four copies of each material, grouped, have the interval of the materials; ungrouped it is half as wide."""
    y_true, y_pred = data(n=40)
    names = np.array([f"m{k:02d}" for k in range(40)])
    once = bootstrap_interval(y_true, y_pred, metric=metric, resamples=2000)
    copies = np.repeat(y_true, 4), np.repeat(y_pred, 4, axis=1)
    grouped = bootstrap_interval(*copies, metric=metric, resamples=2000, groups=np.repeat(names, 4))
    alone = bootstrap_interval(*copies, metric=metric, resamples=2000)
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high), rel=1e-10)
    assert (alone.high - alone.low) / (once.high - once.low) == pytest.approx(0.5, abs=0.1)


def test_each_material_its_own_group_is_the_plain_bootstrap() -> None:
    y_true, y_pred = data()
    names = np.array([f"m{k:02d}" for k in range(len(y_true))])
    plain = resampled_scores(y_true, y_pred, metric="r2", resamples=100)
    assert np.array_equal(resampled_scores(y_true, y_pred, metric="r2", resamples=100, groups=names), plain)


@pytest.mark.parametrize(("groups", "defined"), [("aabb", False), ("aabc", True)])
def test_two_groups_have_no_interval(groups: str, defined: bool) -> None:
    y_true, y_pred = data(n=40)
    drawn = np.repeat(np.array(list(groups)), 10)
    interval = bootstrap_interval(y_true, y_pred, metric="rmse", resamples=100, groups=drawn)
    difference = bootstrap_difference(y_true, y_pred, y_pred + 1, metric="rmse", resamples=100, groups=drawn)
    assert np.isfinite([interval.low, difference.low]).tolist() == [defined] * 2
