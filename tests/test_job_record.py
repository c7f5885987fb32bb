"""What a job notes of itself, and what it never notes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rhoflow import job_record
from rhoflow.job_record import job_name
from rhoflow.report.provenance_jobs import read_jobs
from rhoflow.source_digest import script_digest

SECRET = "sk-planted-5up3rs3cr3t"
SCRIPT = """
import argparse, os, signal, sys
from rhoflow.errors import StudyError
from rhoflow.job_record import job

parser = argparse.ArgumentParser()
parser.add_argument("--target")
parser.add_argument("--how")
arguments = parser.parse_args()
with job(arguments):
    if arguments.how == "study":
        raise StudyError("your key is " + os.environ["OPENAI_API_KEY"])
    if arguments.how == "bug":
        raise RuntimeError(os.environ["OPENAI_API_KEY"])
    if arguments.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    data = bytearray(80 * 2**20)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "task.py").write_text(SCRIPT)
    return tmp_path / "task.py"


def run(script: Path, how: str, **environment: str) -> int:
    folder = script.parent / "results/s/provenance/jobs"
    environment = {"RHOFLOW_JOBS": str(folder), "OPENAI_API_KEY": SECRET} | environment
    command = [sys.executable, str(script), "--target", "k_vrh", "--how", how]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, check=False).returncode


def journal(script: Path) -> str:
    return (script.parent / "results/s/provenance/jobs/task/k_vrh.jsonl").read_text()


def test_every_attempt_is_in_the_journal_with_its_end(script: Path) -> None:
    assert run(script, "kill") == -signal.SIGKILL
    assert run(script, "study") == 1
    assert run(script, "bug") == 1
    assert run(script, "well") == 0
    lines = [json.loads(line) for line in journal(script).splitlines()]
    ends = {line["attempt"]: line for line in lines if line["event"] == "end"}
    starts = [line for line in lines if line["event"] == "start"]
    assert [ends[start["attempt"]]["error"] if start["attempt"] in ends else "killed" for start in starts] == [
        *("killed", "StudyError", "RuntimeError", None)
    ]
    assert {start["host"] for start in starts} == {platform.node()}
    assert {start["code"] for start in starts} == {script_digest(script)}
    assert 80 < ends[starts[-1]["attempt"]]["max_rss_mb"] < 400
    assert SECRET not in journal(script)


def test_half_a_line_of_a_killed_attempt_swallows_no_other(script: Path) -> None:
    folder = script.parent / "results/s/provenance/jobs"
    (folder / "task").mkdir(parents=True)
    (folder / "task/k_vrh.jsonl").write_text('{"attempt": "a", "eve')
    assert run(script, "well") == 0
    (job,) = read_jobs(folder)
    assert [attempt["end"] for attempt in job["attempts"]] == ["done"]


def test_without_the_workflow_nothing_is_noted(script: Path) -> None:
    assert run(script, "well", RHOFLOW_JOBS="") == 0
    assert not (script.parent / "results").exists()


def test_further_processes_of_a_distributed_job_note_nothing(script: Path) -> None:
    assert run(script, "well", LOCAL_RANK="1") == 0
    assert not (script.parent / "results").exists()


def test_journal_that_cannot_be_written_fails_no_job(script: Path) -> None:
    (script.parent / "results").write_text("in the way")
    assert run(script, "well") == 0


DRIVERS = {
    "proprietary": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC version: 9.4.0\n",
    "open": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 13.2\n",
}


@pytest.mark.parametrize(("kind", "version"), [("proprietary", "535.183.01"), ("open", "580.65.06")])
def test_job_that_used_gpus_names_them_with_cuda_and_driver(
    script: Path, monkeypatch: pytest.MonkeyPatch, kind: str, version: str
) -> None:
    (script.parent / "version").write_text(DRIVERS[kind])
    monkeypatch.setattr(job_record, "_DRIVER", script.parent / "version")
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 2, get_device_name=lambda index: f"GPU {index}"
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="13.0")))
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("RHOFLOW_JOBS", str(script.parent / "results/s/provenance/jobs"))
    with job_record.job(argparse.Namespace(target="k_vrh")):
        pass
    end = json.loads(journal(script).splitlines()[-1])
    assert (end["gpus"], end["cuda"], end["driver"]) == (["GPU 0", "GPU 1"], "13.0", version)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"store": Path("results/s/grids/0003.zarr.zip"), "archive": Path("x")}, "grids/0003"),
        ({"store": Path("results/s/images/spin/0003.npz")}, "images/spin/0003"),
        ({"model": "image", "target": "k_vrh", "level": "none", "runs": ["0:0", "1:0"]}, "train/image.k_vrh.none"),
        ({"model": "image", "target": "k_vrh", "level": "none", "runs": ["1:0"]}, "train/image.k_vrh.none.1-0"),
        ({"root": Path("results/s")}, "train"),
        ({"target": "../../etc/passwd"}, "train/-etc-passwd"),
    ],
)
def test_job_is_named_by_what_it_makes(arguments: dict[str, object], name: str) -> None:
    assert job_name(Path("train.py"), argparse.Namespace(**arguments), Path("results/s")) == name


def test_every_script_of_the_workflow_notes_itself(project: Path) -> None:
    scripts = sorted((project / "workflow/scripts").glob("*.py"))
    assert scripts
    for script in scripts:
        assert "with job(arguments):" in script.read_text(), script
