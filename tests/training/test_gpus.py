"""Trainings side by side take different GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rhoflow.training import gpus

TAKE = """
import os
from rhoflow.training.gpus import take_gpus
take_gpus({n})
print(os.environ["CUDA_VISIBLE_DEVICES"])
"""


@pytest.fixture(autouse=True)
def three_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4,5")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(gpus, "_HELD", [])
    for name in ("SLURM_JOB_ID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    yield
    for file in gpus._HELD:
        file.close()


def taken_by_another(n: int) -> str:
    """GPUs that a process of its own takes while this one keeps its own."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "3,4,5"}
    command = [sys.executable, "-c", TAKE.format(n=n)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_second_training_takes_another_gpu_and_a_dead_one_holds_none() -> None:
    assert taken_by_another(1) == "3"
    assert taken_by_another(1) == "3"  # the first is gone
    gpus.take_gpus(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert taken_by_another(1) == "4"
    assert taken_by_another(2) == "4,5"


def test_too_many_trainings_are_told_how_many_fit() -> None:
    gpus.take_gpus(2)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        taken_by_another(2)
    assert "3 GPUs here, 2 of them taken by other trainings, 2 needed; start snakemake with --resources gpu=1" in (
        failed.value.stderr
    )


def test_process_of_a_distributed_training_keeps_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    gpus.take_gpus(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,4,5"


def test_trainings_of_one_slurm_job_share_its_gpus_and_those_of_two_jobs_do_not_meet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    gpus.take_gpus(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert taken_by_another(1) == "4"
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert taken_by_another(1) == "3"
