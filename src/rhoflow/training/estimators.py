"""The baselines as scikit-learn estimators: a name, how inputs come out of a view, and an estimator for a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from matminer.featurizers.composition import ElementProperty
from numpy.typing import NDArray
from pymatgen.core import Composition
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from rhoflow.dataset.load import View

# Penalties that leave-one-out on the training part chooses from.
ALPHAS = np.logspace(-4, 6, 21)
# Numbers, element symbols and words: "Fe2VAl" is Fe, 2, V, Al. With words alone a formula would be one token that no
# other crystal has (5-fold R2 of K on the demo crystals: -0.08 so, 0.65 with symbols).
WORD_PATTERN = r"\d+\.\d+|\d+|[A-Z][a-z]?(?![a-z])|[A-Za-z]+"


@dataclass(frozen=True)
class Baseline:
    """A baseline.

    Attributes
    ----------
    name : str
        Name in paths and tables.
    inputs : callable
        View -> (n, ...) array of what the estimator sees, one row a material.
    make : callable
        Seed -> unfitted scikit-learn regressor; it learns the standardised target.
    """

    name: str
    inputs: Callable[[View], NDArray[Any]]
    make: Callable[[int], BaseEstimator]


class TwoPart(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator in two parts, for a target that is often zero.

    Logistic regression gives the chance p of not being zero, the estimator the value v of materials that are not; the
    prediction is their mean, zero + p (v - zero): a hurdle model (Cragg, Econometrica 39, 829, 1971).

    Parameters
    ----------
    regressor : estimator
        Learns the materials that are not zero. What it does to its inputs before its last step is done for the
        logistic regression too; plain numbers are standardised for that.
    zero, near : float
        Where zero is, and how near to it counts as zero, both of the standardised target.
    """

    def __init__(self, regressor: BaseEstimator, zero: float, near: float) -> None:
        self.regressor = regressor
        self.zero = zero
        self.near = near

    def fit(self, X: NDArray[Any], y: NDArray[np.float64]) -> TwoPart:
        """Fit both parts; where all materials or none are zero the chance is 0 or 1."""
        other = np.abs(y - self.zero) > self.near
        steps = self.regressor.steps[:-1] if isinstance(self.regressor, Pipeline) else [("", StandardScaler())]
        chance = LogisticRegression(max_iter=10_000) if 0 < other.sum() < len(other) else DummyClassifier()
        self.chance_ = make_pipeline(*(clone(step) for _, step in steps), chance).fit(X, other)
        # Without a material to learn from the chance is 0, and the value does not matter.
        rows = other if other.any() else ~other
        # Of one material there is its value to learn: leaving it out, as ridge does, nothing is left.
        regressor = clone(self.regressor) if rows.sum() > 1 else DummyRegressor()
        self.value_ = regressor.fit(X[rows], y[rows])
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of the standardised target (n,)."""
        p = dict(zip(self.chance_.classes_.tolist(), self.chance_.predict_proba(X).T, strict=True)).get(True, 0.0)
        mean: NDArray[np.float64] = self.zero + p * (self.value_.predict(X) - self.zero)
        return mean


BASELINES: dict[str, Baseline] = {}


def register(name: str, inputs: Callable[[View], NDArray[Any]]) -> Callable[[Callable[[int], BaseEstimator]], None]:
    """Add the decorated factory (seed -> estimator) to `BASELINES`."""

    def add(make: Callable[[int], BaseEstimator]) -> None:
        if name in BASELINES:
            raise ValueError(f"baseline {name!r} is registered twice; choose another name")
        BASELINES[name] = Baseline(name, inputs, make)

    return add


def _nothing(view: View) -> NDArray[np.float64]:
    """Give (n, 1) zeros: the estimator sees no input."""
    return np.zeros((len(view.ids), 1))


def _magpie(view: View) -> NDArray[np.float64]:
    """Give (n, 132) statistics of elemental properties over the composition (Ward et al. 2016, Magpie)."""
    assert view.formulas is not None
    return np.array([_magpie_features(formula) for formula in view.formulas])


def _quantiles(view: View) -> NDArray[np.float64]:
    """Give (n, 21) quantiles of the density [e/A^3]."""
    assert view.quantiles is not None
    return view.quantiles


def _pixels(view: View) -> NDArray[np.float32]:
    """Give (n, p * p) pixels of one plane, or of three in a row, in [-1, 1], without the amplitude."""
    assert view.images is not None
    return view.images.reshape(len(view.images), -1)


def _embeddings(view: View) -> NDArray[np.float32]:
    """Give (n, 64) embeddings of the structures (CHGNet)."""
    assert view.embeddings is not None
    return view.embeddings


def _texts(view: View) -> NDArray[np.object_]:
    """Give (n,) texts."""
    assert view.texts is not None
    return np.array(view.texts, dtype=object)


@cache
def _magpie_features(formula: str) -> tuple[float, ...]:
    """Compute the Magpie features of a formula once a process; gaps in its elemental data are filled by means."""
    return tuple(_featurizer().featurize(Composition(formula)))


@cache
def _featurizer() -> ElementProperty:
    return ElementProperty.from_preset("magpie", impute_nan=True)


@register("mean", _nothing)
def _mean(seed: int) -> BaseEstimator:
    return DummyRegressor(strategy="mean")


@register("magpie-forest", _magpie)
def _magpie_forest(seed: int) -> BaseEstimator:
    # A third of the features a split: as good as all of them on the demo crystals, in a fraction of the time.
    return RandomForestRegressor(n_estimators=200, max_features=1 / 3, random_state=seed, n_jobs=1)


@register("quantiles-ridge", _quantiles)
def _quantiles_ridge(seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), RidgeCV(ALPHAS))


@register("quantiles-boosting", _quantiles)
def _quantiles_boosting(seed: int) -> BaseEstimator:
    return GradientBoostingRegressor(n_estimators=300, learning_rate=0.05, subsample=0.7, random_state=seed)


@register("pixels-ridge", _pixels)
def _pixels_ridge(seed: int) -> BaseEstimator:
    return RidgeCV(ALPHAS)


@register("chgnet-ridge", _embeddings)
def _chgnet_ridge(seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), RidgeCV(ALPHAS))


@register("tfidf-ridge", _texts)
def _tfidf_ridge(seed: int) -> BaseEstimator:
    return make_pipeline(
        TfidfVectorizer(lowercase=False, token_pattern=WORD_PATTERN, ngram_range=(1, 2)), RidgeCV(ALPHAS)
    )
