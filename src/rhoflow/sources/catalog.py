"""The catalogue: which materials a study has, where their files lie, and their properties in house units."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow.config import DirectorySource
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.digests import digest_json
from rhoflow.materials.ids import check_id, shard_of
from rhoflow.properties import PROPERTIES
from rhoflow.sources.content import content_digests
from rhoflow.sources.directory import ID, Folder, scan, sidecar_paths

if TYPE_CHECKING:  # the Snakefile asks for the fingerprint each time it is read: pandas and pyarrow stay away from it
    import pyarrow as pa

    from rhoflow.sources.table import PropertyTable

FIXED = (ID, "path", "structure_path", "size_bytes", "content_key", "shard")


@dataclass
class Catalog:
    """Materials found so far, and what is wrong.

    Attributes
    ----------
    folders : dict of str to Folder
        Usable materials by id.
    keys : dict of str to str
        Content key of each usable material.
    rejected : dict of str to dict
        ``{"reason", "detail"}`` by id. An id that is usable as well only has cells that are no numbers.
    """

    folders: dict[str, Folder] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, dict[str, str]] = field(default_factory=dict)

    def reject(self, material_id: str, reason: Reason, detail: str) -> None:
        """Leave a material out; the first reason stands."""
        self.rejected.setdefault(material_id, {"reason": reason.value, "detail": detail})
        self.folders.pop(material_id, None)


def write_catalog(source: DirectorySource, table: Path, rejected: Path, *, n_shards: int, cache: Path) -> None:
    """Write the catalogue of a source; a file whose bytes would stay the same is left alone.

    Parameters
    ----------
    table : Path
        ``catalog/materials.parquet``, sorted by id: material_id, path, structure_path (null without one),
        size_bytes, content_key, shard, one float64 column a property (house unit, NaN is missing), then the
        source's other columns as text.
    rejected : Path
        ``catalog/rejected.json``, ``{id: {"reason", "detail"}}``.
    n_shards : int
        Number of shards of the study.
    cache : Path
        Remembered file digests (see `content_digests`); safe to delete.

    Raises
    ------
    StudyError
        If the source or its table is missing or unreadable, a unit is unknown, or no material is left.
    """
    from rhoflow.sources.stable import json_bytes, parquet_bytes, write_if_changed
    from rhoflow.sources.table import read_table

    catalog = Catalog()
    _take_folders(catalog, source.path)
    properties = read_table(source.path / source.properties)
    _check_rows(catalog, properties, source.path)
    _add_keys(catalog, cache)
    columns = _columns(catalog, properties, n_shards)
    write_if_changed(rejected, json_bytes(catalog.rejected))
    if not catalog.folders:
        shown = [f"{material_id}: {entry['detail']}" for material_id, entry in catalog.rejected.items()][:3]
        raise StudyError(
            f"source.path = {str(source.path)!r}: no usable material; it needs <id>/CHGCAR (plain, .gz, .xz, .bz2)"
            + "".join(f"\n  {line}" for line in shown)
        )
    write_if_changed(table, parquet_bytes(columns))


def source_fingerprint(source: DirectorySource) -> str:
    """sha256 over names, sizes and times of the files that `write_catalog` would read, and the table's rows.

    It tells that the catalogue may be out of date without reading a density. Neither the order of the
    directory nor that of the table's rows matters.
    """
    lines = [f"{source.path}", f"{source.properties}"]
    for folder in scan(source.path):
        lines.append(f"{folder.name}\t{folder.problem}")
        lines += [f"{stamp.path}\t{stamp.size}\t{stamp.mtime_ns}" for stamp in folder.stamps]
    sha = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape"))
    table = source.path / source.properties
    for path in (table, *sidecar_paths(table)):
        if path.is_file():
            content = path.read_bytes()
            rows = sorted(content.splitlines()) if path.suffix == ".csv" else [content]
            sha.update(path.name.encode() + b"\0" + b"\n".join(rows))
    return sha.hexdigest()


def _take_folders(catalog: Catalog, parent: Path) -> None:
    """Take every folder with one density file and a good name."""
    for folder in scan(parent):
        catalog.folders[folder.name] = folder
        try:
            check_id(folder.name)
        except RejectedMaterialError as error:
            catalog.reject(folder.name, error.reason, error.detail)
            continue
        where = f"{parent / folder.name}"
        if folder.problem:
            catalog.reject(folder.name, Reason.UNREADABLE, f"{folder.problem}; check the folder's permissions")
        elif not folder.densities:
            detail = f"{where} holds no CHGCAR or CHG (plain, .gz, .xz, .bz2); add one or remove the folder"
            catalog.reject(folder.name, Reason.NO_DENSITY, detail)
        elif len(folder.densities) > 1:
            names = ", ".join(Path(stamp.path).name for stamp in folder.densities)
            detail = f"{where} holds {len(folder.densities)} density files ({names}); keep one"
            catalog.reject(folder.name, Reason.TWO_DENSITIES, detail)


def _check_rows(catalog: Catalog, table: PropertyTable, parent: Path) -> None:
    """Reject ids that the table gives badly, twice or without a folder, and note its bad cells."""
    rows_of: dict[str, list[int]] = {}
    for row, material_id in enumerate(table.ids):
        rows_of.setdefault(material_id, []).append(row)
    for material_id, rows in rows_of.items():
        where = f"{table.name} row {', '.join(str(row + 1) for row in rows)} (header not counted)"
        try:
            check_id(material_id)
        except RejectedMaterialError as error:
            catalog.reject(material_id, error.reason, f"{where}: {error.detail}")
            continue
        if len(rows) > 1:
            catalog.reject(material_id, Reason.DUPLICATE_ID, f"{where}: {len(rows)} rows of one id; keep one")
        elif material_id not in catalog.folders:
            detail = f"{where}: there is no folder {parent / material_id}; add it or remove the row"
            catalog.reject(material_id, Reason.NO_DENSITY, detail)
        elif rows[0] in table.bad_cells:
            detail = f"{where}: {'; '.join(table.bad_cells[rows[0]])}"
            catalog.rejected[material_id] = {"reason": Reason.NO_PROPERTY.value, "detail": detail}


def _add_keys(catalog: Catalog, cache: Path) -> None:
    """Content key of each material: what its density and structure file hold, wherever they lie."""
    stamps = [stamp for folder in catalog.folders.values() for stamp in folder.stamps]
    digests = content_digests(stamps, cache)
    for material_id, folder in list(catalog.folders.items()):
        found = [digests[stamp.path] for stamp in folder.stamps]
        errors = [digest for digest in found if isinstance(digest, OSError)]
        if errors:
            catalog.reject(material_id, Reason.UNREADABLE, f"{errors[0]}; check the file and its permissions")
        else:
            catalog.keys[material_id] = digest_json([*found, folder.structure is not None])


def _columns(catalog: Catalog, table: PropertyTable, n_shards: int) -> dict[str, pa.Array]:
    """Columns of materials.parquet, rows sorted by id, properties and texts in an order of their own."""
    import pyarrow as pa

    taken = [name for name in table.texts if name in FIXED or name in PROPERTIES]
    if taken:
        raise StudyError(
            f"{table.name}: column {taken[0]!r} is a name that the catalogue needs itself"
            f" ({', '.join(FIXED)}, or a property); rename it"
        )
    ids = sorted(catalog.folders)
    folders = [catalog.folders[material_id] for material_id in ids]
    row_of = {material_id: row for row, material_id in enumerate(table.ids)}
    rows = [row_of.get(material_id) for material_id in ids]
    values: tuple[list[object], ...] = (
        list(ids),
        [folder.densities[0].path for folder in folders],
        [folder.structure.path if folder.structure else None for folder in folders],
        [folder.densities[0].size for folder in folders],
        [catalog.keys[material_id] for material_id in ids],
        [shard_of(material_id, n_shards) for material_id in ids],
    )
    kinds = [pa.string(), pa.string(), pa.string(), pa.int64(), pa.string(), pa.string()]
    columns: dict[str, pa.Array] = {
        name: pa.array(value, kind) for name, value, kind in zip(FIXED, values, kinds, strict=True)
    }
    for key in [key for key in PROPERTIES if key in table.numbers]:
        numbers = [math.nan if row is None else table.numbers[key][row] for row in rows]
        columns[key] = pa.array(numbers, pa.float64())
    for name in sorted(table.texts):
        columns[name] = pa.array(["" if row is None else table.texts[name][row] for row in rows], pa.string())
    return columns
