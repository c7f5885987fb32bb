"""What envs/install.sh says and does, with executables that only pretend: nothing is installed here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NO_PYTHON = "exit 1"
# Is asked three things: whether it is usable, its version, and for a virtual environment.
PYTHON_312_WITHOUT_VENV = """
case "$*" in
    *exit*) exit 0 ;;
    *print*) echo 3.12 ;;
    "-m venv .venv") mkdir -p .venv/bin; exit 1 ;;
esac
"""
# The python of .venv is asked whether PyTorch's index answers, and for torch's version.
VENV_PYTHON = """
case "$*" in
    *urlopen*) exit {answers} ;;
    *version*) echo {installed} ;;
esac
"""
VENV_PIP = 'echo "$*" >>pip.log'


def fake(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A project of its own that holds nothing but the installer."""
    (tmp_path / "envs").mkdir()
    shutil.copy(project / "envs" / "install.sh", tmp_path / "envs")
    return tmp_path


def install(copy: Path, torch: str = "auto", python: str = NO_PYTHON) -> subprocess.CompletedProcess[str]:
    """Run the installer where every Python on PATH is the given one."""
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        fake(copy / "bin" / name, python)
    command = ["bash", str(copy / "envs" / "install.sh"), "envs/lock.txt", torch]
    environment = {"PATH": f"{copy / 'bin'}:/usr/bin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def torch_commands(copy: Path) -> list[str]:
    """What pip was told about torch."""
    return [line for line in (copy / "pip.log").read_text().splitlines() if "torch" in line]


def test_no_suitable_python_names_the_versions(copy: Path) -> None:
    ended = install(copy)
    assert ended.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in ended.stderr
    assert "make demo PYTHON=" in ended.stderr
    assert not (copy / ".venv").exists()


def test_python_without_venv_names_the_package_and_leaves_nothing(copy: Path) -> None:
    ended = install(copy, python=PYTHON_312_WITHOUT_VENV)
    assert ended.returncode == 1
    assert "apt-get install python3.12-venv" in ended.stderr
    assert not (copy / ".venv").exists()


def test_unknown_torch_build_is_refused_before_anything_starts(copy: Path) -> None:
    ended = install(copy, torch="foo")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "TORCH=foo: must be auto, cpu or cuda\n"


@pytest.mark.parametrize(
    ("torch", "installed", "switched"),
    [
        ("cpu", "2.13.0+cu130", True),
        ("cpu", "2.13.0", True),  # as the package index labels its CUDA build
        ("cpu", "2.13.0+cpu", False),
        ("cuda", "2.13.0+cpu", True),
        ("cuda", "2.13.0+cu130", False),
        ("cuda", "2.13.0", False),
        ("auto", "2.13.0+cpu", False),
        ("cpu", "", False),
    ],
)
def test_other_build_of_torch_is_removed_first(copy: Path, torch: str, installed: str, switched: bool) -> None:
    fake(copy / ".venv" / "bin" / "python", VENV_PYTHON.format(answers=0, installed=installed))
    fake(copy / ".venv" / "bin" / "pip", VENV_PIP)
    assert install(copy, torch).returncode == 0
    commands = torch_commands(copy)
    assert [line.startswith("uninstall") for line in commands] == [True] * switched + [False] * (torch != "auto")
    if torch != "auto":
        assert ("--index-url https://download.pytorch.org/whl/cpu" in commands[-1]) == (torch == "cpu")


@pytest.mark.parametrize(("installed", "installs"), [("2.13.0", 0), ("2.12.1", 1), ("", 1)])
def test_auto_keeps_the_pinned_version_whatever_its_build(copy: Path, installed: str, installs: int) -> None:
    fake(copy / ".venv" / "bin" / "python", VENV_PYTHON.format(answers=0, installed=installed))
    fake(copy / ".venv" / "bin" / "pip", VENV_PIP)
    assert install(copy).returncode == 0
    assert len(torch_commands(copy)) == installs


@pytest.mark.parametrize("answers", [True, False])
def test_cpu_build_from_elsewhere_is_said(copy: Path, answers: bool) -> None:
    fake(copy / ".venv" / "bin" / "python", VENV_PYTHON.format(answers=int(not answers), installed=""))
    fake(copy / ".venv" / "bin" / "pip", VENV_PIP)
    ended = install(copy, "cpu")
    assert ended.returncode == 0
    assert ("does not answer; taking the build that your pip index offers" in ended.stderr) != answers
    assert ("--index-url" in torch_commands(copy)[0]) == answers
