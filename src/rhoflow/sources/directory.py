"""The `directory` source: any tree of VASP runs, or bare density files.

A folder that holds ``CHGCAR`` or ``CHG`` (or ``density.cube``) is one material, at any depth; in every other folder
each bare density file is one: ``<name>.CHGCAR``, ``CHGCAR.<name>``, ``CHGCAR_<name>``, the same with CHG, and
``<name>.cube``. All may be compressed. Listing reads names, sizes and times only, never content: it must stay fast
for 100,000 folders.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rhoflow.errors import StudyError

ID = "material_id"
JOINT = "--"  # between the folders of an id: a/b/CHGCAR is a--b

_PACKED = ("", ".gz", ".xz", ".bz2")
# CHGCAR has more digits than CHG, so it wins where a run left both; a cube file has no spin.
_DENSITIES = ("CHGCAR", "CHG", "cube")
_STRUCTURES = ("structure.cif", "POSCAR", "CONTCAR")
_RUNS = ("vasprun.xml", "OUTCAR")
_BARE = re.compile(r"(?P<before>.+)\.(?:CHGCAR|CHG|cube)|(?:CHGCAR|CHG)(?P<mark>[._])(?P<after>.+)", re.DOTALL)
_PACKING = re.compile(r"\.(?:gz|xz|bz2)$")

Naming = Callable[[str], str]


class Stamp(NamedTuple):
    """A file without its content: path, size in bytes and time of the last change [ns]."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Found:
    """A material that the tree offers, or a folder that should be one.

    Attributes
    ----------
    name : str
        The id: the folders below the source's, joined by ``--``, and the name of a bare file.
    where : str
        The folder, or for bare files its path up to the name, for messages.
    densities : tuple of Stamp
        Density files of the best kind there is (CHGCAR, else CHG, else cube); more than one is ambiguous.
    structure : Stamp or None
        structure.cif, else POSCAR, else CONTCAR.
    run : Stamp or None
        vasprun.xml, else OUTCAR.
    aeccar : tuple of three Stamp or None
        AECCAR0, 1, 2, where they are wanted.
    dos : Stamp or None
        dos.json, where it is wanted.
    problem : str
        Why the folder could not be listed; empty if it could.
    """

    name: str
    where: str
    densities: tuple[Stamp, ...] = ()
    structure: Stamp | None = None
    run: Stamp | None = None
    aeccar: tuple[Stamp | None, ...] = (None, None, None)
    dos: Stamp | None = None
    problem: str = ""

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Every file that the study would read."""
        others = (self.structure, self.run, *self.aeccar, self.dos)
        return self.densities + tuple(stamp for stamp in others if stamp)


def scan(path: Path, *, aeccars: tuple[int, ...] = (), dos: bool = False) -> list[Found]:
    """List the materials of a tree, sorted by id; ids may be unsafe or stand there twice.

    Hidden files and folders are passed over. Links are followed, but not those that lead into the tree itself or
    above it: what they show is found in its own place. A folder directly below `path` with no density in or below
    it is listed too, without densities.

    Parameters
    ----------
    aeccars : tuple of int
        Which of AECCAR0, 1, 2 the study needs.
    dos : bool
        Whether it needs densities of states.

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
    found: list[Found] = []
    bare: dict[str, bool] = {}  # folders directly below `path`: whether nothing has been found there
    for parts, where, names in _walk(str(path)):
        here = _look(parts, where, names, aeccars, dos) if isinstance(names, list) else [_closed(parts, where, names)]
        found += here
        if parts:
            bare[parts[0]] = bare.get(parts[0], True) and not here
    found += [Found(_shown(name), _shown(f"{path}/{name}")) for name, nothing in bare.items() if nothing]
    return sorted(found, key=lambda material: (material.name, material.where))


def sidecar_paths(table: Path) -> tuple[Path, ...]:
    """Where the sidecar of a table of properties may lie (see `sources.table`)."""
    return tuple(table.with_name(f"{table.name}.units.{kind}") for kind in ("json", "yaml"))


def _walk(root: str) -> Iterator[tuple[tuple[str, ...], str, list[str] | OSError]]:
    """Yield every folder: its parts below the root, its path, and the names of its files or why it is closed."""
    roots, above = set[str](), set[str]()
    _enter(os.path.realpath(root), roots, above)
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        where = os.path.join(root, *parts)
        try:
            files, folders = _list(where, roots, above)
        except OSError as error:
            yield parts, where, error
            continue
        waiting += [(*parts, name) for name in sorted(folders, reverse=True)]
        yield parts, where, files


def _list(where: str, roots: set[str], above: set[str]) -> tuple[list[str], list[str]]:
    """Names of the files of a folder, and of the folders in it that are to be visited."""
    files, folders, links = [], [], []
    with os.scandir(where) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_file(follow_symlinks=False):
                files.append(name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif os.path.isdir(entry.path):  # False for a link to itself
                links.append(name)
            else:
                files.append(name)
    for name in sorted(links):
        if _enter(os.path.realpath(f"{where}/{name}"), roots, above):
            folders.append(name)
    return files, folders


def _enter(target: str, roots: set[str], above: set[str]) -> bool:
    """Whether a real folder is new to the walk: neither inside a root nor above one. It is a root from then on."""
    parents = [target]
    while parents[-1] != os.path.dirname(parents[-1]):
        parents.append(os.path.dirname(parents[-1]))
    if target in above or not roots.isdisjoint(parents):
        return False
    roots.add(target)
    above.update(parents[1:])
    return True


def _closed(parts: tuple[str, ...], where: str, error: OSError) -> Found:
    return Found(_name(parts, where), _shown(where), problem=f"{_shown(where)}: {error.strerror}")


def _look(parts: tuple[str, ...], where: str, names: list[str], aeccars: tuple[int, ...], dos: bool) -> list[Found]:
    """Materials of one folder: the run that it is, or else its bare density files."""
    present = set(names)
    try:
        run = _material(_name(parts, where), where, _as_run, where, present, aeccars, dos)
        if run:
            return [run]
        bare = (
            _material(_name((*parts, name), where), f"{where}/{name}", naming, where, present, aeccars, dos)
            for name, naming in _bare_files(names)
        )
        return [material for material in bare if material]
    except OSError as error:
        return [_closed(parts, where, error)]


def _material(
    name: str, shown: str, naming: Naming, where: str, present: set[str], aeccars: tuple[int, ...], dos: bool
) -> Found | None:
    """Find the material whose files are called so; None without a density."""

    def first(*kinds: str) -> tuple[Stamp, ...]:
        return _first_kind(where, present, kinds, naming)

    def one(*kinds: str) -> Stamp | None:
        return next(iter(first(*kinds)), None)

    densities = first(*_DENSITIES)
    if not densities:
        return None
    aeccar = tuple(one(f"AECCAR{k}") if k in aeccars else None for k in range(3))
    return Found(
        name, _shown(shown), densities, one(*_STRUCTURES), one(*_RUNS), aeccar, one("dos.json") if dos else None
    )


def _first_kind(where: str, present: set[str], kinds: tuple[str, ...], naming: Naming) -> tuple[Stamp, ...]:
    """Stamps of the files of the first kind that occurs, packed in whatever way."""
    for kind in kinds:
        found = []
        for packed in _PACKED:
            name = naming(kind) + packed
            if name in present and (stamp := _stamp(f"{where}/{name}")):
                found.append(stamp)
        if found:
            return tuple(found)
    return ()


def _as_run(kind: str) -> str:
    """Name of a file of a run's folder."""
    return "density.cube" if kind == "cube" else kind


def _bare_files(names: list[str]) -> list[tuple[str, Naming]]:
    """Names of the materials that bare density files stand for, and how the files of each are called."""
    namings: dict[tuple[str, str], Naming] = {}
    for name in names:
        if "CHG" not in name and ".cube" not in name:
            continue
        match = _BARE.fullmatch(_PACKING.sub("", name))
        if match is None:
            continue
        before, mark, after = match["before"], match["mark"], match["after"]
        if before:
            namings[before, ""] = _before(before)
        else:
            namings[after, mark] = _after(mark, after)
    return [(name, naming) for (name, _), naming in sorted(namings.items(), key=lambda item: item[0])]


def _before(name: str) -> Naming:
    return lambda kind: f"{name}.{'cif' if kind == 'structure.cif' else kind}"


def _after(mark: str, name: str) -> Naming:
    return lambda kind: f"{kind}{mark}{name}"


def _name(parts: tuple[str, ...], where: str) -> str:
    """Id of a folder: its parts joined; the source folder's own name if it is a run itself."""
    return _shown(JOINT.join(parts) if parts else os.path.basename(os.path.realpath(where)))


def _shown(name: str) -> str:
    """Make a name tellable, even one that is no UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def _stamp(path: str) -> Stamp | None:
    """Stamp of a regular file, links followed; None for anything else, such as a broken link."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return Stamp(path, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
