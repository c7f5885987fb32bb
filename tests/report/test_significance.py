from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoflow.report.significance import LEVEL, corrected_t_test, detectable_difference, holm, swap_p
from rhoflow.report.statistics import bootstrap_difference

EXACT = 1e-12
MONTE_CARLO = 0.015  # p of 10,000 swaps, three standard errors at p = 0.5
NONE = np.array([f"m{k:03d}" for k in range(400)])  # each material its own group


def squares(n: int, runs: int = 2, gain: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of two models whose errors are correlated; those of the first are `gain` as large."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    ours, theirs = shared + rng.normal(size=(2, runs, n))
    return (gain * ours) ** 2, theirs**2


def p_of(ours: np.ndarray, theirs: np.ndarray, *, resamples: int = 10_000, groups: np.ndarray | None = None) -> float:
    weights = np.full(len(ours), 1 / len(ours))
    chosen = NONE[: ours.shape[1]] if groups is None else groups
    return swap_p(ours, theirs, weights=weights, groups=chosen, resamples=resamples)


def test_corrected_t_test_by_hand() -> None:
    """d = 1, 2, 3, n_test/n_train = 1/2: t = 2 / sqrt((1/3 + 1/2) 1); with 2 degrees p = 1 - t / sqrt(t^2 + 2)."""
    test = corrected_t_test([1.0, 2.0, 3.0], 0.5)
    t = 2 / np.sqrt(5 / 6)
    assert (test.mean, test.standard_error, test.dof) == pytest.approx((2.0, np.sqrt(5 / 6), 2), abs=EXACT)
    assert (test.t, test.p) == pytest.approx((t, 1 - t / np.sqrt(t**2 + 2)), abs=EXACT)


def test_without_correction_it_is_scipys_t_test() -> None:
    d = np.random.default_rng(1).normal(0.3, 1.0, 12)
    theirs = scipy.stats.ttest_1samp(d, 0.0)
    test = corrected_t_test(d, 0.0)
    assert (test.t, test.p, test.dof) == pytest.approx((theirs.statistic, theirs.pvalue, theirs.df), rel=1e-10)


def test_correction_of_five_folds_widens_the_error_by_one_and_a_half() -> None:
    """1/5 + 1/4 = 0.45 in place of 0.2."""
    d = [0.1, 0.4, -0.2, 0.3, 0.5]
    ratio = corrected_t_test(d, 0.25).standard_error / corrected_t_test(d, 0.0).standard_error
    assert ratio == pytest.approx(np.sqrt(0.45 / 0.2), abs=EXACT)


@pytest.mark.parametrize(
    ("d", "p"),
    [([0.0, 0.0, 0.0], 1.0), ([0.5, 0.5, 0.5], 0.0), ([0.5], np.nan), ([], np.nan), ([0.5, np.nan, 0.2], np.nan)],
    ids=["equal models", "no spread", "one fold", "no fold", "undefined"],
)
def test_p_of_borderline_differences(d: list[float], p: float) -> None:
    assert corrected_t_test(d, 0.25).p == pytest.approx(p, nan_ok=True)


def test_holm_of_the_textbook() -> None:
    """p = 0.005, 0.01, 0.03, 0.04 of four: times 4, 3, 2, 1, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=EXACT)


def test_holm_does_not_count_what_was_not_tested() -> None:
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], abs=EXACT, nan_ok=True)
    assert np.isnan(holm([np.nan])).all()
    assert len(holm([])) == 0


@settings(max_examples=50, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferronis(p: list[float]) -> None:
    found = holm(p)
    assert (found >= np.array(p) - EXACT).all()
    assert (found <= np.minimum(1, len(p) * np.array(p)) + EXACT).all()
    assert found[np.argmin(p)] == pytest.approx(min(1.0, len(p) * min(p)), abs=EXACT)


def test_detectable_difference_of_many_is_that_of_the_normal_distribution() -> None:
    """Standard normal quantiles 1.959964 and 0.841621."""
    found = detectable_difference(2.0, level=0.05, dof=1e7)
    assert found == pytest.approx(2 * (1.959964 + 0.841621), abs=3e-6)


@pytest.mark.parametrize(("n", "comparisons"), [(3, 21), (5, 6), (15, 5)])
def test_detectable_difference_is_found_four_times_in_five(n: int, comparisons: int) -> None:
    """Simulated: 20,000 t-tests of n values whose true mean is the detectable difference; three standard errors."""
    level = LEVEL / comparisons
    true = detectable_difference(1 / np.sqrt(n), level=level, dof=n - 1)
    values = np.random.default_rng(2).normal(true, 1.0, (20_000, n))
    power = np.mean(scipy.stats.ttest_1samp(values, 0.0, axis=1).pvalue < level)
    assert power == pytest.approx(0.8, abs=0.01)


def test_no_detectable_difference_of_one_fold() -> None:
    assert np.isnan(detectable_difference(float("nan"), level=0.05, dof=0))


def test_swaps_agree_with_scipys_permutation_test() -> None:
    ours, theirs = squares(10, gain=1.4)

    def statistic(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.sqrt(a.mean(axis=axis)) - np.sqrt(b.mean(axis=axis))

    exact = scipy.stats.permutation_test(
        (ours[0], theirs[0]), statistic, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert 0.02 < exact < 0.9
    assert p_of(ours[:1], theirs[:1]) == pytest.approx(exact, abs=MONTE_CARLO)


def test_swaps_move_all_runs_and_all_members_of_a_group_at_once() -> None:
    """All 2^4 swaps of four groups written out."""
    ours, theirs = squares(9, runs=3, gain=1.5)
    groups = np.array(list("aabbbccdd"))
    weights = np.array([0.5, 0.25, 0.25])

    def difference(swapped: np.ndarray) -> float:
        a, b = np.where(swapped, theirs, ours), np.where(swapped, ours, theirs)
        return float((np.sqrt(a.mean(axis=1)) - np.sqrt(b.mean(axis=1))) @ weights)

    found = abs(difference(np.zeros(9, bool)))
    every = [np.isin(groups, one) for k in range(5) for one in map(list, itertools.combinations("abcd", k))]
    exact = np.mean([abs(difference(one)) >= found - EXACT for one in every])
    assert len(every) == 16
    assert swap_p(ours, theirs, weights=weights, groups=groups, resamples=10_000) == pytest.approx(
        exact, abs=MONTE_CARLO
    )


def test_equal_models_have_p_one_and_unequal_ones_the_smallest_there_is() -> None:
    ours, theirs = squares(100, gain=5.0)
    assert p_of(ours, ours, resamples=100) == 1.0
    assert p_of(ours, theirs, resamples=99) == pytest.approx(1 / 100, abs=EXACT)


@pytest.mark.parametrize("n", [8, 16, 40])
def test_swaps_keep_their_level(n: int) -> None:
    """600 pairs of equal models: p < 0.05 in 5 % of them, within three standard errors, and p < 0.01 in no 3 %."""
    p = np.array([p_of(*squares(n, seed=seed), resamples=199) for seed in range(600)])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.027)
    assert np.mean(p <= 0.01) <= 0.022


def test_p_depends_on_the_seed_alone() -> None:
    ours, theirs = squares(20, gain=1.3)
    first = p_of(ours, theirs, resamples=300)
    assert p_of(ours, theirs, resamples=300) == first
    weights = np.full(2, 0.5)
    other = swap_p(ours, theirs, weights=weights, groups=NONE[:20], resamples=300, seed=1)
    assert other != first
    assert other == pytest.approx(first, abs=0.1)


@pytest.mark.parametrize("gain", [1.0, 1.5], ids=["equal", "worse"])
def test_bootstrap_interval_of_a_difference_covers_the_truth(gain: float) -> None:
    """500 test sets of 60; errors of SD 1 and `gain`: the RMSE differs by gain - 1. Covered in 95 % +- 4 %."""
    rng, covered = np.random.default_rng(7), 0
    for _ in range(500):
        y = rng.normal(size=60)
        shared = rng.normal(size=60)
        ours, theirs = (np.sqrt(0.5) * (shared + rng.normal(size=(1, 60))) for _ in range(2))
        interval = bootstrap_difference(y, y + gain * ours, y + theirs, metric="rmse", resamples=300)
        covered += (gain - 1) in interval
    assert covered / 500 == pytest.approx(0.95, abs=0.04)
