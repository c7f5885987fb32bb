"""A study over a SLURM with an accounting database, whose jobs are asked for with sacct."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.disturbed import RUN, Disturbed, study_of
from small_study import CRYSTALS


@pytest.fixture
def accounting(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sandbox of its own; the one without accounting, if it runs, makes room for good."""
    sandbox = project / "tests/slurm/sandbox.sh"
    subprocess.run([sandbox, "stop"], check=True)
    monkeypatch.setenv("SLURM_SANDBOX", f"{os.environ.get('SLURM_SANDBOX', '/tmp/rhoflow-slurm')}-accounting")
    started = subprocess.run([sandbox, "start", "--accounting"], capture_output=True, text=True, check=False)
    if started.returncode == 3:
        pytest.skip(f"no SLURM with accounting: {started.stderr.strip()}")
    assert started.returncode == 0, started.stderr
    monkeypatch.setenv("SLURM_CONF", started.stdout.strip())
    yield
    subprocess.run([sandbox, "stop"], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("accounting")
def test_study_asks_sacct_and_charges_an_account(
    undisturbed: Disturbed, project: Path, demo: Path, tmp_path: Path
) -> None:
    workspace = study_of(tmp_path, project, demo, CRYSTALS)
    workspace.executor = "slurm"
    defaults = ("slurm_partition=cpu", "slurm_account=demo", "mem_mb=4000", "runtime=60")
    workspace.succeeds("--slurm-status-command", "sacct", "--default-resources", *defaults, "--", RUN)
    assert workspace.results() == undisturbed.results()
    listed = ["sacct", "--allusers", "--allocations", "--noheader", "--parsable2", "--format=state,account"]
    jobs = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    assert jobs
    assert set(jobs) == {"COMPLETED|demo"}
