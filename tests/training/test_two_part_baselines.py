"""Baselines in two parts, for a target that is often zero."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rhoflow.training.estimators import BASELINES, TwoPart

ZERO, NEAR = -0.5, 1e-3
CLOSE = 1e-9


@pytest.fixture
def metals():
    """Zero on one side of a plane, linear on the other."""
    X = np.random.default_rng(0).normal(size=(400, 5))
    y = np.where(X[:, 0] > 0, 2 + X[:, 1], ZERO)
    return X, y


def test_prediction_is_the_product_of_its_two_parts(metals) -> None:
    """Both parts fitted by hand, with scikit-learn."""
    X, y = metals
    other = y != ZERO
    p = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000)).fit(X, other).predict_proba(X)[:, 1]
    v = LinearRegression().fit(X[other], y[other]).predict(X)
    found = TwoPart(LinearRegression(), ZERO, NEAR).fit(X, y).predict(X)
    np.testing.assert_allclose(found, p * v + (1 - p) * ZERO, rtol=0, atol=CLOSE)


def test_two_parts_beat_one_where_many_are_zero(metals) -> None:
    X, y = metals
    one = LinearRegression().fit(X[:300], y[:300]).predict(X[300:])
    two = TwoPart(LinearRegression(), ZERO, NEAR).fit(X[:300], y[:300]).predict(X[300:])
    assert np.mean((two - y[300:]) ** 2) < 0.5 * np.mean((one - y[300:]) ** 2)


@pytest.mark.parametrize(
    ("y", "expected"), [(np.full(6, ZERO), ZERO), (np.arange(1.0, 7.0), 3.5)], ids=["all", "none"]
)
def test_all_or_none_zero_is_no_error(y, expected: float) -> None:
    X = np.random.default_rng(1).normal(size=(6, 2))
    found = TwoPart(DummyRegressor(), ZERO, NEAR).fit(X, y).predict(X)
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["quantiles-ridge", "quantiles-boosting"])
def test_of_one_material_that_is_not_zero_its_value_is_learnt(name: str) -> None:
    X, y = np.random.default_rng(2).normal(size=(12, 3)), np.array([3.0] + [ZERO] * 11)
    model = TwoPart(BASELINES[name].make(0), ZERO, NEAR).fit(X, y)
    p = model.chance_.predict_proba(X)[:, 1]
    np.testing.assert_allclose(model.predict(X), 3 * p + (1 - p) * ZERO, rtol=0, atol=CLOSE)


def test_mean_baseline_stays_the_mean(metals) -> None:
    y = metals[1]
    found = TwoPart(BASELINES["mean"].make(0), ZERO, NEAR).fit(np.zeros((400, 1)), y).predict(np.zeros((3, 1)))
    np.testing.assert_allclose(
        found, y.mean(), rtol=1e-3, atol=0
    )  # a product of two means; logistic regression iterates


def test_texts_are_told_apart_by_their_words() -> None:
    X = np.array([f"{metal} {k % 7}" for k in range(80) for metal in ("Cu", "NaCl")], dtype=object)
    y = np.array([ZERO, 3.0] * 80)
    model = TwoPart(BASELINES["tfidf-ridge"].make(0), ZERO, NEAR).fit(X, y)
    metal, salt = model.predict(np.array(["Cu 3", "NaCl 3"], dtype=object))
    assert metal < 0.5 < 2.0 < salt
