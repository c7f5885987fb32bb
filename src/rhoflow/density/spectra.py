"""Low-passed Fourier coefficients of a density, indexed by the reciprocal vectors of the standard primitive cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from rhoflow.density.cells import Floats, Ints, StandardCell, to_primitive_indices
from rhoflow.errors import Reason, RejectedMaterialError

Complexes = NDArray[np.complex128]

# Waves that the primitive cell does not have may hold this share of the variation (root mean square).
PERIODICITY_TOLERANCE = 1e-2
# The sphere stays this much inside the grid's Nyquist box: no wave on the box, whose sign the grid does not know,
# and no star of equivalent waves cut in two by rounding.
_INSIDE_NYQUIST = 1 - 1e-4


@dataclass(frozen=True)
class Spectrum:
    """Waves of a real periodic field: ``rho(x) = Re sum_k coefficients[k] exp(2 pi i indices[k] . x)``.

    Attributes
    ----------
    indices : (k, 3) int64 array
        Reciprocal vectors in the primitive cell's basis; of each pair G, -G it is enough to hold one.
    coefficients : (k,) complex128 array
        Amplitudes [e/A^3], twice the Fourier coefficient where -G is left out.
    """

    indices: Ints
    coefficients: Complexes

    def sample(self, frac_coords: Floats) -> Floats:
        """Field [e/A^3] at fractional coordinates (..., 3) of the primitive cell."""
        waves = np.exp(2j * np.pi * (frac_coords @ self.indices.T))
        return np.asarray((waves @ self.coefficients).real)


def low_pass(rho: Floats, cell: StandardCell, *, g_cut: float) -> Spectrum:
    """Fourier coefficients of a density with abs(G) <= g_cut, as waves of the primitive cell.

    The sphere also stays inside the Nyquist box of the grid, so the result knows neither cell nor grid as long as
    the density has no waves beyond it.

    Parameters
    ----------
    rho : (na, nb, nc) float64 array
        Density on the native grid of the file's cell [e/A^3].
    g_cut : float
        Largest wave vector to keep [1/A], 2 pi included.

    Raises
    ------
    RejectedMaterialError
        NOT_PERIODIC, if the file's cell is a supercell of the crystal's and the density varies from one primitive
        cell to the next.
    """
    indices, coefficients = long_waves(rho, cell.multiples @ cell.primitive, g_cut)
    return _onto_primitive(indices, coefficients * np.where(indices[:, 2] > 0, 2, 1), cell)


def long_waves(rho: Floats, lattice: Floats, g_cut: float) -> tuple[Ints, Complexes]:
    """Fourier coefficients of a density on its grid with abs(G) <= g_cut, in a sphere inside the Nyquist box.

    Parameters
    ----------
    rho : (na, nb, nc) float64 array
        Density [e/A^3].
    lattice : (3, 3) float64 array
        Lattice vectors of its cell as rows [A].
    g_cut : float
        Largest wave vector to keep [1/A], 2 pi included.

    Returns
    -------
    indices : (k, 3) int64 array
        Reciprocal vectors in the cell's basis; of the pairs G, -G with unequal third index the one above 0 only.
    coefficients : (k,) complex128 array
        Fourier coefficients [e/A^3].
    """
    nyquist = np.pi * float(np.min(rho.shape / np.linalg.norm(lattice, axis=1)))
    radius = min(g_cut, _INSIDE_NYQUIST * nyquist)
    i, j, k = indices_within(lattice, radius)
    k = k[k >= 0]
    inside = squared_lengths(lattice, i, j, k) <= radius**2
    return np.argwhere(inside) + [i[0], j[0], k[0]], _corner(rho, i, j, k)[inside]


def indices_within(lattice: Floats, radius: float) -> tuple[Ints, Ints, Ints]:
    """Give the smallest block of reciprocal indices around a sphere [1/A], axis by axis."""
    # abs(m_i) = abs(G . a_i) / 2 pi <= radius abs(a_i) / 2 pi
    limits = np.floor(radius * np.linalg.norm(lattice, axis=1) / (2 * np.pi)).astype(int)
    i, j, k = (np.arange(-limit, limit + 1) for limit in limits)
    return i, j, k


def squared_lengths(lattice: Floats, i: Ints, j: Ints, k: Ints) -> Floats:
    """Squares of the wave vectors [1/A^2] on the block of indices i x j x k, from the reciprocal metric."""
    reciprocal = 2 * np.pi * np.linalg.inv(lattice).T
    g = reciprocal @ reciprocal.T
    x, y, z = i[:, None, None], j[:, None], k
    flat = g[0, 0] * x**2 + 2 * g[0, 1] * x * y + g[1, 1] * y**2
    return np.asarray(flat + 2 * (g[0, 2] * x + g[1, 2] * y) * z + g[2, 2] * z**2)


def _corner(rho: Floats, i: Ints, j: Ints, k: Ints) -> Complexes:
    """Fourier coefficients at indices (i, j, k), k >= 0; what is cut away is dropped after each axis."""
    waves = scipy.fft.rfft(rho, axis=2)[:, :, k]
    waves = scipy.fft.fft(waves, axis=1, overwrite_x=True)[:, j]
    waves = scipy.fft.fft(waves, axis=0, overwrite_x=True)[i]
    return np.asarray(waves / rho.size)


def _onto_primitive(indices: Ints, coefficients: Complexes, cell: StandardCell) -> Spectrum:
    """Relabel waves of the file's cell as waves of the primitive cell, and reject a density that has others."""
    primitive, whole = to_primitive_indices(indices, cell)
    power = np.abs(coefficients) ** 2
    varying = power[indices.any(axis=1)].sum()
    extra = power[~whole].sum()
    if extra > PERIODICITY_TOLERANCE**2 * varying:
        n_cells = abs(round(np.linalg.det(cell.multiples)))
        raise RejectedMaterialError(
            Reason.NOT_PERIODIC,
            f"the file's cell holds {n_cells} primitive cells of its structure, but {np.sqrt(extra / varying):.2g} of"
            f" the density's variation (rms; allowed {PERIODICITY_TOLERANCE}) differs between them; a magnetic or"
            " charge-ordered cell has no image per primitive cell: leave it out or use field: total",
        )
    return Spectrum(primitive[whole], coefficients[whole])
