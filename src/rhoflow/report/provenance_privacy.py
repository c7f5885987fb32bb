"""What may leave the machine: settings without folders of this machine, files without secrets."""

from __future__ import annotations

import gzip
import html
import io
import json
import os
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from rhoflow.config.secrets import secret_values
from rhoflow.errors import StudyError
from rhoflow.report.render import escape_latex, escape_markdown

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


def check_secrets(
    files: Iterable[Path], environment: Mapping[str, str] = os.environ, *, also: Collection[str] = ()
) -> None:
    """Stop where a file holds the value of an environment variable that is secret, packed or written in another way.

    Parameters
    ----------
    also : collection of str
        Further variables that hold secrets, whatever their names.

    Raises
    ------
    StudyError
        Naming the file and the variable, never the value.
    """
    forms = {name: _forms(value) for name, value in secret_values(environment, also=also).items()}
    for file in files if forms else ():
        for content in _contents(file.name, file.read_bytes()):
            for name, written in forms.items():
                if any(form in content for form in written):
                    raise StudyError(
                        f"{file} holds the value of the environment variable {name}: it was not published; find how"
                        " it got there (a key belongs in the environment alone), change the key, and run again"
                    )


def _forms(value: str) -> set[bytes]:
    """Return a value as it stands in plain text, HTML, JSON, CSV, Markdown, LaTeX, addresses, and arrays of text."""
    marked = html.escape(value, quote=False)
    texts = {
        *(value, marked, html.escape(value), marked.replace('"', "&#34;").replace("'", "&#39;")),
        *(json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value), quote(value, safe="")),
        *(value.replace('"', '""'), value.replace("'", "''")),
        *(escape_markdown(value), escape_latex(value)),
    }
    return {text.encode() for text in texts} | {value.encode("utf-32-le")}


def _contents(name: str, content: bytes) -> Iterator[bytes]:
    """Yield the bytes of a file, and those that are packed in it: gzip, zip in zip, text columns of parquet."""
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield from _contents(name, gzip.decompress(content))
    elif content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for member in packed.namelist():
                yield from _contents(member, packed.read(member))
    elif content.startswith(b"PAR1"):
        for batch in pq.ParquetFile(io.BytesIO(content)).iter_batches():
            for column in batch.columns:
                yield "\n".join(map(str, column.unique().to_pylist())).encode() if _has_text(column.type) else b""


def _has_text(kind: pa.DataType) -> bool:
    return not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def home_named(files: Iterable[Path]) -> list[Path]:
    """Return the files that name the home folder of whoever runs this."""
    home = str(Path.home())
    return [file for file in files if len(home) > 1 and home.encode() in file.read_bytes()]
