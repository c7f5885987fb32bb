"""The files of a shard on this machine: local ones as they are, remote ones downloaded ahead and soon forgotten."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.digests import digest_file
from rhoflow.materials.ids import check_id
from rhoflow.sources.bucket import Bucket, Head, split_location
from rhoflow.sources.local import LocalFiles
from rhoflow.sources.rows import CHECKS, REMOTE

Entry = Mapping[str, Any]
Arrivals = Generator[tuple[Entry, LocalFiles | RejectedMaterialError], None, None]
_AECCAR = ("aeccar0", "aeccar1", "aeccar2")
# What a key may look like that becomes the name of a file here: no "..", nothing hidden, nothing absolute.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,99}")
_MD5 = re.compile(r"[0-9a-f]{32}")


def is_remote(entry: Entry) -> bool:
    """Whether the density of a plan's entry has to be downloaded."""
    return str(entry["density"]).startswith(REMOTE)


def local_files(entries: Sequence[Entry], folder: Path, *, connections: int, keep: Path | None) -> Arrivals:
    """Yield the entries of a plan in order, each with its files; downloads run ahead of the consumer.

    At most ``2 * connections`` files (or those of one material) are on disk ahead of the one in use. The files of an
    entry are deleted when the next one is asked for.

    Parameters
    ----------
    entries : sequence of dict
        Materials of a plan, see `read_plan`.
    folder : Path
        Where downloads wait for their turn; made, emptied and removed here.
    connections : int
        Downloads at a time.
    keep : Path or None
        Objects stay in ``keep/<bucket>/<key>`` instead, and are taken from there if they are still the bucket's.

    Yields
    ------
    dict, LocalFiles or RejectedMaterialError
        The error if a file cannot be had or is not what the plan says.
    """
    sources = [(entry, _sources(entry)) for entry in entries]
    if not any(location.startswith(REMOTE) for _, files in sources for location in files.values()):
        connections = 1  # nothing to wait for
        fetcher = _Fetcher(None, folder, keep)
    else:
        fetcher = _Fetcher(Bucket(connections=connections), folder, keep)
    with _Downloads(fetcher, connections) as downloads:
        yield from downloads.each(sources)


def _sources(entry: Entry) -> dict[str, str]:
    """Locations of an entry's files by their role, those that there are."""
    locations = {role: entry[role] for role in ("density", "structure", "run")}
    locations |= dict(zip(_AECCAR, entry["aeccar"], strict=True))
    return {role: location for role, location in locations.items() if location is not None}


class _Downloads:
    """A pool of threads and the window of entries whose files are asked for."""

    def __init__(self, fetcher: _Fetcher, connections: int) -> None:
        self._fetcher = fetcher
        self._limit = 2 * connections
        self._pool = ThreadPoolExecutor(connections, "download")

    def __enter__(self) -> _Downloads:
        self._fetcher.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._fetcher.clear()

    def each(self, sources: Sequence[tuple[Entry, dict[str, str]]]) -> Arrivals:
        """See `local_files`."""
        todo = deque(sources)
        window: deque[tuple[Entry, dict[str, Future[_File]]]] = deque()
        while todo or window:
            self._fill(window, todo)
            entry, futures = window.popleft()
            self._fill(window, todo)
            try:
                yield entry, _gather(entry, futures)
            finally:
                for future in futures.values():
                    self._fetcher.forget(future)

    def _fill(
        self, window: deque[tuple[Entry, dict[str, Future[_File]]]], todo: deque[tuple[Entry, dict[str, str]]]
    ) -> None:
        """Ask for the files of more entries while there is room on disk for them."""
        n_ahead = sum(len(futures) for _, futures in window)
        while todo and (not window or n_ahead + len(todo[0][1]) <= self._limit):
            entry, locations = todo.popleft()
            window.append((entry, self._submit(entry, locations)))
            n_ahead += len(locations)

    def _submit(self, entry: Entry, locations: dict[str, str]) -> dict[str, Future[_File]]:
        return {role: self._pool.submit(self._fetcher.get, entry, role, locations[role]) for role in locations}


@dataclass(frozen=True)
class _File:
    """A file on this machine; `passing` ones are downloads that nobody keeps."""

    path: Path
    sha256: str | None = None
    passing: bool = False


def _gather(entry: Entry, futures: Mapping[str, Future[_File]]) -> LocalFiles | RejectedMaterialError:
    """Wait for the files of an entry; the first rejection counts."""
    files: dict[str, _File | None] = dict.fromkeys(("structure", "run", *_AECCAR))
    for role, future in futures.items():
        try:
            files[role] = future.result()
        except RejectedMaterialError as error:
            # without AECCARs a density is still a density; who needs them says so
            listed = role not in _AECCAR or role in entry.get(CHECKS, {})
            if listed or error.reason is not Reason.NO_DENSITY:
                return error
    paths = {role: file.path if file else None for role, file in files.items()}
    density = files["density"]
    assert density is not None
    aeccar = (paths["aeccar0"], paths["aeccar1"], paths["aeccar2"])
    origin = str(entry["density"])
    checksums = {role: file.sha256 for role in _AECCAR if (file := files[role]) and file.sha256}
    return LocalFiles(density.path, paths["structure"], paths["run"], aeccar, density.sha256, origin, checksums)


class _Fetcher:
    """Gets one file; used by many threads."""

    def __init__(self, bucket: Bucket | None, folder: Path, keep: Path | None) -> None:
        self._bucket, self._folder, self._keep = bucket, folder, keep

    def clear(self) -> None:
        """Remove the folder of downloads, and what a killed process left in it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def forget(self, future: Future[_File]) -> None:
        """Delete a download that nobody keeps."""
        if not future.cancelled() and future.exception() is None and future.result().passing:
            future.result().path.unlink(missing_ok=True)

    def get(self, entry: Entry, role: str, location: str) -> _File:
        """Download or check one file of an entry."""
        wanted = _wanted(entry, role)
        if not location.startswith(REMOTE):
            return _local(Path(location), wanted["sha256"])
        assert self._bucket is not None
        if self._keep:
            path = self._keep / Path(*_safe_parts(location))
            sha256 = self._kept(location, path, **wanted) or self._bucket.fetch(location, path, **wanted)
            return _File(path, sha256)
        path = self._folder / f"{check_id(entry['id'])}.{role}.{_safe_parts(location)[-1]}"
        return _File(path, self._bucket.fetch(location, path, **wanted), passing=True)

    def _kept(self, location: str, path: Path, size: int | None, sha256: str | None, etag: str | None) -> str | None:
        """Hash of a kept file that is what is wanted and, where that is unknown, what the bucket has; else None."""
        assert self._bucket is not None
        if not path.is_file() or size not in (None, path.stat().st_size):
            return None
        found = digest_file(path)
        if sha256 is not None:
            return found if found == sha256 else None
        if etag and _MD5.fullmatch(etag):
            return found if _is_object(path, Head(path.stat().st_size, etag)) else None
        head = self._bucket.head(location)
        same = isinstance(head, Head) and etag in (None, head.etag) and _is_object(path, head)
        return found if same else None


def _wanted(entry: Entry, role: str) -> dict[str, Any]:
    """Size, sha256 and etag that a file of a plan must have, None where the plan says nothing."""
    known = entry.get(CHECKS, {}).get(role, {})
    if role == "density":
        known = {"bytes": entry["bytes"], "sha256": entry["sha256"]} | known
    return {"size": known.get("bytes"), "sha256": known.get("sha256"), "etag": known.get("etag")}


def _local(path: Path, sha256: str | None) -> _File:
    """Check a file that was here already; one that is not here is left to the reader to reject."""
    if sha256 is None or not path.is_file():
        return _File(path)
    found = digest_file(path)
    if found != sha256:
        raise RejectedMaterialError(
            Reason.CHECKSUM,
            f"{path}: sha256 {found} instead of {sha256}: not the file that the list means; get that one",
        )
    return _File(path, found)


def _is_object(path: Path, head: Head) -> bool:
    """Whether a file has the size, and where the etag tells it the md5, of an object."""
    if path.stat().st_size != head.size:
        return False
    if not _MD5.fullmatch(head.etag):  # uploaded in parts: the etag says nothing that a file could be compared with
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == head.etag


def _safe_parts(location: str) -> list[str]:
    """Bucket and parts of the key, each fit to name a folder or file here."""
    bucket, key = split_location(location)
    parts = [bucket, *key.split("/")]
    if not all(_NAME.fullmatch(part) for part in parts):
        raise RejectedMaterialError(
            Reason.BAD_LOCATION,
            f"{location!r}: between slashes only letters, digits and . _ + = - are allowed, starting with a letter or"
            " digit; correct the list",
        )
    return parts
