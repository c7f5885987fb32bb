"""Progress of long work: a bar with rate and ETA in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
Count = Callable[[], int]
LOG_EVERY_S = 15.0


def track(items: Iterable[Item], *, total: int, what: str, rejected: Count | None = None) -> Iterator[Item]:
    """Yield `items`, showing done/total, rejections, rate and ETA on standard error.

    Parameters
    ----------
    total : int
        How many items there are.
    what : str
        What is being done, e.g. ``"ingest 0003"``.
    rejected : callable, optional
        Says how many materials were rejected so far; asked after each item.
    """
    if sys.stderr.isatty():
        yield from _bar(items, total, what, rejected)
    else:
        yield from _lines(items, total, what, rejected)


def _bar(items: Iterable[Item], total: int, what: str, rejected: Count | None) -> Iterator[Item]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, facts="")
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(task, completed=done, facts=_facts(done, time.monotonic() - start, rejected))


def _lines(items: Iterable[Item], total: int, what: str, rejected: Count | None) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= LOG_EVERY_S:
            left = _duration((now - start) / done * (total - done))
            print(f"{what}: {done}/{total}, {_facts(done, now - start, rejected)}, {left} left", file=sys.stderr)
            sys.stderr.flush()
            last = now


def _facts(done: int, seconds: float, rejected: Count | None) -> str:
    """Rejections so far and the rate, e.g. ``"3 rejected, 0.52/s"``."""
    rate = f"{done / max(seconds, 1e-9):.2g}/s"
    return f"{rejected()} rejected, {rate}" if rejected else rate


def _duration(seconds: float) -> str:
    """Word a time so that it is read at a glance: ``"95 s"``, ``"12 min"``, ``"3 h 05 min"``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
