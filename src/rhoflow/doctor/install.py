"""Python, and the installed packages beside those of the lock."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rhoflow.doctor.finding import Finding, note, ok, problem

LOCK = Path("envs") / "lock.txt"
INSTALL = "bash envs/install.sh envs/lock.txt"
_SHOWN = 3


def check_install(project: Path) -> list[Finding]:
    """Compare Python and packages with what the project pins."""
    return [_python(sys.version_info[:3]), _packages(project / LOCK)]


def _python(version: tuple[int, ...]) -> Finding:
    allowed = importlib.metadata.metadata("rhoflow")["Requires-Python"]
    found = ".".join(map(str, version))
    if found not in SpecifierSet(allowed):
        return problem("python", f"{found}, allowed: {allowed}", "PYTHON=/path/to/python3.12 " + INSTALL)
    return ok("python", f"{found} in {sys.prefix}")


def _packages(lock: Path) -> Finding:
    if not lock.is_file():
        return note("lock", f"no {lock}, so versions were not compared", "run from a checkout (git clone)")
    wanted = list(_pins(lock.read_text(encoding="utf-8")))
    odd = [text for requirement in wanted if (text := _difference(requirement))]
    if odd:
        more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
        return problem("lock", f"{'; '.join(odd[:_SHOWN])}{more} (of {len(wanted)} packages)", INSTALL)
    return ok("lock", f"all {len(wanted)} packages of {lock} are installed in its versions")


def _pins(lock: str) -> Iterator[Requirement]:
    """Pins that hold on this machine: those of the lock, and of torch, which the lock leaves out."""
    lines = [line.rstrip("\\ ") for line in lock.splitlines() if line[:1].isalnum()]
    lines += [line for line in importlib.metadata.requires("rhoflow") or [] if line.startswith(("torch==", "torchv"))]
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def _difference(requirement: Requirement) -> str:
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if found in requirement.specifier:  # a local label, as of 2.13.0+cpu, does not count
        return ""
    return f"{requirement.name} is {found}, the lock says {str(requirement.specifier).lstrip('=')}"
