"""Jobs of a killed run are found and named, those of other folders are not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rhoflow.errors import StudyError
from rhoflow.orphans import remove_leftovers, slurm_jobs, stop_at_orphans


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").write_text("print('ready', flush=True)\nimport time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "scripts/train.py", "--fold", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_local_job_is_named_with_the_command_that_ends_it(orphan: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=rf"{orphan.pid} \(train\).*kill {orphan.pid}"):
        stop_at_orphans(tmp_path, "scripts", None)


@pytest.mark.usefixtures("orphan")
def test_jobs_of_other_folders_and_programs_are_nobodys_orphans(tmp_path: Path) -> None:
    stop_at_orphans(tmp_path.parent, "scripts", None)
    stop_at_orphans(tmp_path, "elsewhere", None)


def test_slurm_jobs_are_told_by_prefix_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        f"11|rhoflow_1-2|{tmp_path}|rule_image_wildcards_image_k_vrh",
        f"12|rhoflow_1-2|{tmp_path}/other|rule_image",
        f"13|another_1-2|{tmp_path}|rule_image",
        f"14|rhoflow_3-4|{tmp_path}|rule_clean",
    ]
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert slurm_jobs(tmp_path, "rhoflow") == {"11": "image image_k_vrh", "14": "clean"}
    with pytest.raises(StudyError, match=r"scancel 11 14"):
        stop_at_orphans(tmp_path, "scripts", "rhoflow")


def test_leftovers_of_stores_go_and_all_else_stays(tmp_path: Path) -> None:
    stay = [tmp_path / "raw/0000.h5", tmp_path / "raw/part.part", tmp_path / "runs/image/a/.x.part"]
    go = [tmp_path / "raw/.0000.h5.node.7.part", tmp_path / "images/flat/.0000.npz.node.8.part"]
    for path in (*stay, *go):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    remove_leftovers(tmp_path)
    assert [path.exists() for path in stay] == [True] * 3
    assert [path.exists() for path in go] == [False] * 2
