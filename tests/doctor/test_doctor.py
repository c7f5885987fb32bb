"""The doctor's other findings: what is wrong, and the line that mends it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rhoflow import cli
from rhoflow.config import load_study
from rhoflow.doctor import Finding, Level, install, machine, needs
from rhoflow.doctor.finding import show

CPU = {"version": "2.13.0+cpu", "cuda": None, "why": "not compiled with CUDA", "gpus": []}
GPU = {"version": "2.13.0", "cuda": "13.0", "why": "", "gpus": [["H200", True]]}
H200 = ["NVIDIA H200, 580.10, 143771 MiB"]
KEY = "planted0123456789abcdef012345678"  # as long as the Materials Project's


def gpu(monkeypatch: pytest.MonkeyPatch, torch: dict[str, Any], driver: list[str], **training: Any) -> list[Finding]:
    monkeypatch.setattr(machine, "_torch", lambda: torch)
    monkeypatch.setattr(machine, "_driver", lambda: driver)
    return machine.check_gpu(load_study({"training": training}))


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 10, 9), "problem"), ((3, 11, 0), "ok"), ((3, 13, 2), "ok"), ((3, 14, 0), "problem")],
)
def test_python_is_held_against_what_the_package_allows(version: tuple[int, ...], level: str) -> None:
    assert install._python(version).level == level


def test_installed_packages_are_those_of_the_lock(project: Path) -> None:
    assert install._packages(project / install.LOCK).level is Level.OK


def test_other_and_missing_versions_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    other = "numpy==1.0.0 \\\n    --hash=sha256:00\nno-such-package==1.0 \\\n"
    lock.write_text(other + "colorama==0.4.6 ; sys_platform == 'win32' \\\n")
    found = install._packages(lock)
    assert found.level is Level.PROBLEM
    assert "numpy is " in found.text
    assert ", the lock says 1.0.0; no-such-package is not installed (of 4 packages)" in found.text
    assert found.change == "bash envs/install.sh envs/lock.txt"


def test_no_gpu_is_a_note_that_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = gpu(monkeypatch, CPU, [])
    assert found.level is Level.NOTE
    assert "srun --partition" in found.change


def test_working_gpu_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu(monkeypatch, GPU, H200, precision="bf16") == [
        Finding(Level.OK, "gpu", "H200, torch 2.13.0 for CUDA 13.0")
    ]


def test_gpu_with_a_build_for_cpus_gets_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = gpu(monkeypatch, CPU, H200)
    assert (found.level, found.change) == (Level.PROBLEM, "bash envs/install.sh envs/lock.txt cuda")


def test_driver_too_old_for_torch_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = gpu(monkeypatch, GPU | {"gpus": [], "why": "The NVIDIA driver on your system is too old"}, H200)
    assert found.level is Level.PROBLEM
    assert "580.10" in found.text
    assert "driver on your system is too old" in found.text


@pytest.mark.parametrize(("torch", "level"), [(GPU | {"gpus": [["V100", False]]}, "problem"), (CPU, "note")])
def test_bf16_without_a_gpu_for_it_names_the_key(
    monkeypatch: pytest.MonkeyPatch, torch: dict[str, Any], level: str
) -> None:
    found = gpu(monkeypatch, torch, H200 if torch["gpus"] else [], precision="bf16")[-1]
    assert (found.level, found.change) == (level, "training: {precision: auto}")


def test_torch_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_ASK_TORCH", "import sys; sys.exit('libcudart is missing')")
    assert machine._torch() == {"failed": "libcudart is missing"}


@pytest.mark.parametrize(("free", "level"), [(1e9, "problem"), (5e9, "ok")])
def test_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float, level: str) -> None:
    monkeypatch.chdir(tmp_path)
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    found = machine.check_disk(load_study({}))
    assert [one.level.value for one in found] == [level, level]


LLM = {"models": ["llm"], "llm": {"dry_run": False, "api_key_variable": "PLANTED_KEY"}}


def test_key_is_present_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setenv("MP_API_KEY", KEY)
    found = needs.check_keys(load_study({**LLM, "source": {"kind": "materials_project"}}))
    assert [one.level for one in found] == [Level.OK, Level.OK]
    assert "planted" not in show(found)


def test_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANTED_KEY", raising=False)
    (found,) = needs.check_keys(load_study(LLM))
    assert found.level is Level.PROBLEM
    assert found.change.startswith("export PLANTED_KEY=")


def test_malformed_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", KEY + "more")
    (found,) = needs.check_keys(load_study({"source": {"kind": "materials_project"}}))
    assert found.level is Level.PROBLEM
    assert "planted" not in show([found])


def test_missing_weights_get_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    study = load_study({"models": ["image", "text"], "image": {"backbone": "inception_v3"}})
    image, text = needs.check_weights(study)
    assert (image.level, text.level) == (Level.PROBLEM, Level.OK)
    assert "hf:timm/inception_v3.tv_in1k: not in the local cache" in image.text
    assert image.change.startswith("rhoflow fetch-weights")


def test_show_ends_with_the_number_of_problems() -> None:
    well, bad = Finding(Level.OK, "disk", "fine"), Finding(Level.PROBLEM, "key", "missing", "export KEY=...")
    assert show([well]).splitlines()[-1] == "No problem found."
    assert show([well, bad]).splitlines() == [
        "ok       disk     fine",
        "problem  key      missing",
        "                  -> export KEY=...",
        "1 problem found.",
    ]


@pytest.mark.parametrize(("weights", "status"), [("random", 0), ("hf:owner/nowhere", 1)])
def test_command_ends_with_1_when_something_is_wrong(
    weights: str,
    status: int,
    tmp_path: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(json.dumps({"models": ["image"], "image": {"weights": weights}}))
    monkeypatch.setattr(machine, "_torch", lambda: CPU)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PATH", str(tmp_path))  # no SLURM, no GPU
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["rhoflow", "doctor", "--study", str(study)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert ("1 problem found" in capsys.readouterr().out) == bool(status)
