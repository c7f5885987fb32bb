"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def demo(project: Path) -> Path:
    """The crystals that ship with rhoflow."""
    return project / "resources" / "demo"


@pytest.fixture(scope="session")
def shared_data(project: Path) -> Path:
    """Real files that nobody here made up; a test that needs them is skipped, visibly, where they are not."""
    folder = Path(os.environ.get("RHOFLOW_SHARED", project.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data in {folder} (set RHOFLOW_SHARED)")
    return folder
