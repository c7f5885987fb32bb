"""The catalogue: which materials a study has, where their files lie, and their properties in house units."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow.config import DirectorySource, ManifestSource, MaterialsProjectSource
from rhoflow.errors import StudyError
from rhoflow.materials.ids import shard_of
from rhoflow.properties import PROPERTIES
from rhoflow.sources.directory import scan, sidecar_paths
from rhoflow.sources.rows import AECCARS, CHECKS, FIXED, TEXT_FIXED, Rows

if TYPE_CHECKING:  # the Snakefile asks for the fingerprint each time it is read: pandas and pyarrow stay away from it
    import pyarrow as pa

    from rhoflow.config import Source

_EMPTY = {
    "directory": (
        "it needs <id>/CHGCAR (plain, .gz, .xz, .bz2), at any depth, or files like <id>.CHGCAR.gz and <id>.cube"
    ),
    "manifest": "each row of the list is rejected for the reason below; source.folder says where its files lie",
    "materials_project": "no density fits the selection; widen it, and delete catalog/materials_project.jsonl.gz",
}


def write_catalog(
    source: Source,
    table: Path,
    rejected: Path,
    *,
    n_shards: int,
    cache: Path,
    field: str = "total",
    dos: bool = False,
    snapshot: Path | None = None,
) -> None:
    """Write the catalogue of a source; a file whose bytes would stay the same is left alone.

    Parameters
    ----------
    table : Path
        ``catalog/materials.parquet``, sorted by id: the columns of `sources.rows.FIXED`, one float64 column a
        property (house unit, NaN is missing), then the source's other columns as text.
    rejected : Path
        ``catalog/rejected.json``, ``{id: {"reason", "detail"}}``.
    n_shards : int
        Number of shards of the study.
    cache : Path
        Remembered file digests (see `content_digests`); safe to delete.
    field, dos : str, bool
        What the study needs: a density field, densities of states. Files for other needs are not listed.
    snapshot : Path, optional
        The Materials Project's answer, ``catalog/materials_project.jsonl.gz``, for that kind of source.

    Raises
    ------
    StudyError
        If the source or its table is missing or unreadable, a unit is unknown, or no material is left.
    """
    from rhoflow.sources.stable import json_bytes, parquet_bytes, write_if_changed

    found = _rows(source, cache, field, dos, snapshot)
    columns = _columns(found, n_shards, source.kind)
    write_if_changed(rejected, json_bytes(found.rejected))
    if not found.rows:
        shown = [f"\n  {material_id}: {entry['detail']}" for material_id, entry in found.rejected.items()][:3]
        where = f"source.path = {str(source.path)!r}" if isinstance(source, DirectorySource) else "source"
        raise StudyError(f"{where}: no usable material; {_EMPTY[source.kind]}" + "".join(shown))
    write_if_changed(table, parquet_bytes(columns))


def source_fingerprint(source: Source, *, field: str = "total", dos: bool = False) -> str:
    """sha256 over names, sizes and times of the files that `write_catalog` would read, and the table's rows.

    It tells that the catalogue may be out of date without reading a density. Neither the order of the
    directory nor that of the table's rows matters. The Materials Project's snapshot is a file of the study, so
    all that counts of that source is the file of ids that it is asked for.
    """
    if isinstance(source, MaterialsProjectSource):
        return _ids_fingerprint(source.ids) if isinstance(source.ids, Path) else ""
    if isinstance(source, ManifestSource):
        from rhoflow.sources.manifest import manifest_fingerprint

        return manifest_fingerprint(source)
    lines = [f"{source.path}", f"{source.properties}"]
    for material in scan(source.path, aeccars=AECCARS.get(field, ()), dos=dos):
        lines.append(f"{material.name}\t{material.problem}")
        lines += [f"{stamp.path}\t{stamp.size}\t{stamp.mtime_ns}" for stamp in material.stamps]
    sha = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape"))
    table = source.path / source.properties if source.properties else None
    for path in (table, *sidecar_paths(table)) if table else ():
        if path.is_file():
            content = path.read_bytes()
            rows = sorted(content.splitlines()) if path.suffix == ".csv" else [content]
            sha.update(path.name.encode() + b"\0" + b"\n".join(rows))
    return sha.hexdigest()


def _ids_fingerprint(path: Path) -> str:
    """sha256 over the lines of a file of ids; their order does not matter. What is wrong with it, the query says."""
    try:
        lines = {line.strip() for line in path.read_bytes().splitlines()} - {b""}
    except OSError as error:
        return f"{error.strerror}"
    return hashlib.sha256(b"\n".join(sorted(lines))).hexdigest()


def _rows(source: Source, cache: Path, field: str, dos: bool, snapshot: Path | None) -> Rows:
    """Gather what the source offers, whatever its kind."""
    if isinstance(source, DirectorySource):
        from rhoflow.sources.directory_rows import directory_rows

        return directory_rows(source, cache, field=field, dos=dos)
    if isinstance(source, ManifestSource):
        from rhoflow.sources.manifest import read_manifest

        return read_manifest(source, cache, field=field, dos=dos)
    from rhoflow.sources.snapshot_rows import snapshot_rows

    assert snapshot is not None, "the rule query writes the snapshot before the catalogue"
    return snapshot_rows(snapshot, field=field, dos=dos)


def _columns(found: Rows, n_shards: int, kind: str) -> dict[str, pa.Array]:
    """Columns of materials.parquet, properties and texts in an order of their own."""
    import pyarrow as pa

    taken = [name for name in found.texts if name in (*FIXED, CHECKS) or name in PROPERTIES]
    taken += [key for key in found.numbers if key in (*FIXED, CHECKS)]
    if taken:
        raise StudyError(
            f"source ({kind}): column {taken[0]!r} is a name that the catalogue needs itself"
            f" ({', '.join((*FIXED, CHECKS))}, or a property); rename it"
        )
    columns = {name: pa.array([row[name] for row in found.rows], pa.string()) for name in TEXT_FIXED}
    checks = [row.get(CHECKS) for row in found.rows]
    if any(checks):
        columns[CHECKS] = pa.array(checks, pa.string())
    columns["size_bytes"] = pa.array([row["size_bytes"] for row in found.rows], pa.int64())
    columns["content_key"] = pa.array([row["content_key"] for row in found.rows], pa.string())
    shards = [shard_of(row["material_id"], n_shards) for row in found.rows]
    columns["shard"] = pa.array(shards, pa.string())
    for key in [key for key in PROPERTIES if key in found.numbers]:
        columns[key] = pa.array(found.numbers[key], pa.float64())
    for name in sorted(found.texts):
        columns[name] = pa.array(found.texts[name], pa.string())
    return columns
