"""The answers of the Materials Project in one file, so that nothing after the query needs the network or a key."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rhoflow.errors import StudyError
from rhoflow.materials.digests import atomic

HEADER_KEYS = {"database_version", "selection", "lattice", "n"}


def write_lines(path: Path, header: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    """Write the snapshot: the same header and rows give the same bytes, and it is whole or not there.

    Parameters
    ----------
    path : Path
        ``catalog/materials_project.jsonl.gz``.
    header : dict
        The first line, with the keys ``database_version``, ``selection``, ``lattice`` and ``n``, the number of rows.
    rows : iterable of dict
        A line each, sorted by ``id``.
    """
    with (
        atomic(path) as part,
        part.open("wb") as raw,
        # No name and no time in the gzip header: they would differ from run to run.
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as file,
    ):
        file.write(_line(header))
        for row in rows:
            file.write(_line(row))


def read_snapshot(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Read the snapshot's header, and stream its materials.

    Returns
    -------
    header : dict
        ``{"database_version", "selection", "lattice", "n", "n_rejected", "left_out"}``.
    materials : iterator of dict
        Sorted by ``id``, each id once; either ``{"id", "rejected": {"reason", "detail"}}`` or ``{"id", "properties",
        "elastic_tensor", "text", "task_id", "functional", "density", "bytes", "etag", "aeccar", "aeccar_bytes",
        "aeccar_etags", "passed_over", "dos_task"}`` with properties in house units and the elastic tensor in GPa
        (Voigt, IEEE orientation).

    Raises
    ------
    StudyError
        If the file is missing, cut short or not a snapshot; while the materials are read as well.
    """
    lines = _lines(path)
    header = next(lines, None)
    if header is None or not header.keys() >= HEADER_KEYS:
        raise _damaged(path, "its first line is no header")
    return header, _materials(path, lines, header["n"])


def _materials(path: Path, lines: Iterator[dict[str, Any]], n: int) -> Iterator[dict[str, Any]]:
    count, last = 0, ""
    for line in lines:
        material_id = line.get("id")
        if not isinstance(material_id, str) or (count and material_id <= last):
            raise _damaged(path, f"line {count + 2} is out of order")
        count, last = count + 1, material_id
        yield line
    if count != n:
        raise _damaged(path, f"it holds {count} materials instead of {n}")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                if not isinstance(line, dict):
                    raise _damaged(path, "a line is no JSON object")
                yield line
    except StudyError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return (text + "\n").encode()


def _damaged(path: Path, problem: str) -> StudyError:
    return StudyError(f"{path}: no whole answer of the Materials Project ({problem}); delete it and run again")
