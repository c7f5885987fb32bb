"""The very small study, run once undisturbed."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_study import CRYSTALS

from chaos.disturbed import RUN, Disturbed, study_of


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, project: Path, demo: Path) -> Disturbed:
    workspace = study_of(tmp_path_factory.mktemp("undisturbed"), project, demo, CRYSTALS)
    status, said = workspace.ends("--", RUN)
    assert status == 0, said
    return workspace
