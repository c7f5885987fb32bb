"""Clusters of like compositions: a function of the composition alone, and chemistry that a chemist would expect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matminer.featurizers.composition import ElementProperty
from pymatgen.core import Composition

from rhoflow.config import Splits
from rhoflow.dataset.clusters import (
    N_CLUSTERS,
    PROPERTIES,
    cluster_centres,
    cluster_of,
    composition_point,
    element_points,
)
from rhoflow.dataset.splits import assign_parts

ELEMENTS = ("Li", "Na", "K", "Mg", "Ca", "Ti", "Fe", "Cu", "Al", "Si", "Ag", "La", "O", "S", "Cl", "U")


@pytest.mark.parametrize(("formula", "same"), [("NaCl", "Na4Cl4"), ("Fe2O3", "O6Fe4"), ("TiNiSn", "SnTiNi")])
def test_cluster_does_not_depend_on_how_a_formula_is_written(formula: str, same: str) -> None:
    assert cluster_of(formula) == cluster_of(same)
    np.testing.assert_allclose(composition_point(formula), composition_point(same), rtol=0, atol=1e-12)


@given(one=st.sampled_from(ELEMENTS), other=st.sampled_from(ELEMENTS), n=st.integers(1, 5))
def test_point_of_a_compound_is_the_mean_over_its_atoms(one: str, other: str, n: int) -> None:
    mean = (composition_point(one) + n * composition_point(other)) / (1 + n)
    np.testing.assert_allclose(composition_point(Composition({one: 1}) + Composition({other: n})), mean, atol=1e-12)


def test_points_are_magpies_means() -> None:
    """Against matminer's own featurizer: the same numbers but for shift and scale."""
    featurizer = ElementProperty("magpie", list(PROPERTIES), ["mean"], impute_nan=True)
    formulas = ["NaCl", "Fe2O3", "TiNiSn", "Al", "ZrO2", "LaN"]
    ours = np.array([composition_point(formula) for formula in formulas])
    theirs = np.array([featurizer.featurize(Composition(formula)) for formula in formulas])
    varied = np.ptp(theirs, axis=0) > 0
    assert varied.sum() >= 20  # lanthanum's f shell is as empty as the others'
    assert np.ptp(ours[:, ~varied], axis=0).max(initial=0) < 1e-9
    scaled = [(one[:, varied] - one[:, varied].mean(axis=0)) / one[:, varied].std(axis=0) for one in (ours, theirs)]
    np.testing.assert_allclose(*scaled, rtol=0, atol=1e-9)


def test_elements_are_standardised() -> None:
    known = element_points()[:103]
    np.testing.assert_allclose(known.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(known.std(axis=0), 1, atol=1e-12)


def test_every_cluster_is_that_of_its_nearest_compositions() -> None:
    names = {cluster_of(one + other) for k, one in enumerate(ELEMENTS) for other in ELEMENTS[k + 1 :]}
    assert 10 < len(names) <= N_CLUSTERS
    assert cluster_centres().shape == (N_CLUSTERS, len(PROPERTIES))
    centre = cluster_centres()[int(cluster_of("NaCl").removeprefix("cluster-"))]
    away = np.linalg.norm(cluster_centres() - composition_point("NaCl"), axis=1)
    assert np.linalg.norm(centre - composition_point("NaCl")) == away.min()


def test_like_compositions_come_together_and_unlike_ones_do_not() -> None:
    assert cluster_of("NaCl") == cluster_of("LiCl") == cluster_of("NaF")
    assert cluster_of("GaAs") == cluster_of("InSb") == cluster_of("Ge")
    assert len({cluster_of(formula) for formula in ("NaCl", "GaAs", "LaN", "Pt")}) == 4


def test_frozen_clusters() -> None:
    """Papers rely on it: parts of these compositions are what they were when the strategy was made."""
    formulas = ("NaCl", "GaAs", "MgO", "Fe2VAl", "TiNiSn", "Al", "PbTe", "LiAlSi")
    groups = {formula: cluster_of(formula) for formula in formulas}
    assert [int(name.removeprefix("cluster-")) for name in groups.values()] == [11, 27, 8, 6, 25, 23, 31, 23]
    parts = assign_parts(groups, Splits(strategy="cluster"))
    assert list(parts.values()) == ["test", 0, 0, "test", 1, 0, 1, 0]
