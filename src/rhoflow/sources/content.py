"""Content keys of material files, remembered so that an unchanged terabyte is not read again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rhoflow.materials.digests import digest_file, write_json
from rhoflow.progress import track
from rhoflow.sources.directory import Stamp

THREADS = 4  # sha256 releases the GIL; more threads than this outrun no disk
SAVE_EVERY_S = 60.0  # a kill loses at most this much hashing
# A file changed less than this before it was read may change again within one tick of its clock,
# so its digest is not remembered (git calls such entries racy).
RACY_NS = 2_000_000_000


def content_digests(stamps: Iterable[Stamp], cache: Path) -> dict[str, str | OSError]:
    """sha256 of files, read only where `cache` does not know their path, size and time of change.

    Parameters
    ----------
    stamps : iterable of Stamp
        Files to digest.
    cache : Path
        JSON file of this function; a missing or damaged one is made anew, entries of other files are dropped.

    Returns
    -------
    dict of str to str or OSError
        Digest by path, or why the file could not be read.
    """
    wanted = {stamp.path: stamp for stamp in stamps}
    known = _load(cache)
    kept = {path: known[path] for path, stamp in wanted.items() if _matches(known.get(path), stamp)}
    todo = [stamp for path, stamp in wanted.items() if path not in kept]
    digests: dict[str, str | OSError] = {path: str(digest) for path, (_, _, digest) in kept.items()}
    saved = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        for stamp, digest in track(pool.map(_digest, todo), total=len(todo), what="hash files"):
            digests[stamp.path] = digest
            if isinstance(digest, str) and time.time_ns() - stamp.mtime_ns > RACY_NS:
                kept[stamp.path] = [stamp.size, stamp.mtime_ns, digest]
            if time.monotonic() - saved > SAVE_EVERY_S:
                write_json(cache, kept)
                saved = time.monotonic()
    if kept != known:
        write_json(cache, kept)
    return digests


def _digest(stamp: Stamp) -> tuple[Stamp, str | OSError]:
    try:
        return stamp, digest_file(Path(stamp.path))
    except OSError as error:
        return stamp, error


def _load(cache: Path) -> dict[str, list[int | str]]:
    """Read the cache's entries ``{path: [size, mtime_ns, digest]}``; none from a damaged file."""
    try:
        entries = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _matches(entry: object, stamp: Stamp) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and entry[:2] == [stamp.size, stamp.mtime_ns]
