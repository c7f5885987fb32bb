"""Gaussian cube files of periodic codes: Quantum ESPRESSO's pp.x, and GPAW or others through ASE.

A cube file does not say the unit of its values: pp.x writes e/bohr^3, GPAW's arrays, which ASE writes as they are,
are e/A^3. Only one of the two makes the electrons of the cell a whole number, so that decides. pymatgen's reader
(`VolumetricData.from_cube`) leaves the values in either unit, where all its other densities are rho*V, and knows no
lengths in A; so it is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.core.units import bohr_to_angstrom

from rhoflow.density.blocks import read_numbers
from rhoflow.density.header import check_cell
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.foreign import shown

# Values have five digits or more, so that a sum over the grid is exact to about 1e-6 of the count. Steps of the grid
# have six decimals, so that the volume, hence the integral, is not.
_ELECTRONS_ATOL = 1e-3
_ELECTRONS_RTOL = 1e-6
_STEP_ROUNDING = 1e-6  # bohr or A
_CLEARLY = 10.0  # times nearer to a whole number decides where both units give one
_MAX_Z = 118
_PACKED = (".gz", ".xz", ".bz2")


def is_cube(path: Path) -> bool:
    """Whether a file is called a cube file, packed or not."""
    name = path.with_suffix("").name if path.suffix in _PACKED else path.name
    return name.endswith(".cube")


def read_cube(text: BinaryIO, path: Path) -> tuple[Structure, NDArray[np.float64]]:
    """Read crystal and density from a cube file.

    Parameters
    ----------
    text : binary file
        The decompressed content; seekable.

    Returns
    -------
    structure : Structure
        Cell and sites [A]; the first grid point is the origin.
    rho_times_volume : (na, nb, nc) float64 array
        Density times volume [e].

    Raises
    ------
    RejectedMaterialError
        If the file is cut short or none of a density, or neither unit gives whole electrons.
    """
    text.readline(), text.readline()  # two lines of remarks
    n_sites, *origin = _numbers(text, path, "number of atoms and origin", 4, most=5)
    if n_sites < 0 or origin[3:] not in ([], [1.0]):
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"{path}: a cube file of orbitals, or of several values a point; give the density alone",
        )
    grid = [_numbers(text, path, "number of points and step of an axis", 4) for _ in range(3)]
    # A number of points below zero says that lengths are in A.
    length = 1.0 if grid[0][0] < 0 else bohr_to_angstrom
    shape = tuple(abs(int(row[0])) for row in grid)
    lattice = np.array([np.array(row[1:]) * n for row, n in zip(grid, shape, strict=True)]) * length
    sites = np.array([_numbers(text, path, "an atom", 5) for _ in range(int(n_sites))]).reshape(-1, 5)
    numbers = sites[:, 0]
    if not len(sites) or not all(number in range(1, _MAX_Z + 1) for number in numbers):
        raise RejectedMaterialError(
            Reason.NO_ELEMENTS, f"{path}: atomic numbers {numbers[:5].tolist()}, expected 1 to {_MAX_Z}; correct them"
        )
    check_cell(lattice, len(sites), path)
    coords = (sites[:, 2:] - origin[:3]) * length
    structure = Structure(lattice, numbers.astype(int).tolist(), coords, coords_are_cartesian=True)
    values = read_numbers(text, int(np.prod(shape, dtype=object)), f"grid {shape}", path).reshape(shape)
    if rest := text.read(200).split():
        raise RejectedMaterialError(
            Reason.UNREADABLE, f"{path}: {shown(rest[:1])} follows after the {shape} grid; give the density alone"
        )
    steps = [np.linalg.norm(row[1:]) for row in grid]
    rounding = _ELECTRONS_RTOL + sum(_STEP_ROUNDING / step for step in steps)
    return structure, _times_volume(values, structure, float(rounding), path)


def _numbers(text: BinaryIO, path: Path, what: str, n: int, *, most: int | None = None) -> list[float]:
    """Numbers of the next line."""
    line = text.readline()
    try:
        found = [float(word) for word in line.split()]
    except ValueError:
        found = []
    if not n <= len(found) <= (most or n) or not np.isfinite(found).all():
        raise RejectedMaterialError(
            Reason.UNREADABLE if line else Reason.TRUNCATED,
            f"{path}: expected {what}, {n} numbers, found {shown(line.split())}; copy it again",
        )
    return found


def _times_volume(
    values: NDArray[np.float64], structure: Structure, rounding: float, path: Path
) -> NDArray[np.float64]:
    """Density times volume [e], in the unit that makes whole electrons, at least one a site.

    Their number is exact, while the cell is known to the printed digits only: the density is scaled to it.

    Parameters
    ----------
    rounding : float
        How far the integral may be off, as a share of the electrons.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
    if not np.isfinite(mean):
        return values  # whoever looks at the values refuses them
    counts: dict[str, float] = {
        "e/bohr^3": mean * structure.volume / bohr_to_angstrom**3,
        "e/A^3": mean * structure.volume,
    }
    most = sum(structure.atomic_numbers) + len(structure)
    off = {
        round(count): abs(count - round(count))
        for count in counts.values()
        if len(structure) <= round(count) <= most and abs(count - round(count)) <= _ELECTRONS_ATOL + rounding * count
    }
    best = min(off, key=lambda electrons: off[electrons], default=0)
    if not best or any(off[other] < _CLEARLY * off[best] for other in off if other != best):
        raise RejectedMaterialError(
            Reason.ELECTRON_COUNT,
            f"{path}: integrates to {counts['e/bohr^3']:.6g} electrons if its values are e/bohr^3, to"
            f" {counts['e/A^3']:.6g} if they are e/A^3, for {structure.formula}; just one should be a whole number"
            f" from {len(structure)} to {most}: give the valence density with all its charge (no pseudo-density)",
        )
    return values * (best / mean)
