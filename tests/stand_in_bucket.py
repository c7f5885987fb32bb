"""A bucket in memory, which fails on order and remembers what it was asked for."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.digests import atomic
from rhoflow.sources.bucket import Absent, Head


class StandInBucket:
    """Takes the place of the class `rhoflow.sources.bucket.Bucket` and of its objects.

    Attributes
    ----------
    objects : dict of str to bytes
        Content by location; what is not in it is absent.
    faults : dict of str to exception or callable
        Raised, or called, when a location is fetched.
    fetched, headed : list of str
        Locations in the order of the requests.
    most_at_once : int
        Highest number of fetches at the same time.
    """

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.faults: dict[str, BaseException | Callable[[], None]] = {}
        self.fetched: list[str] = []
        self.headed: list[str] = []
        self.most_at_once = 0
        self.seconds = 0.0
        self._at_once = 0
        self._lock = threading.Lock()

    def __call__(self, *, connections: int) -> StandInBucket:
        return self

    def head(self, location: str) -> Head | Absent:
        self.headed.append(location)
        content = self.objects.get(location)
        return Absent(refused=False) if content is None else Head(len(content), hashlib.md5(content).hexdigest())

    def fetch(self, location: str, path: Path, **wanted: int | str | None) -> str:
        with self._lock:
            self.fetched.append(location)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.seconds)
        try:
            return self._fetch(location, path, wanted)
        finally:
            with self._lock:
                self._at_once -= 1

    def _fetch(self, location: str, path: Path, wanted: dict[str, int | str | None]) -> str:
        fault = self.faults.get(location)
        if isinstance(fault, BaseException):
            raise fault
        if fault:
            fault()
        if location not in self.objects:
            raise RejectedMaterialError(Reason.NO_DENSITY, f"{location}: there is no such object")
        content = self.objects[location]
        sha256 = hashlib.sha256(content).hexdigest()
        known = {"size": len(content), "sha256": sha256, "etag": hashlib.md5(content).hexdigest()}
        if any(value not in (None, known[name]) for name, value in wanted.items()):
            raise RejectedMaterialError(Reason.CHECKSUM, f"{location}: not the one that was listed")
        with atomic(path) as part:
            part.write_bytes(content)
        return sha256
