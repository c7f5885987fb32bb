"""A full disk is nobody's material at fault: the run stops and says which disk, and what would help."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rhoflow.errors import StudyError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_stops(places: Sequence[Path], advice: Callable[[], str]) -> Iterator[None]:
    """Turn "no space left" (or "quota exceeded") inside the block into a `StudyError`.

    Parameters
    ----------
    places : sequence of Path
        Folders that the block writes to; the one with the least free space is named.
    advice : callable
        Says what is needed and what to do about it.
    """
    try:
        yield
    except (OSError, StudyError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _FULL:
            raise
        free, place = min((shutil.disk_usage(_existing(place)).free, place) for place in places)
        why = "the quota is used up" if cause.errno == errno.EDQUOT else f"{free / 1e9:.3g} GB free"
        message = f"{place}: no space left on the disk {_mount_point(place)} ({why}); {advice()}"
        raise StudyError(message) from error


def _existing(path: Path) -> Path:
    """Find the nearest folder on the way up that is there."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


def _mount_point(path: Path) -> Path:
    path = _existing(path)
    while not path.is_mount():
        path = path.parent
    return path
