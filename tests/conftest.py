"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chaos.fixtures import slurm, undisturbed  # noqa: F401 (fixtures)
from fake_mp.fixtures import fake_mp, running_mp  # noqa: F401 (fixtures)
from hypothesis import settings

if TYPE_CHECKING:
    from rhoflow.models.networks import FusionOptions

PROJECT = Path(__file__).resolve().parents[1]
# No test is timed: the machine may be busy.
settings.register_profile("untimed", parent=settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("untimed")


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


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of one thin layer in a folder; do not change it."""
    import tiny  # not at the top: torch takes seconds, and most tests do without

    return tiny.write_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_options(tiny_encoder: Path) -> FusionOptions:
    import tiny

    return tiny.tiny_options(tiny_encoder)
