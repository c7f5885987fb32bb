"""Which code and which environment: commit, uncommitted changes, digest of each stage, lock, installed packages."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

from rhoflow.materials.digests import digest_file, digest_json
from rhoflow.source_digest import script_digest

# What decides numbers; documents, profiles (which may name an account) and studies are left out.
CODE = ("src", "rules", "workflow", "Snakefile", "envs")
LOCK = Path("envs/lock.txt")


def uncommitted(project: Path) -> str:
    """Return the difference between the code that ran and its commit; empty where there is none, or no git."""
    return _git(project, "diff", "--no-color", "--no-ext-diff", "HEAD", "--", *CODE) or ""


def describe_code(project: Path) -> dict[str, Any]:
    """Return what is known of the code.

    Returns
    -------
    dict
        ``commit`` (None without git), ``uncommitted`` (sha256 of the difference to it, or None), ``stages`` (digest
        of each script and all of rhoflow that it uses), ``lock`` (sha256 of envs/lock.txt, or None),
        ``environment`` (sha256 over the names and versions of all installed packages).
    """
    changes = uncommitted(project)
    scripts = sorted((project / "workflow/scripts").glob("*.py"))
    installed = sorted(f"{one.name}=={one.version}" for one in importlib.metadata.distributions())
    lock = project / LOCK
    return {
        "commit": (_git(project, "rev-parse", "HEAD") or "").strip() or None,
        "uncommitted": hashlib.sha256(changes.encode()).hexdigest() if changes else None,
        "stages": {script.stem: script_digest(script) for script in scripts},
        "lock": digest_file(lock) if lock.exists() else None,
        "environment": digest_json(installed),
    }


def _git(project: Path, *arguments: str) -> str | None:
    if not (project / ".git").exists():
        return None
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
