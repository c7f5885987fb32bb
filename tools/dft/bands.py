"""Eigenvalues and density of states of a converged GPAW calculation."""

from typing import Any

import numpy as np
from gpaw.dos import get_projector_numbers

from .arrays import Floats
from .dos import DensityOfStates, Projection, tetrahedra, tetrahedron_dos

BIN = 0.05  # eV
WINDOW = (-14.0, 6.0)  # eV; centres of the first and last bin, relative to the zero
ABOVE_BAND = 1e-3  # eV; the zero of an insulator lies this far above its valence band


def eigenvalues(calc: Any) -> Floats:
    """(spins, k, n) band energies [eV] at the irreducible k-points."""
    spins, k_points = calc.get_number_of_spins(), len(calc.get_ibz_k_points())
    return np.array([[calc.get_eigenvalues(kpt=k, spin=s) for k in range(k_points)] for s in range(spins)])


def density_of_states(calc: Any, bands: Floats, *, zero: float, zero_name: str) -> DensityOfStates:
    """Total and projected densities of states by linear tetrahedra."""
    n_bins = round((WINDOW[1] - WINDOW[0]) / BIN) + 1
    edges = WINDOW[0] - BIN / 2 + BIN * np.arange(n_bins + 1)
    source = calc.dos(shift_fermi_level=False).wfs
    corners, weights = tetrahedra(source.size, source.bz2ibz_map)
    labels, projectors = _projectors(calc, source)
    spins = np.array(
        [
            tetrahedron_dos(bands[s], corners, weights, edges + zero, [p[:, :, s] for p in projectors])
            for s in range(len(bands))
        ]
    )
    projected = spins[:, 1:].sum(axis=0) * (2 if len(spins) == 1 else 1)
    return DensityOfStates(
        energies=np.round((edges[1:] + edges[:-1]) / 2, 6),
        zero=zero,
        zero_name=zero_name,
        spins=spins[:, 0],
        projections=[Projection(*label, dos) for label, dos in zip(labels, projected, strict=True)],
        mesh=tuple(int(n) for n in source.size),
    )


def _projectors(calc: Any, source: Any) -> tuple[list[tuple[int, str, str]], list[Any]]:
    """Labels (atom, element, letter) and (k, n, spins) weights of all bound channels."""
    labels, weights = [], []
    for atom, setup in enumerate(calc.setups):
        bound = {momentum for n, momentum in zip(setup.n_j, setup.l_j, strict=True) if n > 0}
        for momentum in sorted(bound):
            labels.append((atom, setup.symbol, "spdf"[momentum]))
            weights.append(source.pdos_weights(atom, get_projector_numbers(setup, momentum)))
    return labels, weights
