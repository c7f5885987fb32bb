"""How many numbers a density file of a given size holds, from its kind or from a look at a few of a study's own."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

N_SAMPLES = 6
_HEAD = 2**17  # header and some lines of numbers, also of a cell with a thousand atoms
_MOST_TEXT = 2**25  # read of a sample; a longer file is judged by its beginning
_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


@dataclass(frozen=True)
class Kind:
    """What to expect of a kind of density file.

    Attributes
    ----------
    bytes_per_value : float
        Size of the file over the numbers in it.
    fields : float
        Densities in a file: one, or total and spin.
    """

    bytes_per_value: float
    fields: float = 2.0


# Measured on the public VASP files that the tests know as shared data (Al, Fe3O4, Ga, LiH, Li, NaCl, Si; mean and
# range) and on one object of the Materials Project's bucket (mp-2680643, ScN).
KINDS = {
    ".json.gz": Kind(6.5),
    ".json": Kind(45.0),
    ".gz": Kind(5.3),  # 3.2 to 6.2
    ".xz": Kind(2.4),  # 0.8 to 3.6
    ".bz2": Kind(3.8),  # 2.1 to 4.9
    "": Kind(18.2),  # VASP's five columns
}


def kind_of(path: str) -> str:
    """Suffix that tells a kind of density file; "" for text."""
    return next(suffix for suffix in KINDS if path.endswith(suffix))


def sample_kind(paths: Sequence[str], sizes: Sequence[float]) -> Kind | None:
    """Kind of a study's own files, from reading at most `N_SAMPLES` of them, evenly over their sizes.

    How far a file shrinks depends on its digits and its symmetry (xz: by 5 to 25 times), so a study's own files tell
    more than any table. Files that are no VASP density do not count; None without any.
    """
    order = sorted(range(len(paths)), key=lambda k: (sizes[k], paths[k]))
    step = max(1, len(order) // N_SAMPLES)
    found = [look for k in order[step // 2 :: step][:N_SAMPLES] if (look := _look(Path(paths[k]), sizes[k]))]
    if not found:
        return None
    size, values, points = (sum(column) for column in zip(*found, strict=True))
    return Kind(size / values, max(1.0, values / points))


def _look(path: Path, size: float) -> tuple[float, float, float] | None:
    """Size in bytes, numbers and grid points of a VASP density file; None of anything else."""
    try:
        with path.open("rb") as raw, _OPENERS.get(path.suffix, _as_it_is)(raw) as text:
            head = text.read(_HEAD)
            n_text = len(head)
            while n_text < _MOST_TEXT and (more := text.read(_HEAD)):
                n_text += len(more)
            read = min(size, raw.tell())
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        return None
    layout = _layout(head)
    if layout is None or not read:
        return None
    points, bytes_per_value = layout
    return size, n_text / bytes_per_value * size / read, points


def _as_it_is(raw: IO[bytes]) -> IO[bytes]:
    return raw


def _layout(head: bytes) -> tuple[float, float] | None:
    """Grid points and bytes a number of a density file's beginning, by its grid line; None without one."""
    lines = head.split(b"\n")
    for k in range(1, len(lines) - 2):
        words = lines[k].split()
        if not lines[k - 1].strip() and len(words) == 3 and all(word.isdigit() and len(word) < 10 for word in words):
            numbers = lines[k + 1].split()
            points = int(words[0]) * int(words[1]) * int(words[2])
            return (float(points), (len(lines[k + 1]) + 1) / len(numbers)) if numbers and points else None
    return None
