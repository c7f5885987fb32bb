"""Jobs of a killed run are found and named, those of other folders are not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rhoflow.errors import StudyError
from rhoflow.orphans import remove_leftovers, slurm_jobs, stop_at_orphans


@pytest.fixture
def orphan(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Run a script of the workflow, in the SLURM job that the parameter names."""
    inside = {"SLURM_JOB_ID": request.param} if hasattr(request, "param") else {}
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").write_text("print('ready', flush=True)\nimport time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "scripts/train.py", "--fold", "0"],
        cwd=tmp_path,
        env=os.environ | inside,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let squeue be a shell script."""
    (tmp_path / "bin").mkdir()

    def answers(script: str) -> None:
        (tmp_path / "bin/squeue").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin/squeue").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")

    return answers


def test_local_job_is_named_with_the_command_that_ends_it(
    orphan: subprocess.Popen[str], squeue: Callable[[str], None], tmp_path: Path
) -> None:
    squeue("exit 0")
    for submits in (False, True):  # steps that ask the network run here under profiles/slurm too
        with pytest.raises(StudyError, match=rf"{orphan.pid} \(train\).*kill {orphan.pid}\)"):
            stop_at_orphans(tmp_path, "scripts", "rhoflow", submits=submits)


@pytest.mark.usefixtures("orphan")
def test_jobs_of_other_folders_and_programs_are_nobodys_orphans(
    squeue: Callable[[str], None], tmp_path: Path
) -> None:
    squeue("exit 0")
    assert stop_at_orphans(tmp_path.parent, "scripts", "rhoflow", submits=False)
    assert stop_at_orphans(tmp_path, "elsewhere", "rhoflow", submits=False)


def test_slurm_jobs_are_told_by_prefix_and_folder(squeue: Callable[[str], None], tmp_path: Path) -> None:
    lines = [
        f"11|rhoflow_1-2|{tmp_path}|rule_image_wildcards_image_k_vrh",
        f"12|rhoflow_1-2|{tmp_path}/other|rule_image",
        f"13|another_1-2|{tmp_path}|rule_image",
        f"14|rhoflow_3-4|{tmp_path}|rule_clean",
    ]
    squeue("cat <<END\n" + "\n".join(lines) + "\nEND")
    assert slurm_jobs(tmp_path, "rhoflow") == {"11": "image image_k_vrh", "14": "clean"}
    for submits in (False, True):  # who starts with profiles/default now may have submitted before
        with pytest.raises(StudyError, match=r"\(scancel 11 14\)"):
            stop_at_orphans(tmp_path, "scripts", "rhoflow", submits=submits)


@pytest.mark.parametrize(("orphan", "ends"), [("11", "scancel 11"), ("12", "scancel 11; kill")], indirect=["orphan"])
def test_process_of_a_slurm_job_is_named_once(
    orphan: subprocess.Popen[str], ends: str, squeue: Callable[[str], None], tmp_path: Path
) -> None:
    squeue(f"echo '11|rhoflow_1-2|{tmp_path}|rule_image'")
    with pytest.raises(StudyError) as told:
        stop_at_orphans(tmp_path, "scripts", "rhoflow", submits=True)
    assert (f" {orphan.pid} " in str(told.value), f"({ends}" in str(told.value)) == ("kill" in ends, True)


def test_slurm_without_an_answer_stops_only_those_who_submit(squeue: Callable[[str], None], tmp_path: Path) -> None:
    squeue("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(StudyError, match=r"squeue gives no answer.*\(slurm_load_jobs error: Unable to contact"):
        stop_at_orphans(tmp_path, "scripts", "rhoflow", submits=True)
    assert not stop_at_orphans(tmp_path, "scripts", "rhoflow", submits=False)  # so leftovers stay


def test_leftovers_of_stores_go_and_all_else_stays(tmp_path: Path) -> None:
    stay = [tmp_path / "raw/0000.h5", tmp_path / "raw/part.part", tmp_path / "runs/image/a/.x.part"]
    go = [tmp_path / "raw/.0000.h5.node.7.part", tmp_path / "images/flat/.0000.npz.node.8.part"]
    for path in (*stay, *go):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    remove_leftovers(tmp_path)
    assert [path.exists() for path in stay] == [True] * 3
    assert [path.exists() for path in go] == [False] * 2
