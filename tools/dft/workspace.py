"""The output folder: finished crystals and their table, and the state that makes a run resumable.

Beside the published files, ``.state`` holds the settings, finished points of volume series, energies of
the elements, failures and locks. Every file appears complete or not at all, so that a run can be killed
at any time, and several processes can share a folder.
"""

import csv
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import atomic
from .series import SeriesCache
from .settings import Settings

Row = dict[str, str]


class Workspace:
    """An output folder.

    Parameters
    ----------
    root
        The folder, made if it is not there.
    settings
        Settings of this run.

    Raises
    ------
    ValueError
        If the folder was begun with other settings.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self._state = root / ".state"
        for part in ("series", "references", "failed", "lock", "scratch"):
            (self._state / part).mkdir(parents=True, exist_ok=True)
        record = self._state / "settings.json"
        if record.exists() and record.read_text() != settings.fingerprint():
            raise ValueError(f"{root} was computed with other settings (.state/settings.json); use another --out")
        atomic.write_text(record, settings.fingerprint())

    @contextmanager
    def lock(self, key: str, *, wait: bool = False) -> Iterator[bool]:
        """Hold a name among the processes of this folder; False if another one holds it."""
        with (self._state / "lock" / key).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def series(self, key: str) -> SeriesCache:
        """Cache of the volume series of a crystal or element."""
        return SeriesCache(self._state / "series" / f"{key}.json")

    # -- finished crystals

    def table(self) -> dict[str, Row]:
        """Rows of ``properties.csv`` by material id."""
        path = self.root / "properties.csv"
        if not path.exists():
            return {}
        with path.open(newline="") as file:
            return {row["material_id"]: row for row in csv.DictReader(file)}

    def is_done(self, material_id: str) -> bool:
        """Whether files and row of a crystal are there."""
        return (self.root / material_id).is_dir() and material_id in self.table()

    def publish(self, row: Row, write: Callable[[Path], None]) -> None:
        """Put a crystal in place: its files all at once, then its row."""
        name = row["material_id"]
        scratch = self._state / "scratch" / name
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        write(scratch)
        shutil.rmtree(self.root / name, ignore_errors=True)
        scratch.rename(self.root / name)
        self.update_table(lambda rows: rows | {name: row})

    def update_table(self, change: Callable[[dict[str, Row]], dict[str, Row]]) -> None:
        """Rewrite ``properties.csv``, sorted by material id, while no other process does."""
        with self.lock("table", wait=True):
            rows = change(self.table())
            if not rows:
                return
            partial = self._state / "scratch" / "properties.csv"
            with partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, next(iter(rows.values())), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows[name] for name in sorted(rows))
            partial.replace(self.root / "properties.csv")

    # -- elements

    def element_energies(self) -> dict[str, float]:
        """Known reference energies per atom [eV]."""
        folder = self._state / "references"
        return {path.stem: json.loads(path.read_text())["energy"] for path in folder.glob("*.json")}

    def save_element_energy(self, element: str, energy: float) -> None:
        """Keep a reference energy per atom [eV]."""
        atomic.write_text(self._state / "references" / f"{element}.json", json.dumps({"energy": energy}))

    # -- failures

    def failure(self, key: str) -> str | None:
        """Why a crystal or element failed before."""
        path = self._state / "failed" / f"{key}.txt"
        return path.read_text() if path.exists() else None

    def record_failure(self, key: str, reason: str) -> None:
        """Keep a reason, so that the next run passes by."""
        atomic.write_text(self._state / "failed" / f"{key}.txt", reason)

    def forget_failure(self, key: str) -> None:
        """Let a failed crystal or element be tried again."""
        (self._state / "failed" / f"{key}.txt").unlink(missing_ok=True)
