"""Small files that are never seen half written."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file so that it appears complete or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text)
    partial.replace(path)
