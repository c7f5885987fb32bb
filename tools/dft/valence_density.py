"""All-electron valence density of a converged calculation, and of its free atoms.

The density is the smooth pseudo density plus the corrections inside the PAW spheres, both summed in
reciprocal space: the integral is exact, and the sharp features at the nuclei do not alias.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Bohr
from gpaw.sphere.spherical_harmonics import Y
from gpaw.utilities import pack_density

from .arrays import Complexes, Floats
from .fcc import primitive_volume
from .radial import bessel_transform, form_factor, resample
from .reciprocal import Sphere

CORRECTION_SPACING = 0.0021  # A; radial grid of the PAW corrections
NEGLIGIBLE = 1e-9  # e; multipoles below this are left out


@dataclass(frozen=True)
class ValenceDensity:
    """Densities on the n x n x n primitive grid.

    Attributes
    ----------
    total : (n, n, n) float64 array
        [e/A^3]
    spin : (n, n, n) float64 array or None
        Up - down [e/A^3].
    electrons
        Valence electrons of the PAW sets, which `total` integrates to.
    electrons_before
        What it integrated to before the normalisation of its mean: a check of the calculation.
    """

    total: Floats
    spin: Floats | None
    electrons: float
    electrons_before: float


def valence_density(calc: Any, sphere: Sphere, *, sigma: float) -> ValenceDensity:
    """All-electron density without the frozen cores, low-pass filtered with width `sigma` [A]."""
    dft = calc.dft
    coefficients = _pseudo_density(dft.density, sphere)
    for setup, matrices, position in zip(dft.setups, dft.density.D_asii.values(), dft.relpos_ac, strict=True):
        coefficients += _correction(setup, matrices, sphere) * sphere.phases(position)
    volume = primitive_volume(sphere.lattice_constant)
    total = coefficients.sum(axis=0)
    origin = int(np.flatnonzero(sphere.shell == 0)[0])
    before, electrons = float(total[origin].real * volume), float(sum(setup.Nv for setup in dft.setups))
    total[origin] = electrons / volume
    spin = coefficients[0] - coefficients[1] if len(coefficients) == 2 else None
    return ValenceDensity(
        total=sphere.synthesise(total, sigma=sigma),
        spin=None if spin is None else sphere.synthesise(spin, sigma=sigma),
        electrons=electrons,
        electrons_before=before,
    )


def promolecule(calc: Any, sphere: Sphere, *, sigma: float) -> Floats:
    """(n, n, n) density [e/A^3] of the superposed free atoms of the PAW sets, filtered alike.

    The atoms are spherical and not spin-polarised.
    """
    dft = calc.dft
    factors = {setup.symbol: _free_atom(setup, sphere) for setup in dft.setups}
    coefficients: Complexes = np.zeros(len(sphere.miller), complex)
    for setup, position in zip(dft.setups, dft.relpos_ac, strict=True):
        coefficients += factors[setup.symbol] * sphere.phases(position)
    return sphere.synthesise(coefficients / primitive_volume(sphere.lattice_constant), sigma=sigma)


def _pseudo_density(density: Any, sphere: Sphere) -> Complexes:
    """(spins, m) coefficients [e/A^3] of the pseudo density without the pseudo core."""
    fields = (density.nt_sR.data - density.nct_R.data[None]) / Bohr**3
    return np.array([sphere.analyse(field) for field in fields])


def _correction(setup: Any, matrices: Any, sphere: Sphere) -> Complexes:
    """(spins, m) coefficients [e/A^3] of the PAW correction of an atom at the origin.

    Multipole by multipole, 4 pi (-i)^l / V Y_L(G) times the radial transform of the all-electron minus
    the pseudo partial-wave products, weighted with the atomic density matrix.
    """
    local = setup.local_corr
    r = setup.rgd.r_g * Bohr
    products = (local.n_qg - local.nt_qg) / Bohr**3
    r = r[: products.shape[1]]
    fine, products = resample(r, products, r_max=r[-1], spacing=CORRECTION_SPACING)
    packed = np.array([pack_density(np.ascontiguousarray(matrix.real)) for matrix in matrices])
    weights = np.einsum("Lqp,sp->Lsq", local.T_Lqp, packed)
    result = np.zeros((len(packed), len(sphere.miller)), complex)
    for l in range(round(len(weights) ** 0.5)):  # noqa: E741
        harmonics = range(l * l, (l + 1) ** 2)
        if abs(weights[harmonics]).max() < NEGLIGIBLE:
            continue
        transform = bessel_transform(fine, products, l=l, q=sphere.shell_lengths)
        for L in harmonics:
            angular = Y(L, *sphere.directions.T) * np.ones(len(sphere.miller))
            result += (-1j) ** l * (weights[L] @ transform)[:, sphere.shell] * angular
    return np.asarray(result * (4 * np.pi / primitive_volume(sphere.lattice_constant)))


def _free_atom(setup: Any, sphere: Sphere) -> Floats:
    """(m,) Fourier transform [e] of the spherical free atom at the origin."""
    data = setup.data
    density = sum(f * phi**2 for f, phi in zip(data.f_j, data.phi_jg, strict=True) if f) / (4 * np.pi)
    factor = form_factor(data.rgd.r_g * Bohr, density / Bohr**3, q=sphere.shell_lengths)
    return np.asarray(setup.Nv * factor[sphere.shell])
