"""The small study, run once, and copies of it to change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from small_study import CRYSTALS, Ran, Workspace, add_crystal


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, project: Path, demo: Path, tiny_encoder: Path) -> Workspace:
    """The small study, run once; do not change it."""
    workspace = Workspace(tmp_path_factory.mktemp("study"), project)
    for name in CRYSTALS:
        add_crystal(workspace.folder, demo, name)
    table = pd.read_csv(demo / "properties.csv")
    workspace.properties = table[table.material_id.isin(CRYSTALS)]
    shutil.copytree(tiny_encoder, workspace.folder / "encoder")
    workspace.configure()
    workspace.run()
    return workspace


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished study, with its dates, to change."""
    shutil.copytree(finished.folder, tmp_path / "study", symlinks=True)
    return Workspace(tmp_path / "study", finished.project)


@pytest.fixture(params=["planned", pytest.param("run", marks=pytest.mark.slow)])
def rerun(request: pytest.FixtureRequest) -> Callable[[Workspace], Ran]:
    """The jobs of a rerun: up to the views they run, the trainings are planned. In the slow tier all run."""
    return Workspace.plan if request.param == "planned" else Workspace.run
