"""Fields made of VASP's AECCAR files: core (0), overlapped free atoms (1) and all-electron valence density (2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from rhoflow.density.read import Volumetric, read_density
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.sources.local import LocalFiles

Rho = NDArray[np.float64]
SAME_CELL = 1e-3  # relative, of lattice vectors; absolute, of fractional coordinates: VASP prints both to 6 digits
# field: the files that it is made of, and how
PARTS: dict[str, tuple[tuple[int, int], Callable[[Rho, Rho], Rho]]] = {
    "all_electron": ((0, 2), np.add),
    "deformation": ((2, 1), np.subtract),
}


def aeccar_field(name: str, density: Volumetric, files: LocalFiles) -> Rho | None:
    """Compute a field that is made of two AECCAR files.

    Parameters
    ----------
    name : str
        ``all_electron``, AECCAR0 + AECCAR2, or ``deformation``, AECCAR2 - AECCAR1.
    density : Volumetric
        The valence density of the same run.

    Returns
    -------
    (na, nb, nc) float64 array or None
        The field [e/A^3]; None if one of its files is not there.

    Raises
    ------
    RejectedMaterialError
        If a file cannot be read or belongs to another crystal or grid than `density`.
    """
    numbers, combine = PARTS[name]
    paths = [files.aeccar[number] for number in numbers]
    if None in paths:
        return None
    first, second = (_read(path, density, files.structure) for path in paths if path)
    return combine(first, second)


def missing_aeccar(name: str, files: LocalFiles) -> str:
    """Name the AECCAR files that a field wants and a material lacks: ``"AECCAR0 and AECCAR2"``."""
    return " and ".join(f"AECCAR{k}" for k in sorted(PARTS[name][0]) if files.aeccar[k] is None)


def _read(path: Path, density: Volumetric, structure_path: Path | None) -> Rho:
    found = read_density(path, structure_path, whole_electrons=False)
    if found.total.shape != density.total.shape or not _same_crystal(found.structure, density.structure):
        raise RejectedMaterialError(
            Reason.BAD_STRUCTURE,
            f"{path}: {found.structure.formula} on the grid {found.total.shape}, but the density beside it is"
            f" {density.structure.formula} on {density.total.shape}: cell, sites and grid must agree; give the files"
            " of one run",
        )
    return found.total


def _same_crystal(one: Structure, other: Structure) -> bool:
    if one.atomic_numbers != other.atomic_numbers:
        return False
    size = np.abs(other.lattice.matrix).max()
    apart = one.frac_coords - other.frac_coords
    same_cell = np.allclose(one.lattice.matrix, other.lattice.matrix, rtol=0, atol=SAME_CELL * size)
    return bool(same_cell and np.abs(apart - np.round(apart)).max() < SAME_CELL)
