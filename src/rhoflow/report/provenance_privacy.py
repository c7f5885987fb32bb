"""What may leave the machine: settings without folders of this machine, files without secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rhoflow.errors import StudyError

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 8  # a shorter value stands in any file by chance
_ABSOLUTE = re.compile(r"^(?:/|~|[A-Za-z]:[\\/])")


def public_settings(value: Any) -> Any:
    """Copy settings with absolute paths cut to their last part, or to what lies below the working folder."""
    if isinstance(value, dict):
        return {key: public_settings(one) for key, one in value.items()}
    if isinstance(value, list):
        return [public_settings(one) for one in value]
    if not isinstance(value, str) or not _ABSOLUTE.match(value):
        return value
    path = Path(value)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else f".../{path.name}"


def check_secrets(files: Iterable[Path], environment: Mapping[str, str] = os.environ) -> None:
    """Stop where a file holds the value of an environment variable whose name says that it is secret.

    Raises
    ------
    StudyError
        Naming the file and the variable, never the value.
    """
    secrets = {
        name: value.encode()
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST
    }
    for file in files:
        content = file.read_bytes() if secrets else b""
        for name, value in secrets.items():
            if value in content:
                raise StudyError(
                    f"{file} holds the value of the environment variable {name}: it was not published; find how it"
                    " got there (a key belongs in the environment alone), change the key, and run again"
                )


def home_named(files: Iterable[Path]) -> list[Path]:
    """Return the files that name the home folder of whoever runs this."""
    home = str(Path.home())
    return [file for file in files if len(home) > 1 and home.encode() in file.read_bytes()]
