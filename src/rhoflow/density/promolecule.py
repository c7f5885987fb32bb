r"""The promolecule: the spherical free atoms of a crystal, superposed without letting them bond.

    rho_pro(r) = sum_G F(G) exp(i G . r),        F(G) = (1/V) sum_a f_a(abs(G)) exp(-i G . r_a)

over the waves that the grid holds. On an axis with an even number n of points the waves +n/2 and -n/2 are one on
the grid; each counts half, so that no direction is preferred.

A density minus its promolecule is the deformation density: what bonding moved. (Coppens, X-ray Charge Densities and
Chemical Bonding, 1997, section 5.2.)
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from pymatgen.core import Structure

from rhoflow.density.cells import Ints
from rhoflow.density.free_atoms import Floats, form_factor
from rhoflow.density.spectra import Complexes
from rhoflow.density.valence import Valence, n_electrons


def deformation(rho: Floats, structure: Structure, valence: Valence, *, smoothing: float = 0.0) -> Floats:
    """Valence density minus the free atoms.

    Parameters
    ----------
    rho : (na, nb, nc) float64 array
        Valence density [e/A^3].
    structure : Structure
        The crystal in the cell of the grid.
    valence : mapping of str to mapping of str to float
        Electrons by element and shell, from `choose_valence`.
    smoothing : float
        Width of the Gaussian filter that `rho` went through [A].

    Returns
    -------
    (na, nb, nc) float64 array
        [e/A^3]; it integrates to 0, because the promolecule is scaled to the electrons of `rho` (by 0.05 e a cell
        at most, which `choose_valence` sees to).
    """
    free_atoms = promolecule(structure, rho.shape, valence, smoothing=smoothing)
    scale = rho.mean() * structure.volume / n_electrons(structure, valence)
    free_atoms *= -scale
    free_atoms += rho
    return free_atoms


def promolecule(structure: Structure, shape: tuple[int, ...], valence: Valence, *, smoothing: float = 0.0) -> Floats:
    """Superposed free atoms on a grid.

    The waves are summed plane by plane, all atoms of an element in one matrix product: memory is that of the grid.

    Parameters
    ----------
    shape : tuple of 3 int
        Points along a, b, c; the other parameters are those of `deformation`.

    Returns
    -------
    (na, nb, nc) float64 array
        [e/A^3]
    """
    factors = {element: form_factor(element, shells, smoothing=smoothing) for element, shells in valence.items()}
    i, j, k = _indices(shape[0]), _indices(shape[1]), np.arange(shape[2] // 2 + 1)
    atoms = {element: _phases(frac_coords, i, j, k) for element, frac_coords in _by_element(structure).items()}
    metric = (2 * np.pi) ** 2 * np.linalg.inv(structure.lattice.metric_tensor)
    waves = np.zeros((shape[0], shape[1], len(k)), dtype=np.complex128)
    for row, index in enumerate(i):
        lengths = _lengths(metric, index, j, k)
        plane = np.zeros(lengths.shape, dtype=np.complex128)
        for element, (along_a, along_b, along_c) in atoms.items():
            plane += factors[element](lengths) * ((along_b * along_a[row]) @ along_c.T)
        waves[index % shape[0]] += _fold(plane, shape[1])
    if shape[0] % 2 == 0:
        waves[shape[0] // 2] /= 2
    # on the last axis the transform to a real field itself takes the mean of the waves +n/2 and -n/2
    return np.asarray(scipy.fft.irfftn(waves / structure.volume, s=shape, norm="forward", overwrite_x=True))


def _indices(n: int) -> Ints:
    """Waves of an axis with n points in the order of an FFT; -n/2 stands behind all if n is even."""
    indices = np.arange(n)
    indices[indices > n // 2] -= n
    return np.append(indices, -n // 2) if n % 2 == 0 else indices


def _fold(plane: Complexes, n: int) -> Complexes:
    """Plane (m, k) on the n waves of the grid: the mean of the waves +n/2 and -n/2."""
    if n % 2 == 0:
        plane[n // 2] = (plane[n // 2] + plane[n]) / 2
    return plane[:n]


def _by_element(structure: Structure) -> dict[str, Floats]:
    """Fractional coordinates (m, 3) of the atoms of each element."""
    symbols = np.array([site.specie.symbol for site in structure])
    return {str(element): structure.frac_coords[symbols == element] for element in np.unique(symbols)}


def _phases(frac_coords: Floats, *axes: Ints) -> tuple[Complexes, ...]:
    """Factors exp(-2 pi i h x) of the atoms (m, 3) for the waves of each axis, (waves, m) complex128 each."""
    return tuple(np.exp(-2j * np.pi * np.outer(h, x)) for h, x in zip(axes, frac_coords.T, strict=True))


def _lengths(metric: Floats, h: int, k: Ints, l: Ints) -> Floats:  # noqa: E741
    """Lengths [1/A] of the wave vectors (h, k, l) for all k and l, from the reciprocal metric [1/A^2]."""
    m, k = metric, k[:, None]
    squared = m[0, 0] * h**2 + m[1, 1] * k**2 + 2 * m[0, 1] * h * k
    squared = squared + m[2, 2] * l**2 + 2 * (m[0, 2] * h + m[1, 2] * k) * l
    return np.asarray(np.sqrt(np.maximum(squared, 0)))
