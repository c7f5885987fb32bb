"""Elements for VASP 4 files, which do not name them, from the structure file beside them."""

from __future__ import annotations

import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from rhoflow.density.header import Header, read_header
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.foreign import kind_of

_BESIDE = ("POSCAR", "CONTCAR", "structure.cif")
# The structure may be the unrelaxed one of the same calculation: cells agree in lengths to 5 %, in angles to 5
# degrees, sites to 0.5 A, far less than any two sites are apart.
_CELL_RTOL = 0.05
_ANGLE_ATOL_DEGREES = 5.0
_SITE_ATOL = 0.5


def borrow_symbols(header: Header, path: Path, structure_path: Path | None) -> tuple[str, ...]:
    """Element of each site of a VASP 4 header, from a POSCAR or CIF of the same cell.

    Parameters
    ----------
    path : Path
        The density file; POSCAR, CONTCAR and structure.cif are looked for beside it.
    structure_path : Path or None
        The structure file to use instead.

    Raises
    ------
    RejectedMaterialError
        If there is none, or it is not the same sites in the same order: elements are never guessed.
    """
    candidates = [structure_path] if structure_path else [path.with_name(name) for name in _BESIDE]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        names = " or ".join(str(candidate) for candidate in candidates)
        raise _no_elements(path, f"the file does not name its elements (VASP 4) and there is no {names}")
    lattice, frac_coords, symbols = _read_structure(found, path)
    counts = tuple(len(list(group)) for _, group in groupby(symbols))
    if counts != header.counts:
        raise _no_elements(
            path, f"it has groups of {header.counts} atoms, {found} of {counts} ({' '.join(symbols)[:60]})"
        )
    if not _same_cell(lattice, Lattice(header.lattice)):
        raise _no_elements(path, f"the cell of {found} is another one ({lattice.parameters}, not by 5 % alike)")
    distance = _distances(header, frac_coords)
    if distance.max() > _SITE_ATOL:
        k = int(distance.argmax())
        raise _no_elements(path, f"site {k + 1} of {found} is {distance[k]:.2f} A away from that of the density file")
    return symbols


def _read_structure(found: Path, path: Path) -> tuple[Lattice, NDArray[np.float64], tuple[str, ...]]:
    """Lattice, fractional coordinates (n, 3) and symbols (n,) of a POSCAR or CIF."""
    if found.name.lower().endswith(".cif"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pymatgen's remarks on rounded coordinates
                structure = Structure.from_file(found, primitive=False)
            symbols = tuple(site.specie.symbol for site in structure)
        except Exception as error:  # whatever a damaged CIF makes pymatgen raise
            raise _no_elements(path, f"{found} cannot be read ({kind_of(error)})") from error
        return structure.lattice, structure.frac_coords, symbols
    with found.open("rb") as text:
        header = read_header(text, found)
    if header.symbols is None:
        raise _no_elements(path, f"{found} does not name its elements either")
    return Lattice(header.lattice), header.frac_coords, header.symbols


def _same_cell(one: Lattice, other: Lattice) -> bool:
    lengths = np.allclose(one.abc, other.abc, rtol=_CELL_RTOL, atol=0.0)
    return lengths and np.allclose(one.angles, other.angles, rtol=0.0, atol=_ANGLE_ATOL_DEGREES)


def _distances(header: Header, frac_coords: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance [A] of each site of a header from the same site of another list, over the periodic boundary."""
    shift = frac_coords - header.frac_coords
    shift -= np.round(shift)
    distances: NDArray[np.float64] = np.linalg.norm(shift @ header.lattice, axis=1)
    return distances


def _no_elements(path: Path, found: str) -> RejectedMaterialError:
    return RejectedMaterialError(
        Reason.NO_ELEMENTS,
        f"{path}: {found}; put the POSCAR (VASP 5, with element symbols) of this calculation beside it",
    )
