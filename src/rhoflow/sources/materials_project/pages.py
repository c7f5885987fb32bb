"""Finished pages of a query, kept in a folder until the whole is done: a kill loses one page, memory holds few."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rhoflow.materials.digests import atomic, read_json, write_json

Row = dict[str, Any]


class Pages:
    """A folder of page files, each a line of facts about the page and a line a row.

    Parameters
    ----------
    folder : Path
        The folder; pages of another question that it may hold are deleted.
    question : dict
        All that the answers depend on.
    """

    def __init__(self, folder: Path, question: dict[str, Any]) -> None:
        self._folder = folder
        asked = folder / "question.json"
        if not asked.is_file() or _read(asked) != question:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(asked, question)

    def facts(self, name: str) -> dict[str, Any] | None:
        """First line of a page; None if the page is not there."""
        try:
            with self._path(name).open(encoding="utf-8") as file:
                facts: dict[str, Any] = json.loads(file.readline())
        except FileNotFoundError:
            return None
        return facts

    def write(self, name: str, facts: dict[str, Any], rows: Iterable[Row]) -> None:
        """Keep a page."""
        with atomic(self._path(name)) as part, part.open("w", encoding="utf-8") as file:
            for line in (facts, *rows):
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    def rows(self, name: str) -> Iterator[Row]:
        """Rows of a page, as they were written."""
        with self._path(name).open(encoding="utf-8") as file:
            file.readline()
            for line in file:
                yield json.loads(line)

    def places(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Page and byte offset of each row's ``id``; of rows with the same id, the first one's."""
        found: dict[str, tuple[str, int]] = {}
        for name in names:
            with self._path(name).open("rb") as file:
                offset = len(file.readline())
                for line in file:
                    found.setdefault(json.loads(line)["id"], (name, offset))
                    offset += len(line)
        return found

    def row_at(self, place: tuple[str, int]) -> Row:
        """Row at a place that `places` gave."""
        name, offset = place
        with self._path(name).open("rb") as file:
            file.seek(offset)
            row: Row = json.loads(file.readline())
        return row

    def forget(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError:
        return None
