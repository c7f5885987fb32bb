"""Fixtures: the sandbox SLURM, and the very small study, run once undisturbed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chaos.disturbed import Disturbed


@pytest.fixture(scope="module")
def slurm(project: Path) -> Iterator[None]:
    """A SLURM of one machine; where there can be none, a visible skip says why."""
    sandbox = project / "tests/slurm/sandbox.sh"
    there = subprocess.run([sandbox, "status"], capture_output=True, check=False).returncode == 0
    started = subprocess.run([sandbox, "start"], capture_output=True, text=True, check=False)
    if started.returncode == 3:
        pytest.skip(f"no sandbox SLURM: {started.stderr.strip()}")
    assert started.returncode == 0, started.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", started.stdout.strip())
        yield
    if not there:
        subprocess.run([sandbox, "stop"], check=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, project: Path, demo: Path) -> Disturbed:
    """The very small study, run on this machine; do not change it."""
    from small_study import CRYSTALS

    from chaos.disturbed import RUN, study_of  # not at the top: pymatgen and pandas take seconds

    workspace = study_of(tmp_path_factory.mktemp("undisturbed"), project, demo, CRYSTALS)
    workspace.succeeds("--", RUN)
    return workspace
