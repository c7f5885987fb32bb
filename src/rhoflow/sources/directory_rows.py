"""The materials of a folder tree: who is usable, and what is wrong with the others."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rhoflow.config import DirectorySource
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.digests import digest_json
from rhoflow.materials.ids import check_id
from rhoflow.sources.content import content_digests
from rhoflow.sources.directory import Found, Stamp, scan
from rhoflow.sources.rows import AECCARS, Rows
from rhoflow.sources.table import PropertyTable, read_table

DEFAULT_TABLE = DirectorySource().properties


def directory_rows(source: DirectorySource, cache: Path, *, field: str, dos: bool) -> Rows:
    """Rows of a tree of runs and density files.

    Parameters
    ----------
    cache : Path
        Remembered file digests (see `content_digests`); safe to delete.
    field, dos : str, bool
        What the study needs: a density field, densities of states.

    Raises
    ------
    StudyError
        If the folder or its table is missing or unreadable, or a unit is unknown.
    """
    result = Rows()
    usable = _usable(result, scan(source.path, aeccars=AECCARS.get(field, ()), dos=dos))
    table = _table(source, usable.values())
    _check_rows(result, usable, table, source.path)
    _add_rows(result, usable, cache, dos=dos)
    row_of = {material_id: row for row, material_id in enumerate(table.ids)}
    rows = [row_of.get(row["material_id"]) for row in result.rows]
    for key, values in table.numbers.items():
        result.numbers[key] = np.array([math.nan if row is None else values[row] for row in rows], dtype=np.float64)
    for name, words in table.texts.items():
        result.texts[name] = ["" if row is None else words[row] for row in rows]
    return result


def _usable(result: Rows, found: Iterable[Found]) -> dict[str, Found]:
    """Materials with one density and a good name of their own, by id; the others are rejected."""
    by_name: dict[str, list[Found]] = {}
    for material in found:
        by_name.setdefault(material.name, []).append(material)
    for name, materials in by_name.items():
        try:
            check_id(name)
        except RejectedMaterialError as error:
            places = ", ".join(material.where for material in materials)
            result.reject(name, error.reason, f"{places}: {error.detail}")
            continue
        if len(materials) > 1:
            places = " and ".join(material.where for material in materials)
            detail = f"{places} have the same id; rename one of them, or move it out of the tree"
            result.reject(name, Reason.DUPLICATE_ID, detail)
            continue
        _check_densities(result, materials[0])
    return {name: materials[0] for name, materials in by_name.items() if name not in result.rejected}


def _check_densities(result: Rows, material: Found) -> None:
    """Reject a folder that could not be read, or that has no density or several."""
    if material.problem:
        detail = f"{material.problem}; check the folder's permissions"
        result.reject(material.name, Reason.UNREADABLE, detail)
    elif not material.densities:
        detail = (
            f"{material.where} holds no CHGCAR or CHG (plain, .gz, .xz, .bz2) and no other density file,"
            " nor does a folder in it; add one or remove the folder"
        )
        result.reject(material.name, Reason.NO_DENSITY, detail)
    elif len(material.densities) > 1:
        names = ", ".join(Path(stamp.path).name for stamp in material.densities)
        detail = f"{material.where} holds {len(material.densities)} density files ({names}); keep one"
        result.reject(material.name, Reason.TWO_DENSITIES, detail)


def _table(source: DirectorySource, usable: Collection[Found]) -> PropertyTable:
    """Read the table of properties; an empty one stands for it where the runs must do.

    The default table may be missing where there are runs; a table that a study names may not.
    """
    if source.properties is None:
        return PropertyTable("no table", [])
    path = source.path / source.properties
    dispensable = not usable or any(material.run for material in usable)
    if source.properties == DEFAULT_TABLE and not path.exists() and dispensable:
        return PropertyTable("no table", [])
    return read_table(path)


def _check_rows(result: Rows, usable: dict[str, Found], table: PropertyTable, parent: Path) -> None:
    """Reject ids that the table gives badly, twice or without a density, and note its bad cells."""
    rows_of: dict[str, list[int]] = {}
    for row, material_id in enumerate(table.ids):
        rows_of.setdefault(material_id, []).append(row)
    for material_id, rows in rows_of.items():
        where = f"{table.name} row {', '.join(str(row + 1) for row in rows)} (header not counted)"
        try:
            check_id(material_id)
        except RejectedMaterialError as error:
            result.reject(material_id, error.reason, f"{where}: {error.detail}")
            continue
        if len(rows) > 1:
            result.reject(material_id, Reason.DUPLICATE_ID, f"{where}: {len(rows)} rows of one id; keep one")
            usable.pop(material_id, None)
        elif material_id not in usable:
            detail = f"{where}: there is no folder {parent / material_id} with a density, nor a file of that name"
            result.reject(material_id, Reason.NO_DENSITY, f"{detail}; add it or remove the row")
        elif rows[0] in table.bad_cells:
            result.reject(material_id, Reason.NO_PROPERTY, f"{where}: {'; '.join(table.bad_cells[rows[0]])}")


def _add_rows(result: Rows, usable: dict[str, Found], cache: Path, *, dos: bool) -> None:
    """Add a row a material, sorted by id, with the content key of all files that the study reads of it."""
    digests = content_digests((stamp for material in usable.values() for stamp in material.stamps), cache)
    for material_id, material in sorted(usable.items()):
        errors = [found for stamp in material.stamps if isinstance(found := digests[stamp.path], OSError)]
        if errors:
            detail = f"{errors[0]}; check the file and its permissions"
            result.rejected[material_id] = {"reason": Reason.UNREADABLE.value, "detail": detail}
        else:
            result.rows.append(_row(material_id, material, digests, dos=dos))


def _row(material_id: str, material: Found, digests: dict[str, Any], *, dos: bool) -> dict[str, Any]:
    density = material.densities[0]
    return {
        "material_id": material_id,
        "path": density.path,
        "structure_path": _path(material.structure),
        "run_path": _path(material.run),
        **{f"aeccar{k}_path": _path(stamp) for k, stamp in enumerate(material.aeccar)},
        "dos": _dos(material) if dos else None,
        "sha256": digests[density.path],
        "size_bytes": density.size,
        "content_key": _content_key(material, digests),
    }


def _content_key(material: Found, digests: dict[str, Any]) -> str:
    """Digest of what the files hold, wherever they lie."""
    first = [material.densities[0], *([material.structure] if material.structure else [])]
    others = {"run": material.run, "dos": material.dos} | {f"aeccar{k}": s for k, s in enumerate(material.aeccar)}
    more = {role: digests[stamp.path] for role, stamp in others.items() if stamp}
    found = [digests[stamp.path] for stamp in first]
    return digest_json([*found, material.structure is not None, *([more] if more else [])])


def _dos(material: Found) -> str | None:
    """Where the densities of states are: dos.json, else the vasprun.xml; an OUTCAR has none."""
    if material.dos is None and material.run and "vasprun.xml" in Path(material.run.path).name:
        return material.run.path
    return _path(material.dos)


def _path(stamp: Stamp | None) -> str | None:
    return stamp.path if stamp else None
