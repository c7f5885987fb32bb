"""Write a study's materials as a list with checksums, from which a `manifest` source rebuilds the dataset."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from rhoflow.config import DirectorySource, ManifestSource, Source, Study, load_study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import atomic, digest_file, read_json
from rhoflow.materials.shards import read_report
from rhoflow.progress import track
from rhoflow.properties import PROPERTIES
from rhoflow.sources.directory import ID
from rhoflow.sources.manifest import (
    BYTES,
    DOS_BLAKE3,
    FILES,
    FORMULA,
    FURTHER,
    LOCATION,
    SHA256,
    TEXTS,
    folder_of,
    sha256_of,
)
from rhoflow.sources.plan import plan_paths, read_plan_texts
from rhoflow.sources.rows import AECCARS, DESCRIPTION, REMOTE, TASK_DOS

Row = dict[str, Any]


def write_manifest(root: Path, output: Path, *, ingested: bool = False) -> int:
    """Write the list of a finished study (`sources.manifest` has its columns); equal studies give equal bytes.

    A file whose checksum the study has not noted, when it was catalogued or came, is read for it.

    Parameters
    ----------
    root : Path
        Result folder of the study, ``results/<study>``.
    output : Path
        The CSV to write, sorted by id.
    ingested : bool
        List every material whose density could be read, not only those that the study kept.

    Returns
    -------
    int
        Number of materials listed.

    Raises
    ------
    StudyError
        If the study is not finished, or a local file is gone or was changed since.
    """
    study = _read_study(root)
    facts = _ingested(root, study)
    wanted = sorted(facts) if ingested else _kept(root)
    catalogue = {row[ID]: row for row in pq.read_table(root / "catalog/materials.parquet").to_pylist()}
    texts = {key: text for plan in plan_paths(root / "plan") for key, text in read_plan_texts(plan).items()}
    rows = []
    for material_id in track(wanted, total=len(wanted), what="checksums"):
        if material_id not in catalogue or material_id not in facts:
            raise StudyError(
                f"{root}: {material_id} is kept but not in the catalogue or not ingested: run snakemake again"
            )
        entry = catalogue[material_id] | {DESCRIPTION: texts.get(material_id)}
        rows.append(_row(entry, facts[material_id], study))
    table = pd.DataFrame(rows)
    with atomic(output) as part:
        table[_columns(table)].to_csv(part, index=False, lineterminator="\n")
    return len(rows)


def property_column(key: str) -> str:
    """Column name of a property in its house unit, e.g. ``k_vrh_GPa``."""
    unit = next(unit for unit, factor in PROPERTIES[key].units.items() if factor == 1.0)
    return f"{key}_{unit}" if unit else key


def _read_study(root: Path) -> Study:
    """Read the settings that the study was made with."""
    path = root / "provenance/provenance.json"
    if not path.is_file():
        raise StudyError(f"{path} does not exist: run snakemake for the study {root.name!r} first")
    return load_study(read_json(path)["config"])


def _kept(root: Path) -> list[str]:
    kept = pd.read_csv(root / "dataset/kept.csv", dtype=str, keep_default_na=False)
    return sorted(kept[ID])


def _ingested(root: Path, study: Study) -> dict[str, Row]:
    """Statistics of all materials that were ingested, by id, with the digests of their densities of states."""
    facts: dict[str, Row] = {}
    for plan in plan_paths(root / "plan"):
        facts |= read_report(root / f"raw/{plan.stem}.h5").stats
        digests = read_report(root / f"dos/{plan.stem}.h5").digests if study.dos else {}
        for material_id in digests.keys() & facts.keys():
            facts[material_id][DOS_BLAKE3] = digests[material_id]
    return facts


def _row(entry: Row, facts: Row, study: Study) -> Row:
    """One material of the list."""
    size = facts.get("bytes") or entry["size_bytes"]
    row: Row = {ID: entry[ID], BYTES: size}
    for column in _used_files(study):
        cell = entry.get(FILES[column])
        if cell is not None and cell.startswith(TASK_DOS):
            row[column], row[DOS_BLAKE3] = cell, facts.get(DOS_BLAKE3, "")
        elif cell is not None:
            known = (facts.get("sha256") or entry.get("sha256")) if column == LOCATION else _noted(column, facts)
            row[column], row[sha256_of(column)] = _describe(entry[ID], cell, known, study.source)
    if not row[SHA256]:
        raise StudyError(
            f"{entry[ID]}: the checksum of its download is not known: delete its shard in raw/ and run again"
        )
    if not entry["path"].startswith(REMOTE) and Path(entry["path"]).stat().st_size != entry["size_bytes"]:
        raise StudyError(f"{entry['path']} has changed since the study ran: run snakemake again, then list it")
    row |= {name: _text(entry.get(name) or "") for name in TEXTS}
    row |= {name: _text(entry[name]) for name in FURTHER if entry.get(name)}
    return row | {property_column(key): value for key, value in _properties(entry, facts).items()}


def _noted(column: str, facts: Row) -> str | None:
    """sha256 of an all-electron file, if it was noted when it came."""
    noted: dict[str, str] = facts.get("aeccar_sha256") or {}
    return noted.get(column)


def _used_files(study: Study) -> list[str]:
    """Columns of files that the study's numbers depend on."""
    aeccars = [f"aeccar{k}" for k in AECCARS.get(study.field, ())]
    run = ["run"] if study.field == "deformation" else []  # it names the electrons that each potential treats
    return [LOCATION, "structure", *run, *aeccars, *(["dos"] if study.dos else [])]


def _describe(material_id: str, cell: str, known: str | None, source: Source) -> tuple[str, str]:
    """Location as the list gives it, and sha256 (empty for an object that nobody has checked)."""
    if cell.startswith(REMOTE):
        return cell, known or ""
    location = os.path.relpath(cell, _folder(source))
    if location.startswith("..") or not location.isprintable() or location != location.strip() or "\\" in location:
        raise StudyError(
            f"{material_id}: {cell!r} cannot be listed: it must lie below the source's folder, without blanks at its"
            " ends, backslashes and unprintable characters; rename or move it and run snakemake again"
        )
    try:
        return _text(Path(location).as_posix()), known or digest_file(Path(cell))
    except OSError as error:
        raise StudyError(
            f"{cell}: {error.strerror}; restore it, or run snakemake again and list what is left"
        ) from None


def _folder(source: Source) -> Path:
    """Where the local files of a source lie; the Materials Project has none, so its would be named from here."""
    if isinstance(source, DirectorySource):
        return source.path
    return folder_of(source) if isinstance(source, ManifestSource) else Path()


def _properties(entry: Row, facts: Row) -> dict[str, float]:
    """Values in house units: the catalogue's, else those of the run's own files."""
    run = (facts.get("run") or {}).get("properties", {})  # null without run files
    values = {key: entry[key] if _is_value(entry.get(key)) else run.get(key) for key in PROPERTIES}
    return {key: value for key, value in values.items() if _is_value(value)}


def _is_value(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _text(cell: str) -> str:
    """Cell that a spreadsheet shows and never computes; `manifest.plain` undoes it."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _columns(table: pd.DataFrame) -> list[str]:
    """Columns that hold something, in a fixed order."""
    files = [name for column in FILES if column != LOCATION for name in (column, sha256_of(column))]
    wanted = [ID, LOCATION, BYTES, SHA256, *files, DOS_BLAKE3, *TEXTS, *FURTHER, *map(property_column, PROPERTIES)]
    return [name for name in wanted if name in table]
