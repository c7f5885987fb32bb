"""The fake as a fixture: one process and one world a session, no faults at the start of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fake_mp.fake import FakeMaterialsProject


@pytest.fixture(scope="session")
def running_mp() -> Iterator[FakeMaterialsProject]:
    with FakeMaterialsProject(n=200, slow=2.0) as mp:
        yield mp


@pytest.fixture
def fake_mp(running_mp: FakeMaterialsProject, monkeypatch: pytest.MonkeyPatch) -> FakeMaterialsProject:
    """A Materials Project of 200 materials to which this process's clients, and its subprocesses, talk."""
    running_mp.order({})
    running_mp.activate(monkeypatch)
    return running_mp
