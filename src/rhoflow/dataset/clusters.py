"""Clusters of like compositions: regions of a fixed map of chemistry, so that a new material moves nobody.

A composition is the point sum_e x_e p_e: the mean over its atoms of 22 elemental properties of Magpie (Ward et al.
2016), each standardised over the elements. K-means puts `N_CLUSTERS` centres among all elements and all 1:1
compounds of two, and a composition belongs to the nearest one. The usual leave-one-cluster-out (Meredig et al. 2018)
clusters the study's own materials; then one more material would move others from cluster to cluster.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
from matminer.utils.data import MagpieData
from numpy.typing import NDArray
from pymatgen.core import Composition, Element
from sklearn.cluster import KMeans

Floats = NDArray[np.float64]

N_CLUSTERS = 40
PROPERTIES = (
    *("Number", "MendeleevNumber", "AtomicWeight", "MeltingT", "Column", "Row", "CovalentRadius"),
    *("Electronegativity", "NsValence", "NpValence", "NdValence", "NfValence", "NValence"),
    *("NsUnfilled", "NpUnfilled", "NdUnfilled", "NfUnfilled", "NUnfilled"),
    *("GSvolume_pa", "GSbandgap", "GSmagmom", "SpaceGroupNumber"),
)
_LAST = 103  # no such properties are known beyond lawrencium


@cache
def cluster_of(formula: str) -> str:
    """Cluster of a formula, ``cluster-00`` ...; depends on nothing else."""
    squares = ((cluster_centres() - composition_point(formula)) ** 2).sum(axis=1)
    return f"cluster-{int(squares.argmin()):02d}"


def composition_point(formula: str) -> Floats:
    """Place of a composition on the map, (22,), dimensionless."""
    shares = Composition(formula).fractional_composition
    rows = [element.Z - 1 for element in shares.elements]
    return np.asarray([shares[element] for element in shares.elements] @ element_points()[rows])


@cache
def element_points() -> Floats:
    """Places of the elements by atomic number, (118, 22); those beyond `_LAST` are at its place."""
    data = MagpieData(impute_nan=True)
    symbols = [Element.from_Z(min(number, _LAST)).symbol for number in range(1, 119)]
    values = np.array([[data.all_elemental_props[name][symbol] for name in PROPERTIES] for symbol in symbols])
    known = values[:_LAST]
    return np.asarray((values - known.mean(axis=0)) / known.std(axis=0))


@cache
def cluster_centres() -> Floats:
    """Centres of the clusters, (`N_CLUSTERS`, 22), the same in every study."""
    points = element_points()[:_LAST]
    pairs = np.array([(one + other) / 2 for one, other in combinations(points, 2)])
    fitted = KMeans(N_CLUSTERS, n_init=4, random_state=0).fit(np.concatenate([points, pairs]))
    return np.asarray(np.round(fitted.cluster_centers_, 9))  # the digits behind depend on the number of threads
