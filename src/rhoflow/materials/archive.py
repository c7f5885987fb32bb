"""The raw archive of a shard: densities and their structures in one HDF5 file.

Layout of ``raw/<shard>.h5``, one group a material, named by its id:

========================  =================  =======  =====================================================
dataset                   shape              dtype    meaning
========================  =================  =======  =====================================================
``total``                 (na, nb, nc)       float64  valence electron density [e/A^3]
``spin``                  (na, nb, nc)       float64  up minus down [e/A^3], in spin-polarised files
``spin_x|spin_y|spin_z``  (na, nb, nc)       float64  magnetisation density [mu_B/A^3], in non-collinear ones
``all_electron``          (na, nb, nc)       float64  AECCAR0 + AECCAR2 [e/A^3], where a study asks for it
``deformation``           (na, nb, nc)       float64  AECCAR2 - AECCAR1 [e/A^3], where a study asks for it
``lattice``               (3, 3)             float64  lattice vectors as rows [A]
``frac_coords``           (n, 3)             float64  fractional coordinates of the sites
``numbers``               (n,)               int64    atomic numbers of the sites
========================  =================  =======  =====================================================

A study's ``raw`` says what is kept of a density: ``native``, its own grid in float64, lossless; ``float32``, its own
grid in single precision; ``none``, the unified grid in single precision. Readers always get float64.
Group attributes: whatever the writer passes, e.g. ``electrons`` (float), ``source`` and ``key`` (text), and
``hashes`` (JSON: BLAKE3 of each array by name), against which readers check what they read.
Grid axes run along a, b, c; the end point is not repeated. Densities are stored as they are: past the third digit
they are noise, of which gzip saves a quarter and takes five times as long as all the rest of reading a CHGCAR.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from rhoflow.materials.digests import atomic, digest_arrays, digest_json
from rhoflow.materials.ids import check_id
from rhoflow.materials.integrity import check_content, damaged, known_digests, readable

_STRUCTURE = ("lattice", "frac_coords", "numbers")
_HASHES = "hashes"


class _Disk(io.FileIO):
    """The file under an HDF5 file, which hears of a full disk from us alone.

    The HDF5 library swallows the error, goes on and crashes when it closes the file; so after a first error it is
    told that all is well, and `check` raises the error where Python can deal with it.
    """

    _error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = len(view) if self._error else 0
        try:
            while done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self._error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        if not self._error:
            try:
                return super().truncate(size)
            except OSError as error:
                self._error = error
        return size or 0

    def check(self) -> None:
        """Raise what a write met."""
        if self._error:
            raise self._error


@contextmanager
def _new_file(path: Path) -> Iterator[tuple[_Disk, h5py.File]]:
    """Give a new HDF5 file that appears at `path` only if all of it could be written."""
    with atomic(path) as part, _Disk(part, "w+") as disk:
        with h5py.File(disk, "w") as file:
            yield disk, file
        disk.check()


class ArchiveWriter:
    """Context manager that writes an archive; the file appears at `path` only when the block ends well.

    Parameters
    ----------
    path : Path
        The ``.h5`` file to write; an older one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._disk, self._file = self._stack.enter_context(_new_file(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(
        self,
        material_id: str,
        structure: Structure,
        fields: Mapping[str, NDArray[np.float64] | NDArray[np.float32]],
        **attrs: str | float,
    ) -> str:
        """Write one material; return its `content_digest`.

        Parameters
        ----------
        structure : Structure
            Ordered crystal; only lattice, species and fractional coordinates are kept.
        fields : mapping of str to (na, nb, nc) float64 or float32 array
            Densities [e/A^3] by name, e.g. ``total`` and ``spin``; stored in the precision that they have.
        **attrs
            Facts to keep beside the arrays, e.g. ``electrons=8.0``.
        """
        group = self._file.create_group(check_id(material_id))
        for name, rho in fields.items():
            assert name not in _STRUCTURE, name
            assert rho.dtype in (np.float64, np.float32), (name, rho.dtype)
        arrays = structure_arrays(structure) | dict(fields)
        for name, array in arrays.items():
            group.create_dataset(name, data=array)
        hashes = _hashes(arrays)
        group.attrs.update(attrs | {_HASHES: json.dumps(hashes, sort_keys=True)})
        self._disk.check()
        return digest_json(hashes)

    def copy(self, source: Path, material_id: str) -> None:
        """Take one material over from another archive, byte for byte."""
        with h5py.File(source, "r") as file:
            self._file.copy(file[check_id(material_id)], material_id)
        self._disk.check()

    def describe(self, **attrs: str) -> None:
        """Attach facts to the archive as a whole."""
        self._file.attrs.update(attrs)

    @property
    def size(self) -> int:
        """Bytes on disk so far."""
        return self._disk.seek(0, io.SEEK_END)


@dataclass(frozen=True)
class Record:
    """One material of an archive.

    Attributes
    ----------
    material_id : str
        The id.
    structure : Structure
        The crystal as its density file describes it: same cell, same origin, same order of sites.
    fields : mapping of str to (na, nb, nc) float64 array
        Densities [e/A^3]. Each look-up reads its array from the file: only what is asked for takes time and memory.
    attrs : dict
        What the writer stored beside the arrays (``electrons``, ``source``, ``key``).
    """

    material_id: str
    structure: Structure
    fields: Mapping[str, NDArray[np.float64]]
    attrs: dict[str, Any]


class _Fields(Mapping[str, NDArray[np.float64]]):
    """The densities of one material, read and checked at each look-up; holds no open file."""

    def __init__(self, path: Path, material_id: str, hashes: Mapping[str, str]) -> None:
        self._path, self._id = path, material_id
        self._hashes = {name: hashes[name] for name in sorted(hashes) if name not in _STRUCTURE}

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        if name not in self._hashes:
            raise KeyError(name)
        with readable(self._path), h5py.File(self._path, "r") as file:
            stored = _checked(file[self._id], name, self._hashes, self._path)
        rho: NDArray[np.float64] = stored.astype(np.float64, copy=False)
        return rho

    def __iter__(self) -> Iterator[str]:
        return iter(self._hashes)

    def __len__(self) -> int:
        return len(self._hashes)


def read_archive(path: Path) -> Iterator[Record]:
    """Yield the materials of an archive in the order of their ids.

    Densities stay in the file until they are looked up, and the records stay valid after the iteration.
    """
    for material_id in read_ids(path):
        yield read_record(path, material_id)


def read_ids(path: Path) -> list[str]:
    """Ids of the materials of an archive, sorted.

    Raises
    ------
    StudyError
        If they are not those of ``<path>.digest.json``, where that is there.
    """
    with readable(path), h5py.File(path, "r") as file:
        ids = sorted(file)
    known = known_digests(path)
    if known is not None and ids != sorted(known):
        raise damaged(path, f"has {len(ids)} materials, not the {len(known)} that were written")
    return ids


def read_record(path: Path, material_id: str) -> Record:
    """Read one material of an archive; KeyError if it is not there.

    Raises
    ------
    StudyError
        If it is not what was written; densities are checked when they are looked up.
    """
    with readable(path), h5py.File(path, "r") as file:
        if material_id in file:
            group = file[material_id]
            attrs = {name: _plain(value) for name, value in group.attrs.items()}
            hashes = json.loads(attrs.pop(_HASHES))
            lattice, frac_coords, numbers = (_checked(group, name, hashes, path) for name in _STRUCTURE)
            check_content(path, material_id, digest_json(hashes), known_digests(path))
            structure = Structure(lattice, [int(number) for number in numbers], frac_coords)
            return Record(material_id, structure, _Fields(path, material_id, hashes), attrs)
    raise KeyError(material_id)


def _checked(group: h5py.Group, name: str, hashes: Mapping[str, str], path: Path) -> NDArray[Any]:
    """Array of a material as it is stored, if it is the one that was written."""
    array: NDArray[Any] = group[name][...]
    if digest_arrays(array) != hashes[name]:
        raise damaged(path, f"`{name}` of {group.name.strip('/')} is not what was written")
    return array


def content_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash of all that later stages read of a material: densities, cell and sites, by their names."""
    return digest_json(_hashes(arrays))


def _hashes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    return {name: digest_arrays(array) for name, array in arrays.items()}


def structure_arrays(structure: Structure) -> dict[str, NDArray[Any]]:
    """Lattice (3, 3) [A], frac_coords (n, 3) and numbers (n,) of a structure, as the archive stores them."""
    return {
        "lattice": np.asarray(structure.lattice.matrix, dtype=np.float64),
        "frac_coords": np.asarray(structure.frac_coords, dtype=np.float64).reshape(-1, 3),
        "numbers": np.asarray(structure.atomic_numbers, dtype=np.int64),
    }


def _plain(value: Any) -> Any:
    """Python value of an HDF5 attribute."""
    return value.item() if isinstance(value, np.generic) else value
