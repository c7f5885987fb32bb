"""The lock is the only source of versions: what is made from it, and what names a version beside it, agrees."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet


@pytest.fixture(scope="module")
def pins(project: Path) -> list[str]:
    """Pins of the lock."""
    lines = (project / "envs" / "lock.txt").read_text().splitlines()
    return [line.rstrip("\\ ") for line in lines if line[:1].isalnum()]


@pytest.fixture(scope="module")
def settings(project: Path) -> dict[str, object]:
    return tomllib.loads((project / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def torch(settings: dict[str, list[str]]) -> list[str]:
    """Pins of the two packages that the lock leaves out."""
    return [one for one in settings["dependencies"] if one.startswith("torch") and "==" in one]


@pytest.fixture(scope="module")
def definition(project: Path) -> str:
    return (project / "envs" / "rhoflow.def").read_text()


def test_generated_environments_are_those_of_the_lock(project: Path, tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    for name in ("envs/lock.txt", "envs/environments.sh", "pyproject.toml"):
        shutil.copy(project / name, tmp_path / name)
    subprocess.run(["bash", str(tmp_path / "envs/environments.sh")], check=True)
    for name in ("rhoflow.yaml", "rhoflow.def"):
        made = (tmp_path / "envs" / name).read_text()
        assert made == (project / "envs" / name).read_text(), f"envs/{name} is stale: bash envs/environments.sh"


def test_every_pin_of_the_lock_has_a_hash(project: Path, pins: list[str]) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (project / "envs" / "lock.txt").read_text())
    assert len(blocks) == len(pins) > 100
    assert all("--hash=sha256:" in block for block in blocks)


def test_conda_environment_has_the_pins_of_the_lock(project: Path, pins: list[str], torch: list[str]) -> None:
    conda = yaml.safe_load((project / "envs" / "rhoflow.yaml").read_text())["dependencies"][-1]["pip"]
    assert len(torch) == 2
    assert conda == [*pins, *torch]


def test_container_installs_this_very_lock(project: Path, definition: str) -> None:
    sha256 = hashlib.sha256((project / "envs" / "lock.txt").read_bytes()).hexdigest()
    assert f'echo "{sha256}  /opt/rhoflow/lock.txt" | sha256sum --check' in definition
    assert "--require-hashes -r /opt/rhoflow/lock.txt" in definition


def test_torch_has_one_version_everywhere(project: Path, definition: str, torch: list[str]) -> None:
    assert f"pip install --no-cache-dir {' '.join(torch)}\n" in definition
    assert f"torch_pins=({' '.join(torch)})" in (project / "envs" / "install.sh").read_text()


def test_python_is_one_that_the_package_allows(project: Path, definition: str, settings: dict[str, str]) -> None:
    conda = yaml.safe_load((project / "envs" / "rhoflow.yaml").read_text())["dependencies"][0]
    container = re.search(r"^From: python:([0-9.]+)-", definition, re.M)
    assert container
    assert conda == f"python={container[1]}"
    assert f"{container[1]}.0" in SpecifierSet(settings["requires-python"])


def test_every_rule_names_the_environment(project: Path) -> None:
    for file in sorted((project / "rules").glob("*.smk")):
        text = file.read_text()
        rules = re.findall(r"^ *(?:rule|checkpoint)(?: \w+)?:", text, re.M)
        assert text.count("conda:\n") == text.count("../envs/rhoflow.yaml") == len(rules), file.name
