"""Energy of an element in its reference structure."""

import numpy as np
from ase import Atoms
from gpaw import FermiDirac

from .eos import scan
from .fcc import monkhorst_size
from .references import Reference
from .scf import VolumeSeries, self_consistent
from .series import SeriesCache
from .settings import Settings

BOND_SCALES = (0.97, 1.0, 1.03)
MOLECULE_SMEARING = 0.02  # eV


def reference_energy(reference: Reference, settings: Settings, cache: SeriesCache) -> float:
    """Energy per atom [eV]."""
    if reference.is_molecule:
        energy = _molecule_energy(reference, settings)
    elif reference.relaxation == "volume":
        energy = _relaxed_energy(reference, settings, cache)
    else:
        atoms = reference.atoms()
        k_size = monkhorst_size(atoms.cell.lengths(), settings.k_length_reference_fixed)
        _, energy = self_consistent(atoms, k_size, reference.moments(), settings)
    return energy / len(reference.atoms())


def _relaxed_energy(reference: Reference, settings: Settings, cache: SeriesCache) -> float:
    atoms = reference.atoms()

    def make(scale: float) -> Atoms:
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * scale, scale_atoms=True)
        return scaled

    k_size = monkhorst_size(atoms.cell.lengths(), settings.k_length_reference)
    series = VolumeSeries(make, k_size, reference.moments(), settings)
    fit, _ = scan(cache.remembering(series), settings.scales, cache.points())
    return fit.energy


def _molecule_energy(reference: Reference, settings: Settings) -> float:
    """Energy in a box, of a dimer at the minimum of a parabola through three bond lengths."""
    moments = reference.moments()
    occupations = FermiDirac(MOLECULE_SMEARING, fixmagmom=moments is not None)

    def energy_of(atoms: Atoms) -> float:
        return self_consistent(atoms, (1, 1, 1), moments, settings, occupations=occupations)[1]

    atoms = reference.atoms()
    if reference.relaxation == "fixed":
        return energy_of(atoms)
    energies = []
    for scale in BOND_SCALES:
        stretched = atoms.copy()
        stretched.set_distance(0, 1, atoms.get_distance(0, 1) * scale, fix=0.5)
        energies.append(energy_of(stretched))
    square, linear, constant = np.polyfit(BOND_SCALES, energies, 2)
    best = -linear / 2 / square
    if not 0.9 < best < 1.1:
        raise ValueError(f"{reference.element}2: no bond length between 0.9 and 1.1 of the guess; correct a_A")
    return float(constant + linear * best / 2)
