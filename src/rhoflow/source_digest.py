"""Hashes of rhoflow's own source: a rule's `code` parameter, so that a step reruns when its code changes."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parent
# Settings reach a step as values; progress, messages and what a job notes of itself change no result.
_NOT_CODE = {
    *(_PACKAGE / f"{name}.py" for name in ("errors", "progress", "job_record")),
    *(_PACKAGE / "config").glob("*.py"),
}


def package_digest() -> str:
    """sha256 (16 hex digits) of all source files of rhoflow."""
    return _digest(path for path in _PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def script_digest(script: Path) -> str:
    """sha256 (16 hex digits) of a script and of every module of rhoflow that it imports, directly or not.

    Imports inside functions count; `config`, `errors`, `progress` and `job_record` do not.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in found and path not in _NOT_CODE:
            found.add(path)
            waiting += _imports(path)
    return _digest(found)


@functools.cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Source files of rhoflow that a file imports."""
    names = set(_imported_names(ast.parse(path.read_text(encoding="utf-8"))))
    files = {file for name in names for file in _files(name)}
    return tuple(sorted(files))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names below rhoflow; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
        yield from (name for name in names if name.split(".")[0] == _PACKAGE.name)


def _files(name: str) -> list[Path]:
    path = _PACKAGE.joinpath(*name.split(".")[1:])
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


def _digest(paths: Iterable[Path]) -> str:
    sha = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name + path.parent.name):
        sha.update(f"{path.parent.name}/{path.name}".encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:16]
