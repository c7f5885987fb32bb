"""What a message may show of a file's content.

Rejections are published with a study, and a link in a tree of calculations may lead to any file. So a message quotes
what a density file consists of, numbers and words as short as an element's symbol, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(
    r"[-+]?(\d{1,16}(\.\d{0,16})?|\.\d{1,16})([eEdD]?[-+]?\d{1,3})?|\*{1,20}"
)  # VASP writes stars where a number does not fit
_SHORT = re.compile(r"[^\W\d_]{1,3}")
_OTHER = "<text>"
_MOST = 8


def shown(words: Sequence[str] | Sequence[bytes]) -> str:
    """Words of a line for a message, in quotes: ``'5.43 Si <text>'``."""
    plain = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in words[:_MOST]]
    kept = [word if _NUMBER.fullmatch(word) or _SHORT.fullmatch(word) else _OTHER for word in plain]
    return repr(" ".join([*kept, *(["..."] if len(words) > _MOST else [])]))


def kind_of(error: Exception) -> str:
    """Name what a parser raised, and the line if it knows: its own message may quote the file."""
    position = getattr(error, "position", None)  # of XML; a JSON error has a lineno
    line = position[0] if isinstance(position, tuple) else getattr(error, "lineno", None)
    return type(error).__name__ + (f" in line {line}" if line else "")
