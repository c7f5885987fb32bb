"""Self-consistent calculations with GPAW, and the volume series made of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from gpaw import GPAW, PW, FermiDirac, KohnShamConvergenceError

from .crystals import Crystal
from .eos import HARTREE, francis_payne
from .fcc import PRIMITIVE, frac_coords
from .series import Point
from .settings import Settings

LOOSE = {"energy": 1e-4, "density": 5e-4, "eigenstates": 1e-6}
"""Convergence of the points of a volume series."""

TIGHT = {"energy": 2e-5, "density": 1e-4, "eigenstates": 1e-7}
"""Convergence of single calculations."""

GENTLE = {"mixer": {"beta": 0.02, "nmaxold": 8, "weight": 100}, "maxiter": 400}
"""Mixing for the second attempt, when a calculation has not converged."""


def crystal_atoms(crystal: Crystal, a: float) -> Atoms:
    """Primitive cell of a crystal with cubic edge `a` [A]."""
    return Atoms(crystal.symbols, scaled_positions=frac_coords(crystal.sites), cell=PRIMITIVE * a, pbc=True)


def self_consistent(
    atoms: Atoms, k_size: Sequence[int], moments: Sequence[float] | None, settings: Settings, **options: Any
) -> tuple[Atoms, float]:
    """Converge a calculation, with gentler mixing if the first attempt fails.

    Parameters
    ----------
    atoms
        Not changed; the calculator sits on the copy that is returned.
    k_size
        Gamma-centred k-mesh.
    moments
        Starting moments [mu_B]; None for a calculation without spin.
    settings
        Cutoff, functional, smearing.
    **options
        Further parameters of GPAW, which win.

    Returns
    -------
    Atoms, float
        The atoms with their converged calculator; energy of the cell [eV], extrapolated to T = 0.

    Raises
    ------
    gpaw.KohnShamConvergenceError
        If both attempts fail.
    """
    try:
        return _attempt(atoms, k_size, moments, settings, options)
    except KohnShamConvergenceError:
        return _attempt(atoms, k_size, moments, settings, {**options, **GENTLE})


def _attempt(
    atoms: Atoms,
    k_size: Sequence[int],
    moments: Sequence[float] | None,
    settings: Settings,
    options: dict[str, Any],
) -> tuple[Atoms, float]:
    parameters: dict[str, Any] = {
        "mode": PW(settings.cutoff),
        "xc": settings.functional,
        "kpts": {"size": tuple(k_size), "gamma": True},
        "occupations": FermiDirac(settings.smearing),
        "convergence": TIGHT,
        "eigensolver": "davidson",
        "maxiter": settings.max_iterations,
        "spinpol": moments is not None,
        "txt": None,
    }
    atoms = atoms.copy()
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    atoms.calc = GPAW(**(parameters | options))
    return atoms, _finite_energy(atoms)


def _finite_energy(atoms: Atoms) -> float:
    energy = float(atoms.get_potential_energy())
    if not np.isfinite(energy):
        raise KohnShamConvergenceError("the energy is not a number")
    return energy


class VolumeSeries:
    """Energies of one cell at several volumes, each started from the one before.

    Spin-polarised calculations start afresh every time, since a moment lost at one volume would stay lost.

    Parameters
    ----------
    make
        Gives the atoms at a relative edge.
    k_size
        k-mesh, the same at all volumes.
    moments
        Starting moments [mu_B], or None.
    settings
        Cutoff, functional, smearing.
    """

    def __init__(
        self,
        make: Callable[[float], Atoms],
        k_size: Sequence[int],
        moments: Sequence[float] | None,
        settings: Settings,
    ) -> None:
        self.make = make
        self.k_size = k_size
        self.moments = moments
        self.settings = settings
        self._last: Atoms | None = None

    def __call__(self, scale: float) -> Point:
        """Energy at a relative edge, with the Francis-Payne correction."""
        atoms, energy = self._continue(scale) or self._start(scale)
        self._last = atoms if self.moments is None else None
        return Point(scale, float(atoms.get_volume()), corrected_energy(atoms, energy, self.settings.cutoff))

    def _continue(self, scale: float) -> tuple[Atoms, float] | None:
        if self._last is None:
            return None
        self._last.set_cell(self.make(scale).cell, scale_atoms=True)
        try:
            return self._last, _finite_energy(self._last)
        except KohnShamConvergenceError:
            return None

    def _start(self, scale: float) -> tuple[Atoms, float]:
        return self_consistent(self.make(scale), self.k_size, self.moments, self.settings, convergence=LOOSE)


def corrected_energy(atoms: Atoms, energy: float, cutoff: float) -> float:
    """Energy [eV] with the Francis-Payne correction; its slope comes from the PAW sets."""
    dft = atoms.calc.dft
    waves, weights = zip(*((w.psit_nX.desc.shape[0], w.weight) for w in dft.ibzwfs), strict=True)
    return francis_payne(
        energy,
        n_waves=float(np.average(waves, weights=weights)),
        volume=float(atoms.get_volume()),
        cutoff=cutoff,
        slope=float(dft.setups.estimate_dedecut(cutoff / HARTREE)),
    )
