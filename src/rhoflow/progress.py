"""Progress of long work: a bar with an ETA in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
LOG_EVERY_S = 15.0


def track(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Yield `items`, showing done/total, rate and ETA on standard error.

    Parameters
    ----------
    total : int
        How many items there are.
    what : str
        What is being done, e.g. ``"ingest 0003"``.
    """
    if sys.stderr.isatty():
        yield from _bar(items, total, what)
    else:
        yield from _lines(items, total, what)


def _bar(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=what)


def _lines(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= LOG_EVERY_S:
            rate = done / max(now - start, 1e-9)
            left = (total - done) / rate
            print(f"{what}: {done}/{total}, {rate:.2g}/s, {left:.0f} s left", file=sys.stderr, flush=True)
            last = now
