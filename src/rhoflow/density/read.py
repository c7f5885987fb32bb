"""Read valence densities: VASP CHGCAR and CHG files, cube files, and the density objects of the Materials Project.

A CHGCAR holds rho*V on a grid, first axis fastest, in blocks: total; total and spin; or total and three
magnetisation components. The numbers go through pymatgen's compiled parser; what stands around them is checked here,
because a density that is shifted by one number or belongs to other elements looks like a density.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray
from pymatgen.core import Structure

from rhoflow.density.blocks import read_blocks
from rhoflow.density.cube import is_cube, read_cube
from rhoflow.density.header import check_cell, read_header
from rhoflow.density.symbols import borrow_symbols
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.foreign import kind_of
from rhoflow.materials.unpack import is_packed, unpack

# Names of the blocks after the first, by how many there are.
_SPIN_FIELDS = {0: (), 1: ("spin",), 3: ("spin_x", "spin_y", "spin_z")}


# Real files integrate to whole numbers within 1e-7 of the count (11 digits) or 2e-6 (CHG, 5 digits); overlapped-atom
# and all-electron files (AECCAR) miss by 0.01 and more.
_ELECTRONS_ATOL = 1e-3
_ELECTRONS_RTOL = 1e-6
_MIN_DISTANCE = 0.3  # A; the shortest bond, H2, has 0.74
_MAX_FRAC_COORD = 100.0  # sites may lie in other cells, but not where digits get lost
# Fortran drops the E of a three-digit exponent: 0.1234-100. A parser of doubles takes that for two numbers.
_EXPONENT_WITHOUT_E = re.compile(rb"(\d)([+-]\d{3})(?=\s)")


@dataclass(frozen=True)
class Volumetric:
    """A crystal and its valence density on the native grid.

    Attributes
    ----------
    structure : Structure
        Cell and sites as the file has them.
    total : (na, nb, nc) float64 array
        Valence electron density [e/A^3]; axes along a, b, c, end point not repeated.
    spin : dict of str to (na, nb, nc) float64 array
        ``spin`` (up minus down) or ``spin_x``, ``spin_y``, ``spin_z`` [mu_B/A^3]; empty without spin.
    electrons : float
        Integral of `total` over the cell, within 1e-3 of a whole number unless that was not asked for.
    """

    structure: Structure
    total: NDArray[np.float64]
    spin: dict[str, NDArray[np.float64]]
    electrons: float


def read_density(path: Path, structure_path: Path | None = None, *, whole_electrons: bool = True) -> Volumetric:
    """Read a CHGCAR or CHG file, a cube file, or a density object of the Materials Project (``.json``, ``.json.gz``).

    Parameters
    ----------
    path : Path
        The file, plain or compressed (gzip, xz, bzip2; recognised by content). A cube file is called ``.cube``.
    structure_path : Path, optional
        POSCAR or CIF with the elements of a VASP 4 file; without it, one beside `path` is looked for.
    whole_electrons : bool
        Reject a file that does not integrate to whole electrons; AECCAR files never do.

    Returns
    -------
    Volumetric
        Densities in e/A^3.

    Raises
    ------
    RejectedMaterialError
        If the file cannot be read whole, its elements are unknown, or it does not integrate to whole electrons.
    """
    if path.name.endswith((".json", ".json.gz")):
        return read_mp_object(path, whole_electrons=whole_electrons)
    text = _open(path)
    with text:
        try:
            return _parse(text, path, structure_path, whole_electrons)
        except RejectedMaterialError:
            text.seek(0)
            raw = text.read()
            repaired = _EXPONENT_WITHOUT_E.sub(rb"\1E\2", raw)
            if repaired == raw:
                raise
            return _parse(BytesIO(repaired), path, structure_path, whole_electrons)


def read_mp_object(path: Path, *, whole_electrons: bool = True) -> Volumetric:
    """Read one object of the Materials Project's density bucket.

    Parameters
    ----------
    path : Path
        JSON, plain or compressed, ``{"data": <pymatgen Chgcar as dict>, ...}`` with ``data.total``, ``data.diff``.
    whole_electrons : bool
        As `read_density`.

    Raises
    ------
    RejectedMaterialError
        As `read_density`.
    """
    with _open(path) as text:
        raw = text.read()
    if not raw.strip():
        raise RejectedMaterialError(Reason.EMPTY, f"{path}: no content; download it again")
    try:
        document = orjson.loads(raw)
        del raw  # the text of a large object takes more memory than its arrays
        if document is None or document["data"] is None:
            raise RejectedMaterialError(
                Reason.NO_DENSITY, f"{path}: null stands where the density should; the project has none for this task"
            )
        blocks = _mp_blocks(document["data"]["data"])
        structure = _mp_structure(document["data"]["poscar"]["structure"])
    except RejectedMaterialError:
        raise
    except Exception as error:  # whatever a foreign document can make orjson and pymatgen raise
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"{path}: no density object of the Materials Project ({kind_of(error)});"
            " expected JSON with data.data.total and data.poscar.structure: download it again",
        ) from error
    return _volumetric(structure, blocks, path, whole_electrons)


def _mp_structure(serialised: dict[str, Any]) -> Structure:
    """Lattice, elements and sites of a structure as pymatgen serialises it; all else stays behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the age of the serialised structure
        found = Structure.from_dict(serialised)
    return Structure(found.lattice.matrix, [site.specie.Z for site in found], found.frac_coords)


def _mp_blocks(data: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Take the blocks rho*V [e] out of ``data.data`` in the order of a CHGCAR; each list is freed as it goes."""
    keys = ("diff_x", "diff_y", "diff_z") if "diff_x" in data else ("diff",) if "diff" in data else ()
    return [_mp_array(data.pop(key)) for key in ("total", *keys)]


def _mp_array(value: Any) -> NDArray[np.float64]:
    """Convert a numpy array as monty serialises it, or nested lists."""
    return np.array(value["data"] if isinstance(value, dict) else value, dtype=np.float64)


def _open(path: Path) -> BinaryIO:
    """Open a file as seekable text, decompressed in memory if need be (seeking in a compressed file is slow)."""
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise RejectedMaterialError(
            Reason.UNREADABLE, f"{path}: {error.strerror}; give the path of a readable density file"
        ) from error
    start = file.read(6)
    file.seek(0)
    if is_packed(start):
        with file:
            return BytesIO(unpack(file.read(), path))
    return file


def _parse(text: BinaryIO, path: Path, structure_path: Path | None, whole_electrons: bool) -> Volumetric:
    if is_cube(path):
        structure, block = read_cube(text, path)
        return _volumetric(structure, [block], path, whole_electrons)
    header = read_header(text, path)
    symbols = header.symbols or borrow_symbols(header, path, structure_path)
    structure = Structure(header.lattice, symbols, header.frac_coords)
    return _volumetric(structure, read_blocks(text, len(structure), path), path, whole_electrons)


def _volumetric(
    structure: Structure, blocks: list[NDArray[np.float64]], path: Path, whole_electrons: bool
) -> Volumetric:
    """Check the blocks rho*V of a file and divide them by the volume.

    Parameters
    ----------
    blocks : list of (na, nb, nc) float64 array
        Density times volume [e], any memory order.
    """
    total, *others = blocks
    if len(others) not in _SPIN_FIELDS:
        reason = Reason.TRUNCATED if len(others) == 2 else Reason.UNREADABLE
        raise RejectedMaterialError(
            reason, f"{path}: {len(blocks)} density blocks, expected 1 (total), 2 (spin) or 4 (non-collinear)"
        )
    if total.ndim != 3 or any(block.shape != total.shape for block in others):
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"{path}: blocks of shapes {[block.shape for block in blocks]}, expected one three-dimensional grid;"
            " get the file again",
        )
    check_cell(structure.lattice.matrix, len(structure), path)
    _check_sites(structure, path)
    electrons = _check_electrons(total, structure, path) if whole_electrons else _mean(total, path)
    for block in others:
        _mean(block, path)
    rho, *spins = (np.divide(block, structure.volume, order="C") for block in blocks)
    return Volumetric(structure, rho, dict(zip(_SPIN_FIELDS[len(spins)], spins, strict=True)), electrons)


def _check_sites(structure: Structure, path: Path) -> None:
    farthest = np.abs(structure.frac_coords).max()
    if not farthest <= _MAX_FRAC_COORD:  # NaN fails too
        raise RejectedMaterialError(
            Reason.BAD_STRUCTURE,
            f"{path}: a fractional coordinate is {farthest:.4g}, at most {_MAX_FRAC_COORD:g} is allowed; correct it",
        )
    if not structure.is_valid(tol=_MIN_DISTANCE):
        raise RejectedMaterialError(
            Reason.BAD_STRUCTURE, f"{path}: two sites are closer than {_MIN_DISTANCE} A; correct the coordinates"
        )


def _check_electrons(total: NDArray[np.float64], structure: Structure, path: Path) -> float:
    """Electrons in the cell, or a rejection if that is no plausible whole number."""
    electrons = _mean(total, path)
    nearest = round(electrons)
    # an anion's extra electron at most: beyond that the density belongs to other atoms
    most = sum(structure.atomic_numbers) + len(structure)
    if abs(electrons - nearest) > _ELECTRONS_ATOL + _ELECTRONS_RTOL * nearest or not 1 <= nearest <= most:
        raise RejectedMaterialError(
            Reason.ELECTRON_COUNT,
            f"{path}: integrates to {electrons:.6g} electrons for {structure.formula}, expected a whole number from 1"
            f" to {most}; AECCAR, LOCPOT and ELFCAR files and densities not multiplied by the volume do this: give"
            " the CHGCAR",
        )
    return electrons


def _mean(block: NDArray[np.float64], path: Path) -> float:
    """Mean of a block; rejects NaN and infinity, which it would inherit."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(block.mean()) if block.size else np.nan
    if not np.isfinite(mean):
        n_bad = int((~np.isfinite(block)).sum())
        raise RejectedMaterialError(
            Reason.NOT_FINITE,
            f"{path}: {n_bad} of {block.size} values are NaN, infinite or absurdly large; recompute it",
        )
    return mean
