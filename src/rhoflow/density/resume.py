"""What a kill must not lose of a shard: the finished records of materials that had to be downloaded.

Layout of ``scratch/<study>/ingest/<shard>/``, which is safe to delete (no id starts with ``_``):

``<id>.h5``       a raw archive of one material, with its `identity`, digest and statistics as attributes
``_last.h5``      the shard's finished archive (a hard link: it takes no disk of its own while the archive is there)
``_last.json``    identity, digest and statistics of each downloaded material in it
``_lock``         held by the process that works on the shard
``_downloads/``   objects that wait to be read
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from rhoflow.density.record import MaterialRecord
from rhoflow.materials.archive import ArchiveWriter, content_digest
from rhoflow.materials.digests import read_json, write_json


@dataclass(frozen=True)
class Finished:
    """A record that is there: the archive that holds it, its digest and its statistics."""

    archive: Path
    digest: str
    stats: dict[str, Any]


class Scratch:
    """Finished records of one shard.

    Parameters
    ----------
    folder : Path
        Of the shard; made here.
    identities : mapping of str to str
        What each material that is downloaded must be, see `identity`; records of anything else are deleted.
    """

    def __init__(self, folder: Path, identities: Mapping[str, str]) -> None:
        self.folder = folder
        self._identities = identities
        self._last = folder / "_last.h5"
        self._last_index = folder / "_last.json"

    def finished(self) -> dict[str, Finished]:
        """Find the records that are whole and still what the plan means; delete the others."""
        for part in self.folder.glob(".*.part"):  # of a killed process
            part.unlink()
        found = {key: record for key, record in self._of_last_archive() if self._is_whole(key, record)}
        if not found:
            self._last.unlink(missing_ok=True)
        for path in sorted(self.folder.glob("*.h5")):
            if path == self._last:
                continue
            record = self._read(path)
            if record and self._is_whole(path.stem, record):
                found[path.stem] = record
            else:
                path.unlink()
        return found

    def save(self, material_id: str, record: MaterialRecord) -> Finished:
        """Write a record, whole or not at all."""
        path = self.folder / f"{material_id}.h5"
        with ArchiveWriter(path) as archive:
            digest = archive.add(material_id, record.structure, record.fields, **record.attrs)
            facts = {"digest": digest, "stats": json.dumps(record.stats, sort_keys=True)}
            archive.describe(identity=self._identities[material_id], **facts)
        return Finished(path, digest, record.stats)

    def close(self, store: Path, digests: Mapping[str, str], stats: Mapping[str, Mapping[str, Any]]) -> None:
        """Put the finished archive in the place of the records, so that a change of the shard downloads that alone.

        Where the file system knows no hard links, or results and scratch are on different ones, a change of the shard
        downloads all of it again.
        """
        self._last.unlink(missing_ok=True)
        with suppress(OSError):
            os.link(store, self._last)
        index = {
            key: {"identity": identity, "digest": digests[key], "stats": stats[key]}
            for key, identity in self._identities.items()
            if key in digests
        }
        write_json(self._last_index, index)
        for path in self.folder.glob("*.h5"):
            if path != self._last:
                path.unlink()

    def _of_last_archive(self) -> Iterator[tuple[str, Finished]]:
        """Find the records of the last archive with the right identity, by its index."""
        if not self._last.exists() or not self._last_index.exists():
            return
        for key, facts in read_json(self._last_index).items():
            if facts["identity"] == self._identities.get(key):
                yield key, Finished(self._last, facts["digest"], facts["stats"])

    def _read(self, path: Path) -> Finished | None:
        """Facts of a record file; None if it is damaged or of another identity."""
        try:
            with h5py.File(path, "r") as file:
                if file.attrs["identity"] != self._identities.get(path.stem):
                    return None
                return Finished(path, str(file.attrs["digest"]), json.loads(file.attrs["stats"]))
        except (OSError, KeyError, ValueError):
            return None

    def _is_whole(self, material_id: str, record: Finished) -> bool:
        """Whether the arrays of a record are those that were written."""
        try:
            with h5py.File(record.archive, "r") as file:
                arrays = {name: dataset[...] for name, dataset in file[material_id].items()}
        except (OSError, KeyError):
            return False
        return content_digest(arrays) == record.digest


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Wait until no other process works on a folder, which is made here.

    A killed Snakemake leaves its cluster jobs running; the next one must not disturb them, nor they it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "_lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process to finish with {folder} ...", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield
