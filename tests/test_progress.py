"""Progress: a line now and then in a log file, a bar in a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from rhoflow import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that only the test moves on, in a process whose standard error is no terminal."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    return now


def work(items: list[str], clock: list[float], seconds: float) -> Iterator[str]:
    """Yield the items as they come out, each worked on for some seconds."""
    for item in progress.track(items, total=len(items), what="ingest 0003"):
        yield item
        clock[0] += seconds


def test_items_pass_through_in_order(clock: list[float]) -> None:
    assert list(work(list("cab"), clock, 1.0)) == list("cab")


def test_items_are_taken_one_at_a_time(clock: list[float]) -> None:
    endless = iter(int, 1)
    assert next(iter(progress.track(endless, total=9, what="x"))) == 0


def test_line_says_done_total_rate_and_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    list(work(list("abcd"), clock, 20.0))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "ingest 0003: 1/4, 0.05/s, 60 s left",
        "ingest 0003: 2/4, 0.05/s, 40 s left",
        "ingest 0003: 3/4, 0.05/s, 20 s left",
        "ingest 0003: 4/4, 0.05/s, 0 s left",
    ]


def test_fast_work_is_a_line_now_and_then_and_one_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    list(work(["x"] * 20, clock, progress.LOG_EVERY_S / 8))
    done = [line.split()[2] for line in capsys.readouterr().err.splitlines()]
    assert done == ["8/20,", "16/20,", "20/20,"]


def test_rejections_so_far_are_counted_after_each_item(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    bad: list[str] = []
    for item in progress.track("abc", total=3, what="ingest 0003", rejected=lambda: len(bad)):
        clock[0] += 20
        if item != "a":
            bad.append(item)
    assert capsys.readouterr().err.splitlines() == [
        "ingest 0003: 1/3, 0 rejected, 0.05/s, 40 s left",
        "ingest 0003: 2/3, 1 rejected, 0.05/s, 20 s left",
        "ingest 0003: 3/3, 2 rejected, 0.05/s, 0 s left",
    ]


@pytest.mark.parametrize(("seconds", "left"), [(1.0, "85 s"), (20.0, "33 min"), (150.0, "4 h 08 min")])
def test_time_left_is_in_a_unit_that_people_read(
    clock: list[float], capsys: pytest.CaptureFixture[str], seconds: float, left: str
) -> None:
    list(work(["x"] * 100, clock, seconds))
    assert capsys.readouterr().err.splitlines()[0].endswith(f", {left} left")


def test_terminal_shows_a_bar_with_rejections_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    assert list(progress.track("abcd", total=4, what="ingest 0003", rejected=lambda: 2)) == list("abcd")
    shown = screen.getvalue()
    assert "ingest 0003" in shown
    assert "4/4" in shown
    assert "2 rejected" in shown
