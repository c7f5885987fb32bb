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
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
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
