"""Faults at every stage, on this machine and on the sandbox SLURM: a plain rerun ends in the undisturbed bytes.

A few of them run always, all in `make test-full`; `python tests/chaos/run.py` makes the table of docs/reliability.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chaos.disturbed import Disturbed
from chaos.faults import CASES, Case, ImpossibleError, finish, strike

ALWAYS = {
    Case("store corrupted, dates unchanged", "slices"),
    Case("job killed while it writes", "train"),
    Case("half a file written, all killed", "publish"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=str(case), marks=[] if case in ALWAYS else pytest.mark.slow) for case in CASES]
)
def test_rerun_after_a_fault_ends_in_the_same_bytes(
    case: Case, undisturbed: Disturbed, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if case.executor == "slurm":
        request.getfixturevalue("slurm")
    shutil.copytree(undisturbed.folder, tmp_path / "study", symlinks=True)
    workspace = Disturbed(tmp_path / "study", undisturbed.project, whole=undisturbed.folder)
    try:
        strike(workspace, case)
        finish(workspace, case)
    except ImpossibleError as error:
        pytest.skip(str(error))
    finally:
        workspace.end_all()
    assert workspace.results() == undisturbed.results()
    assert len(workspace.results()) == 4
