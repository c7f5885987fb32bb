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
    """Return the difference between the code that ran and its commit; empty where there is none, or no git.

    Files that git does not know yet are part of it, with their content: a module runs, added to git or not.
    """
    plain = ("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv")
    changed = _git(project, *plain, "HEAD", "--", *CODE) or ""
    new = (_git(project, *plain, "--no-index", "--", "/dev/null", name, differs=True) for name in untracked(project))
    return changed + "".join(text or "" for text in new)


def untracked(project: Path) -> list[str]:
    """Files of the code that git neither has nor ignores, by path below `project`, sorted."""
    listed = _git(project, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE) or ""
    return sorted(filter(None, listed.split("\0")))


def describe_code(project: Path) -> dict[str, Any]:
    """Return what is known of the code.

    Returns
    -------
    dict
        ``commit`` (None without git), ``uncommitted`` (sha256 of the difference to it, new files included, or None),
        ``stages`` (digest of each script and all of rhoflow that it uses), ``lock`` (sha256 of envs/lock.txt, or
        None), ``environment`` (sha256 over the names and versions of all installed packages).
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


def _git(project: Path, *arguments: str, differs: bool = False) -> str | None:
    """Return what git says; None without git or where it fails (`differs`: 1 is its status for a difference)."""
    if not (project / ".git").exists():
        return None
    command = ["git", "-C", str(project), *arguments]
    try:
        # Bytes that are no UTF-8 are written out, so that they count and the text can be kept.
        ran = subprocess.run(command, capture_output=True, encoding="utf-8", errors="backslashreplace", timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout if ran.returncode == 0 or (differs and ran.returncode == 1) else None
