r"""The promolecule: the spherical free atoms of a crystal, superposed without letting them bond.

    rho_pro(r) = sum_G F(G) exp(i G . r),        F(G) = (w(abs(G)) / V) sum_a f_a(abs(G)) exp(-i G . r_a)

A density minus its promolecule is the deformation density: what bonding moved (Coppens, X-ray Charge Densities and
Chemical Bonding, 1997, ch. 5).

On a grid, G and G plus n times a reciprocal lattice vector are one wave. The sum runs over a sphere in which no two
are one: half the shortest vector between such waves is its radius q_max. So no wave lies where the grid does not know
its sign, and no direction is preferred.

An atom has a cusp at its nucleus, so its waves reach beyond any grid, and cutting them off leaves ripples
everywhere: in Si on VASP's grid of 0.064 A up to 0.017 e/A^3 more than 1 A away from the nuclei, where the bond is
0.19. What is done about it depends on what was done to the density:

* It went through a Gaussian filter of width sigma: so do the atoms, w = exp(-q^2 sigma^2 / 2).
* It has the smooth cores of a potential (VASP): the atoms get smooth cores too (`free_atoms.smooth_form_factor`), and
  w = exp(-10 (q / q_max)^6), a filter of spectral methods that leaves smooth parts alone to high order (Gottlieb and
  Shu, SIAM Review 39, 644 (1997)). Inside the cores the deformation of such a density has no meaning; it stays
  of the order of 1 e/A^3 there, where cusps would leave holes of up to 50.
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.fft
from pymatgen.core import Lattice, Structure

from rhoflow.density.cells import Floats, Ints
from rhoflow.density.free_atoms import form_factor, smooth_form_factor
from rhoflow.density.spectra import Complexes, indices_within, squared_lengths
from rhoflow.density.valence import Valence

# Strength and order of the window. Of the pairs of 10 or 36 with 4 to 16 this one came closest to VASP's own
# superposed atoms (AECCAR1 of Si, beyond 1 A) on the file's grid and on every second and third point of it.
_STRENGTH, _ORDER = 10.0, 6
_INSIDE = 1 - 1e-9  # of q_max: waves at the limit itself, whose number would hang on rounding, are left out


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
        Width of the Gaussian filter that `rho` went through [A]; 0: none, its cores are those of a potential.

    Returns
    -------
    (na, nb, nc) float64 array
        [e/A^3]; it integrates to 0, because the promolecule is scaled to the electrons of `rho` (by 0.05 e a cell
        at most, which `choose_valence` sees to).
    """
    free_atoms = promolecule(structure, rho.shape, valence, smoothing=smoothing)
    free_atoms *= -rho.mean() / free_atoms.mean()
    free_atoms += rho
    return free_atoms


def promolecule(structure: Structure, shape: tuple[int, ...], valence: Valence, *, smoothing: float = 0.0) -> Floats:
    """Superposed free atoms on a grid.

    The waves are summed plane by plane, all atoms of an element in one matrix product, so memory is that of the grid.

    Parameters
    ----------
    shape : tuple of 3 int
        Points along a, b, c; the other parameters are those of `deformation`.

    Returns
    -------
    (na, nb, nc) float64 array
        [e/A^3]
    """
    lattice = structure.lattice.matrix
    q_max = _q_max(structure.lattice, shape)
    atom = form_factor if smoothing else smooth_form_factor
    factors = {element: atom(element, shells) for element, shells in valence.items()}
    i, j, k = indices_within(lattice, q_max)
    k = k[k % shape[2] <= shape[2] // 2]  # the others are complex conjugates of these, which irfftn knows
    atoms = {element: _phases(frac_coords, i, j, k) for element, frac_coords in _by_element(structure).items()}
    waves = np.zeros((shape[0], shape[1], shape[2] // 2 + 1), dtype=np.complex128)
    for row, h in enumerate(i):
        squared = squared_lengths(lattice, i[row : row + 1], j, k)[0]
        inside = squared < (_INSIDE * q_max) ** 2
        q = np.sqrt(squared[inside])
        coefficients = np.zeros(len(q), dtype=np.complex128)
        for element, (along_a, along_b, along_c) in atoms.items():
            coefficients += factors[element](q) * ((along_b * along_a[row]) @ along_c.T)[inside]
        of_b, of_c = np.nonzero(inside)
        waves[h % shape[0], j[of_b] % shape[1], k[of_c] % shape[2]] = coefficients * _window(q, q_max, smoothing)
    waves /= structure.volume
    return np.asarray(scipy.fft.irfftn(waves, s=shape, norm="forward", overwrite_x=True))


def _q_max(lattice: Lattice, shape: tuple[int, ...]) -> float:
    """Half the shortest reciprocal vector [1/A] between waves that are one on the grid."""
    same = Lattice(lattice.reciprocal_lattice.matrix * np.array(shape)[:, None]).get_lll_reduced_lattice().matrix
    multiples = np.array(list(itertools.product(range(-2, 3), repeat=3)))  # enough for a reduced basis
    lengths = np.linalg.norm(multiples[multiples.any(axis=1)] @ same, axis=1)
    return float(lengths.min()) / 2


def _window(q: Floats, q_max: float, smoothing: float) -> Floats:
    """Factor of the waves of length `q` (m,) [1/A]: see the top of this module."""
    exponent = 0.5 * (q * smoothing) ** 2 if smoothing else _STRENGTH * (q / q_max) ** _ORDER
    return np.exp(-exponent)


def _by_element(structure: Structure) -> dict[str, Floats]:
    """Fractional coordinates (m, 3) of the atoms of each element."""
    symbols = np.array([site.specie.symbol for site in structure])
    return {str(element): structure.frac_coords[symbols == element] for element in np.unique(symbols)}


def _phases(frac_coords: Floats, *axes: Ints) -> tuple[Complexes, ...]:
    """Factors exp(-2 pi i h x) of the atoms (m, 3) for the waves of each axis, (waves, m) complex128 each."""
    return tuple(np.exp(-2j * np.pi * np.outer(h, x)) for h, x in zip(axes, frac_coords.T, strict=True))
