"""The `directory` source: a folder tree with one folder a material, as VASP runs leave it.

Listing reads names, sizes and times only, never content: it must stay fast for 100,000 folders.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rhoflow.errors import StudyError

ID = "material_id"

_PACKED = ("", ".gz", ".xz", ".bz2")
# CHGCAR has more digits than CHG, so it wins where a run left both.
_DENSITY = tuple(tuple(name + packed for packed in _PACKED) for name in ("CHGCAR", "CHG"))
_STRUCTURE = tuple(tuple(name + packed for packed in _PACKED) for name in ("structure.cif", "POSCAR", "CONTCAR"))


class Stamp(NamedTuple):
    """A file without its content: path, size in bytes and time of the last change [ns]."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Folder:
    """What one sub-folder offers.

    Attributes
    ----------
    name : str
        Name of the folder, which is the material's id.
    densities : tuple of Stamp
        Density files of the best kind there is (CHGCAR, else CHG); more than one is ambiguous.
    structure : Stamp or None
        structure.cif, else POSCAR, else CONTCAR.
    problem : str
        Why the folder could not be listed; empty if it could.
    """

    name: str
    densities: tuple[Stamp, ...]
    structure: Stamp | None
    problem: str = ""

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Every file that the catalog would read."""
        return self.densities + ((self.structure,) if self.structure else ())


def scan(path: Path) -> list[Folder]:
    """List the sub-folders of a source folder, sorted by name; hidden ones and plain files are no materials.

    Raises
    ------
    StudyError
        If the source folder is not there.
    """
    if not path.is_dir():
        raise StudyError(
            f"source.path = {str(path)!r}: no such folder (seen from {Path.cwd()});"
            " give the folder that holds one sub-folder a material, absolute or relative to where snakemake runs"
        )
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    return [_list_folder(path, name) for name in sorted(names)]


def sidecar_paths(table: Path) -> tuple[Path, ...]:
    """Where the sidecar of a table of properties may lie (see `sources.table`)."""
    return tuple(table.with_name(f"{table.name}.units.{kind}") for kind in ("json", "yaml"))


def _list_folder(parent: Path, name: str) -> Folder:
    where = os.path.join(parent, name)
    shown = name.encode("utf-8", "backslashreplace").decode()  # a name that is no UTF-8 must still be told
    try:
        present = set(os.listdir(where))
        structures = _first_kind(where, present, _STRUCTURE)
        return Folder(shown, _first_kind(where, present, _DENSITY), structures[0] if structures else None)
    except OSError as error:
        return Folder(shown, (), None, f"{parent / shown}: {error.strerror}")


def _first_kind(where: str, present: set[str], kinds: tuple[tuple[str, ...], ...]) -> tuple[Stamp, ...]:
    """Stamps of the files of the first kind that occurs."""
    for names in kinds:
        if not present.isdisjoint(names):
            stamps = (_stamp(f"{where}/{name}") for name in names if name in present)
            found = tuple(stamp for stamp in stamps if stamp)
            if found:
                return found
    return ()


def _stamp(path: str) -> Stamp | None:
    """Stamp of a regular file, links followed; None for anything else, such as a broken link."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return Stamp(path, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
