"""Density of states by linear tetrahedra on a regular k-mesh."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Floats, Ints

SPLITTING = 1e-7  # eV; set between equal corner energies, against 0 / 0


@dataclass(frozen=True)
class Projection:
    """Density of states on the bound partial waves of one atom and angular momentum."""

    atom: int
    element: str
    letter: str
    dos: Floats


@dataclass(frozen=True)
class DensityOfStates:
    """Densities of states [states/eV/cell] at `energies` [eV].

    Attributes
    ----------
    energies : (m,) float64 array
        Bin centres relative to `zero`.
    zero
        Energy [eV] of the zero on the scale of the eigenvalues.
    zero_name
        ``Fermi level`` or ``VBM``.
    spins : (1 or 2, m) float64 array
        Per spin channel; one channel stands for both.
    projections
        Squared projections, not normalised, spins summed.
    mesh
        k-points along each axis.
    """

    energies: Floats
    zero: float
    zero_name: str
    spins: Floats
    projections: list[Projection]
    mesh: tuple[int, ...]

    @property
    def total(self) -> Floats:
        """(m,) both spins together."""
        return np.asarray(self.spins.sum(axis=0) * (2 if len(self.spins) == 1 else 1))


def tetrahedra(size: Sequence[int], irreducible: ArrayLike) -> tuple[Ints, Floats]:
    """Distinct tetrahedra of a periodic mesh, six a cube around its main diagonal.

    Parameters
    ----------
    size : (3,) sequence
        Numbers of k-points.
    irreducible : (n,) integers
        Index of the irreducible k-point that stands for each point of the mesh, in C order.

    Returns
    -------
    (t, 4) int array, (t,) float64 array
        Irreducible k-points at the corners; weights, which add up to 1.
    """
    size = tuple(size)
    mesh = np.indices(size).reshape(3, -1)
    parts = []
    for order in permutations(range(3)):
        corner = np.zeros((3, 1), int)
        path = [corner.copy()]
        for axis in order:
            corner[axis] += 1
            path.append(corner.copy())
        wrapped = [(mesh + c) % np.array(size)[:, None] for c in path]
        parts.append(np.stack([np.ravel_multi_index(tuple(w), size) for w in wrapped], axis=1))
    corners = np.sort(np.asarray(irreducible)[np.concatenate(parts)], axis=1)
    unique, count = np.unique(corners, axis=0, return_counts=True)
    return unique, count / count.sum()


def states_below(energies: Floats, levels: Floats) -> Floats:
    """Share of each tetrahedron whose linearly interpolated band lies below each level.

    Equations of Lehmann and Taut, phys. stat. sol. (b) 54, 469 (1972), in the form of Bloechl et al.,
    Phys. Rev. B 49, 16223 (1994), eqs. A1-A5.

    Parameters
    ----------
    energies : (t, 4) float64 array
        Band energies at the corners [eV].
    levels : (m,) float64 array
        [eV]

    Returns
    -------
    (t, m) float64 array
        Between 0 and 1.
    """
    e1, e2, e3, e4 = (np.sort(energies, axis=1) + SPLITTING * np.arange(4)).T[:, :, None]
    x = levels[None, :]
    low = (x - e1) ** 3 / ((e2 - e1) * (e3 - e1) * (e4 - e1))
    skew = (e3 - e1 + e4 - e2) / ((e3 - e2) * (e4 - e2))
    middle = (e2 - e1) ** 2 + 3 * (e2 - e1) * (x - e2) + 3 * (x - e2) ** 2 - skew * (x - e2) ** 3
    high = 1 - (e4 - x) ** 3 / ((e4 - e1) * (e4 - e2) * (e4 - e3))
    conditions = [x < e1, x < e2, x < e3, x < e4]
    return np.select(conditions, [np.zeros_like(low), low, middle / ((e3 - e1) * (e4 - e1)), high], 1.0)


def tetrahedron_dos(
    eigenvalues: Floats, corners: Ints, weights: Floats, edges: Floats, projections: Sequence[Floats] = ()
) -> Floats:
    """Density of states of one spin, averaged exactly over each energy bin.

    Parameters
    ----------
    eigenvalues : (k, n) float64 array
        Bands at the irreducible k-points [eV].
    corners : (t, 4) int array
    weights : (t,) float64 array
        The mesh, from `tetrahedra`.
    edges : (m + 1,) float64 array
        Bin edges [eV].
    projections : sequence of (k, n) float64 arrays
        Weights of the states on an orbital, for the projected densities.

    Returns
    -------
    (1 + len(projections), m) float64 array
        Total, then projected densities of states [states/eV/cell/spin].
    """
    cumulative = np.zeros((1 + len(projections), len(edges)))
    for band in range(eigenvalues.shape[1]):
        energies = eigenvalues[:, band][corners]
        if energies.min() > edges[-1]:
            continue
        below = states_below(energies, edges)
        cumulative[0] += weights @ below
        for row, projection in enumerate(projections, start=1):
            cumulative[row] += (weights * projection[:, band][corners].mean(axis=1)) @ below
    return np.diff(cumulative, axis=1) / np.diff(edges)


def band_gap(eigenvalues: Floats, n_electrons: float, moment: float = 0.0) -> tuple[float, float] | None:
    """Band edges, from counting the bands.

    The Fermi level does not serve: with smearing it may lie outside a narrow gap.

    Parameters
    ----------
    eigenvalues : (spins, k, n) float64 array
        [eV], ascending along the last axis.
    n_electrons
        Electrons of the cell.
    moment
        Spin moment of the cell [mu_B].

    Returns
    -------
    (float, float) or None
        Highest occupied and lowest empty level [eV]; None for a metal.
    """
    if len(eigenvalues) == 1:
        occupied = [n_electrons / 2]
    else:
        occupied = [(n_electrons + moment) / 2, (n_electrons - moment) / 2]
    counts = [round(x) for x in occupied]
    if any(abs(x - n) > 0.02 for x, n in zip(occupied, counts, strict=True)):
        return None
    spins = list(zip(eigenvalues, counts, strict=True))
    top = max(float(e[:, n - 1].max()) for e, n in spins if n)
    bottom = min(float(e[:, n].min()) for e, n in spins)
    return (top, bottom) if bottom > top else None
