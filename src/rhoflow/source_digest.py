"""A hash of rhoflow's own source files: a rule's `code` parameter, so that a step reruns when its code changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parent


def source_digest(*parts: str) -> str:
    """sha256 (16 hex digits) of the source of some modules.

    Parameters
    ----------
    *parts : str
        Modules (``"density/read.py"``) or whole rooms (``"density"``) of the package.

    Raises
    ------
    FileNotFoundError
        If a part does not exist: a misspelt part would never trigger.
    """
    sha = hashlib.sha256()
    for path in sorted({file for part in parts for file in _files(part)}):
        sha.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return sha.hexdigest()[:16]


def _files(part: str) -> list[Path]:
    path = _PACKAGE / part
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"rhoflow has no source file or room {part!r}")
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
