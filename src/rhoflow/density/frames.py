"""Frames on a lattice plane (site, normal, in-plane axis), and the choice among them that knows no cell.

A plane (hkl) through a kind of site can be looked at in many ways: from each equivalent site, from either side, with
any of the shortest in-plane lattice vectors to the right. Some of these views are the same by symmetry, others are
not ((111) and (-1-1-1) of zincblende differ). The choice must not depend on the cell of the file, so:

1. All right-handed candidates are listed, from the symmetry of the *lattice* (it holds whatever standard setting
   spglib chose).
2. *Structure decides.* Each candidate looks at the crystal's smeared nuclear charge at a few generic points fixed in
   its own frame; the highest value at the first point wins, ties go to the second point, and so on. A generic point
   lies on no symmetry element, so candidates with equal values are equivalent by a symmetry of the structure.
3. *The density decides what is left.* A density may have less symmetry than its structure (magnetism, orbital order):
   the same points are then looked up in the smoothed density itself. Candidates that still agree show the same image.

Smearing makes every value a smooth function of the positions, so noise in them changes no decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np

from rhoflow.density.cells import Floats, Ints, StandardCell
from rhoflow.density.spectra import Spectrum

# Generic points in a frame, in units of cell.spacing: off every mirror plane and rotation axis a frame can have.
_PROBES = np.array([[0.37, 0.23, 0.41], [0.19, -0.53, 0.29], [-0.47, 0.11, 0.67]])
_SMEARING = 0.4  # standard deviation of the smearing, in units of cell.spacing
_LARGEST_WAVE = 5.0  # waves beyond this, over the smearing length, are damped below 4e-6
_TIE = 1e-3  # of the field's variation: below it two candidates see the same
_SAME_LENGTH = 1 + 1e-4


@dataclass(frozen=True)
class Orientation:
    """A right-handed frame on a lattice plane.

    Attributes
    ----------
    along, across : (3,) int64 arrays
        Basis of the in-plane lattice, in primitive fractional coordinates; `along` is the x axis.
    axes : (3, 3) float64 array
        Cartesian unit vectors x, y (in the plane) and z (its normal) as rows, in the frame of StandardCell.lattice.
    """

    along: Ints
    across: Ints
    axes: Floats


def orientations(cell: StandardCell, normal: Ints) -> Iterator[Orientation]:
    """Right-handed frames on the plane with `normal`, one for each shortest in-plane lattice vector.

    Parameters
    ----------
    normal : (3,) int64 array
        Coprime reciprocal indices in the primitive cell's basis.
    """
    z = normal @ cell.reciprocal
    z /= np.linalg.norm(z)
    first, second = _reduced_plane_basis(normal, cell.primitive)
    steps = [(i, j) for i, j in product((-1, 0, 1), repeat=2) if i or j]
    vectors = [i * first + j * second for i, j in steps]
    lengths = [float(np.linalg.norm(vector @ cell.primitive)) for vector in vectors]
    for (i, _), along, length in zip(steps, vectors, lengths, strict=True):
        if length > _SAME_LENGTH * min(lengths):
            continue
        x = along @ cell.primitive / length
        y = np.array([z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0]])
        yield Orientation(along, second if i else first, np.stack([x, y, z]))


def choose(
    cell: StandardCell, sites: Ints, candidates: list[Orientation], spectrum: Spectrum
) -> tuple[int, Orientation]:
    """Pick the site and orientation that structure, then density, single out.

    Parameters
    ----------
    sites : (n,) int64 array
        Candidate sites, as indices into cell.frac_coords.
    candidates : list of Orientation
        Candidate orientations.
    spectrum : Spectrum
        The density, for ties that the structure leaves.

    Returns
    -------
    int
        The site.
    Orientation
        The orientation.
    """
    to_frac = np.linalg.inv(cell.primitive)
    axes = np.stack([candidate.axes for candidate in candidates])
    offsets = cell.spacing * (_PROBES @ axes) @ to_frac  # (orientation, probe, 3)
    points = cell.frac_coords[sites][:, None, None] + offsets  # (site, orientation, probe, 3)
    points = points.reshape(-1, len(_PROBES), 3)
    left = np.arange(len(points))
    for field in (_nuclear_charge(cell), spectrum):
        smooth = _smeared(field, cell)
        spread = np.linalg.norm(smooth.coefficients[smooth.indices.any(axis=1)])  # about the rms variation
        for probe in range(len(_PROBES)):
            seen = smooth.sample(points[left, probe])
            left = left[seen >= seen.max() - _TIE * spread]
    site, orientation = divmod(int(left[0]), len(candidates))
    return int(sites[site]), candidates[orientation]


def _nuclear_charge(cell: StandardCell) -> Spectrum:
    """Atomic numbers as point charges, up to the largest wave that the smearing leaves."""
    radius = _LARGEST_WAVE / (_SMEARING * cell.spacing)
    limits = np.floor(radius * np.linalg.norm(cell.primitive, axis=1) / (2 * np.pi)).astype(int)
    ranges = [np.arange(-limit, limit + 1) for limit in limits]
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    phases = np.exp(-2j * np.pi * (indices @ cell.frac_coords.T))
    return Spectrum(indices, phases @ cell.numbers / cell.volume)


def _smeared(field: Spectrum, cell: StandardCell) -> Spectrum:
    """Field convolved with a Gaussian, waves beyond its reach left out."""
    reach = np.linalg.norm(field.indices @ cell.reciprocal, axis=1) * _SMEARING * cell.spacing
    kept = reach <= _LARGEST_WAVE
    return Spectrum(field.indices[kept], field.coefficients[kept] * np.exp(-(reach[kept] ** 2) / 2))


def _reduced_plane_basis(normal: Ints, primitive: Floats) -> tuple[Ints, Ints]:
    """Basis of the lattice vectors u with normal . u = 0, shortest first (Lagrange-Gauss reduction)."""
    h, k, l = (int(index) for index in normal)  # noqa: E741
    g = gcd(h, k)
    if g == 0:
        first, second = np.array([1, 0, 0]), np.array([0, 1, 0])
    else:
        # s h + t k = g; then (k/g, -h/g, 0) and (-s l, -t l, g) span the plane: their cross product is -+normal.
        s, t = _bezout(h, k)
        first, second = np.array([k // g, -h // g, 0]), np.array([-s * l, -t * l, g])
    while True:
        a, b = first @ primitive, second @ primitive
        if b @ b < a @ a:
            first, second, a, b = second, first, b, a
        steps = round(float(a @ b / (a @ a)))
        if steps == 0:
            return first, second
        second = second - steps * first


def _bezout(h: int, k: int) -> tuple[int, int]:
    """Whole numbers s, t with s h + t k = gcd(h, k) (extended Euclid)."""
    rows = [(h, 1, 0), (k, 0, 1)]
    while rows[1][0]:
        quotient = rows[0][0] // rows[1][0]
        rows = [rows[1], tuple(a - quotient * b for a, b in zip(rows[0], rows[1], strict=True))]  # type: ignore[list-item]
    sign = 1 if rows[0][0] > 0 else -1
    return sign * rows[0][1], sign * rows[0][2]
