"""The `manifest` source: a published list of materials with checksums, to rebuild somebody's dataset exactly.

A CSV with a row a material, as `rhoflow manifest` writes it (`sources.publish`):

- ``material_id``; ``location`` (``s3://<bucket>/<key>``, or a path relative to the folder of the files, with ``/``),
  ``bytes`` and ``sha256`` of its density file;
- where the study used them, other files: ``structure``, ``run``, ``aeccar0`` .. ``aeccar2``, ``dos``, each with
  ``<name>_sha256`` (empty: not checked). A ``dos`` may be ``mp:<task_id>``, with ``dos_blake3`` of its numbers;
- ``task_id``, ``functional``, ``database_version``: where a calculated density comes from;
- where the study has them, ``elastic_tensor`` and ``description``, the text that came with the material;
- properties as in any table (`sources.table`): ``<key>_<unit>``.

A cell that a spreadsheet would take for a formula has an apostrophe in front, which is taken away again here.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple

from rhoflow.config import ManifestSource, near
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.digests import digest_json
from rhoflow.materials.ids import check_id
from rhoflow.sources.content import content_digests
from rhoflow.sources.directory import ID, Stamp
from rhoflow.sources.rows import AECCARS, CHECKS, DESCRIPTION, REMOTE, TASK_DOS, Rows

if TYPE_CHECKING:  # the Snakefile asks for the fingerprint each time it is read: pandas stays away from it
    from rhoflow.sources.table import PropertyTable

LOCATION, BYTES, SHA256 = "location", "bytes", "sha256"
# Columns that name files, and the catalogue's columns for them.
FILES = {
    LOCATION: "path",
    "structure": "structure_path",
    "run": "run_path",
    "aeccar0": "aeccar0_path",
    "aeccar1": "aeccar1_path",
    "aeccar2": "aeccar2_path",
    "dos": "dos",
}
DOS_BLAKE3 = "dos_blake3"
TEXTS = ("task_id", "functional", "database_version")
FURTHER = ("elastic_tensor", DESCRIPTION)  # columns of lists that have any
FORMULA = ("=", "+", "-", "@")  # a spreadsheet takes a cell that starts so for a formula
_REMOTE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[A-Za-z0-9!_.*'()/+=-]{1,1000}")
_TASK_DOS = re.compile(rf"{TASK_DOS}[A-Za-z0-9][A-Za-z0-9_-]{{0,99}}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 2**40


class _File(NamedTuple):
    """A file of a row: its column, the cell, where it lies (None: not on this disk), size and checksum if given."""

    column: str
    cell: str
    path: Path | None
    size: int | None
    digest: str

    @property
    def is_task(self) -> bool:
        """Whether it is a density of states of the Materials Project, in a table instead of a file."""
        return self.path is None and self.cell.startswith(TASK_DOS)


def read_manifest(source: ManifestSource, cache: Path, *, field: str, dos: bool) -> Rows:
    """Read a list and check its local files against their sizes and checksums.

    Downloads are checked when they are fetched. A row that cannot be used is rejected; a list that cannot be trusted
    as a whole is an error.

    Parameters
    ----------
    cache : Path
        Remembered file digests (see `content_digests`).
    field, dos : str, bool
        What the study needs: a density field, densities of states. Files for others are not looked at.

    Raises
    ------
    StudyError
        If the list is missing or unreadable, lacks a column, gives an id twice or a property in an unknown unit.
    """
    from rhoflow.sources.table import read_table

    _check_file(source.file)
    table = read_table(source.file)
    _check_table(source.file, table)
    result = Rows()
    found: dict[int, list[_File]] = {}
    for row, material_id in enumerate(table.ids):
        cells = {name: plain(values[row]) for name, values in table.texts.items()}
        try:
            check_id(material_id)
            found[row] = _files(cells, folder_of(source), _wanted(field, dos=dos))
        except RejectedMaterialError as error:
            result.reject(material_id, error.reason, error.detail)
    keys = _keys(found, table.ids, cache, result)
    rows = sorted(keys, key=lambda row: table.ids[row])
    for row in rows:
        if row in table.bad_cells:
            result.reject(table.ids[row], Reason.NO_PROPERTY, "; ".join(table.bad_cells[row]))
    result.rows = [_catalogue_row(table.ids[row], found[row], keys[row]) for row in rows]
    result.numbers = {key: values[rows] for key, values in table.numbers.items()}
    own = {*FILES, BYTES, DOS_BLAKE3, *(sha256_of(name) for name in FILES)}
    result.texts = {
        name: [plain(cells[row]) for row in rows] for name, cells in table.texts.items() if name not in own
    }
    return result


def manifest_fingerprint(source: ManifestSource) -> str:
    """sha256 over a list and the sizes and times of its local files: a change makes the catalogue look again."""
    _check_file(source.file)
    content = source.file.read_bytes()
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))  # a description may be long
    sha = hashlib.sha256(f"{source.file}\n{source.folder}\n".encode() + content)
    folder = folder_of(source)
    for row in csv.DictReader(content.decode("utf-8", "replace").splitlines()):
        for column in FILES:
            cell = plain(row.get(column) or "")
            if cell and not cell.startswith((REMOTE, TASK_DOS)):
                sha.update(f"{cell}\t{_state(folder / cell)}\n".encode("utf-8", "replace"))
    return sha.hexdigest()


def lists_descriptions(source: ManifestSource) -> bool:
    """Whether a list has a column of texts, which are then taken instead of our own."""
    _check_file(source.file)
    with source.file.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return DESCRIPTION in next(csv.reader(file), [])


def folder_of(source: ManifestSource) -> Path:
    """Where the local files of a list lie."""
    return source.file.parent if source.folder is None else source.folder


def sha256_of(column: str) -> str:
    """Name of the column with the checksums of a column of files."""
    return SHA256 if column == LOCATION else f"{column}_{SHA256}"


def plain(cell: str) -> str:
    """Cell without the apostrophe that keeps a spreadsheet from computing it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise StudyError(
            f"source.file = {str(path)!r}: no such file (seen from {Path.cwd()});"
            " give a list that `rhoflow manifest` wrote, absolute or relative to where snakemake runs"
        )


def _check_table(path: Path, table: PropertyTable) -> None:
    """Stop at a list that lacks a column, holds an id twice, or holds nothing."""
    for column in (LOCATION, BYTES, SHA256):
        if column not in table.texts:
            raise StudyError(
                f"{path}: no column {column!r}{near(column, table.texts)}; a list has"
                f" {ID}, {LOCATION}, {BYTES}, {SHA256}: `rhoflow manifest` writes one"
            )
    seen: dict[str, int] = {}
    for row, material_id in enumerate(table.ids, start=1):
        if material_id in seen:
            raise StudyError(
                f"{path}: rows {seen[material_id]} and {row} (header not counted) are both {material_id!r}; keep one"
            )
        seen[material_id] = row
    if not seen:
        raise StudyError(f"{path}: no row; a list has a row a material")


def _wanted(field: str, *, dos: bool) -> list[str]:
    """Columns of the files that a study reads."""
    aeccars = [f"aeccar{k}" for k in AECCARS.get(field, ())]
    return [LOCATION, "structure", "run", *aeccars, *(["dos"] if dos else [])]


def _files(cells: dict[str, str], folder: Path, wanted: list[str]) -> list[_File]:
    """Files of a row, none of them looked at; raises RejectedMaterialError where a cell is bad."""
    files = []
    for column in wanted:
        cell = cells.get(column, "")
        if not cell and column != LOCATION:
            continue
        name = DOS_BLAKE3 if column == "dos" and cell.startswith(TASK_DOS) else sha256_of(column)
        digest = cells.get(name, "").lower()
        if not _DIGEST.fullmatch(digest) and (digest or column == LOCATION):
            raise RejectedMaterialError(
                Reason.CHECKSUM, f"{name} = {digest[:80]!r}: 64 hexadecimal digits are wanted; correct it"
            )
        path = None if _is_remote(column, cell) else folder / _relative(column, cell)
        size = _size(cells[BYTES]) if column == LOCATION else None
        files.append(_File(column, cell, path, size, digest))
    return files


def _is_remote(column: str, cell: str) -> bool:
    """Whether a cell names an object of a bucket, or a density of states of the Materials Project."""
    if _REMOTE.fullmatch(cell) and not {"", ".", ".."} & set(cell.removeprefix(REMOTE).split("/")):
        return True
    return column == "dos" and bool(_TASK_DOS.fullmatch(cell))


def _relative(column: str, cell: str) -> PurePosixPath:
    """Check a path that must stay below the folder of the files."""
    path = PurePosixPath(cell)
    strange = not cell.isprintable() or "\\" in cell or "://" in cell or PureWindowsPath(cell).drive
    if not cell or strange or path.is_absolute() or ".." in path.parts:
        raise RejectedMaterialError(
            Reason.BAD_LOCATION,
            f"{column} = {cell[:200]!r}: a path below source.folder with / and without .., or s3://<bucket>/<key>, is"
            " wanted; correct it",
        )
    return path


def _size(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and 0 < int(cell[:20]) <= _MAX_BYTES):
        raise RejectedMaterialError(
            Reason.CHECKSUM, f"{BYTES} = {cell[:80]!r}: the size of the density file in bytes is wanted; correct it"
        )
    return int(cell)


def _keys(found: dict[int, list[_File]], ids: list[str], cache: Path, result: Rows) -> dict[int, str]:
    """Content key of each row whose local files are what the list says; the others are rejected."""
    stamps: dict[int, dict[str, Stamp]] = {}
    for row, files in found.items():
        try:
            stamps[row] = {file.column: _stamp(file) for file in files if file.path is not None}
        except RejectedMaterialError as error:
            result.reject(ids[row], error.reason, error.detail)
    digests = content_digests((stamp for row in stamps.values() for stamp in row.values()), cache)
    keys = {}
    for row, local in stamps.items():
        try:
            # A density of states of the project is fetched by a stage of its own.
            files = [file for file in found[row] if not file.is_task]
            keys[row] = digest_json({file.column: _content(file, local, digests) for file in files})
        except RejectedMaterialError as error:
            result.reject(ids[row], error.reason, error.detail)
    return keys


def _stamp(file: _File) -> Stamp:
    """Size and time of a local file, which must be there and as large as the list says."""
    path = f"{file.path}"
    try:
        status = os.stat(path)
    except OSError as error:
        raise RejectedMaterialError(
            Reason.NO_DENSITY if file.column == LOCATION else Reason.UNREADABLE,
            f"{path}: {error.strerror}; get it from where the list was published, or set source.folder",
        ) from error
    if file.size is not None and status.st_size != file.size:
        raise RejectedMaterialError(
            Reason.CHECKSUM,
            f"{path} has {status.st_size} bytes, the list says {file.size}; get the published file again",
        )
    return Stamp(path, status.st_size, status.st_mtime_ns)


def _content(file: _File, local: dict[str, Stamp], digests: dict[str, str | OSError]) -> str:
    """Digest of a file, or what the list says of an object in a bucket."""
    if file.column not in local:
        return file.digest or file.cell
    digest = digests[local[file.column].path]
    if isinstance(digest, OSError):
        raise RejectedMaterialError(Reason.UNREADABLE, f"{digest}; check the file and its permissions")
    if file.digest and digest != file.digest:
        raise RejectedMaterialError(
            Reason.CHECKSUM,
            f"{file.path}: sha256 {digest}, the list says {file.digest}; get the published file again",
        )
    return digest


def _catalogue_row(material_id: str, files: list[_File], key: str) -> dict[str, Any]:
    """Columns of the catalogue, absent files None."""
    row: dict[str, Any] = {ID: material_id, **dict.fromkeys(FILES.values())}
    row |= {FILES[file.column]: file.cell if file.path is None else f"{file.path}" for file in files}
    density, *others = files
    known = {
        file.column: {"blake3" if file.is_task else "sha256": file.digest}
        for file in others
        if file.digest and (file.is_task or file.column != "dos")
    }
    row |= {CHECKS: json.dumps(known, sort_keys=True)} if known else {}
    return row | {"sha256": density.digest, "size_bytes": density.size, "content_key": key}


def _state(path: Path) -> str:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return "absent"
    return f"{status.st_size}\t{status.st_mtime_ns}"
