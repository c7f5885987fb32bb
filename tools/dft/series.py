"""Points of a volume series, kept in a file: a kill loses one point."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import atomic


@dataclass(frozen=True)
class Point:
    """One calculation of a volume series: edge relative to the guess, cell volume [A^3], energy [eV]."""

    scale: float
    volume: float
    energy: float


class SeriesCache:
    """The finished points of one volume series."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def points(self) -> dict[float, Point]:
        """Points by relative edge."""
        if not self._path.exists():
            return {}
        return {record["scale"]: Point(**record) for record in json.loads(self._path.read_text())}

    def remembering(self, energy_at: Callable[[float], Point]) -> Callable[[float], Point]:
        """Make a function also write each of its points to the file."""

        def remember(scale: float) -> Point:
            point = energy_at(scale)
            points = self.points() | {scale: point}
            atomic.write_text(self._path, json.dumps([asdict(p) for p in points.values()]))
            return point

        return remember
