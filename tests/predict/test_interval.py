"""The conformal quantile against hand-computed cases, and its promise."""

from __future__ import annotations

import numpy as np
import pytest

from rhoflow.predict.interval import count_covered, half_width

ATOL = 0.01


@pytest.mark.parametrize(
    ("n", "rank"),
    # ceil(0.9 (n + 1)) by hand
    [(9, 9), (10, 10), (18, 18), (19, 18), (29, 27), (99, 90), (100, 91)],
)
def test_width_is_the_residual_of_that_rank(n: int, rank: int) -> None:
    residuals = np.random.default_rng(n).permutation(np.arange(1, n + 1) / 4)
    assert half_width(residuals.tolist()) == rank / 4


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_residuals_give_no_width(n: int) -> None:
    assert half_width([1.0] * n) is None


def test_coverage_is_that_of_theory_and_not_more() -> None:
    """P(covered) = rank / (n + 1) exactly for continuous residuals; 0.9 for n = 19."""
    rng = np.random.default_rng(0)
    draws = np.abs(rng.standard_cauchy((20000, 20)))
    covered = [draw[19] <= (half_width(draw[:19].tolist()) or 0.0) for draw in draws]
    assert np.mean(covered) == pytest.approx(0.9, abs=ATOL)


def test_clopper_pearson_interval_of_ten_of_ten() -> None:
    covered, low, high = count_covered(np.array([-1.0] * 5 + [1.0] * 5), 1.0)
    assert (covered, high) == (10, 1.0)
    assert low == pytest.approx(0.025**0.1, rel=1e-9)  # the textbook's closed form for n of n


def test_errors_of_either_sign_are_counted() -> None:
    assert count_covered(np.array([-2.0, -0.5, 0.5, 2.0]), 1.0)[0] == 2
