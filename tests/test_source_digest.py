from __future__ import annotations

from pathlib import Path

import pytest

from rhoflow import source_digest
from rhoflow.source_digest import package_digest, script_digest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same name whose script uses a -> b, inside a function, and not c."""
    folder = tmp_path / "rhoflow"
    (folder / "room").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "config.py": "x = 1",
        "c.py": "x = 1",
        "room/__init__.py": "",
        "room/a.py": "import rhoflow.config\ndef f():\n    from rhoflow.room import b\n",
        "room/b.py": "x = 1",
    }.items():
        (folder / name).write_text(text)
    (tmp_path / "script.py").write_text("from rhoflow.room.a import f")
    monkeypatch.setattr(source_digest, "_PACKAGE", folder)
    monkeypatch.setattr(source_digest, "_NOT_CODE", {folder / "config.py"})
    return folder


@pytest.mark.parametrize(
    ("changed", "reruns"),
    [("room/a.py", True), ("room/b.py", True), ("../script.py", True), ("c.py", False), ("config.py", False)],
)
def test_script_digest_follows_what_the_script_imports(package: Path, changed: str, reruns: bool) -> None:
    script = package.parent / "script.py"
    before = script_digest(script)
    (package / changed).write_text((package / changed).read_text() + "\ny = 2\n")
    source_digest._imports.cache_clear()
    assert (script_digest(script) != before) == reruns


def test_package_digest_follows_every_file(package: Path) -> None:
    before = package_digest()
    (package / "c.py").write_text("x = 2")
    assert package_digest() != before


def test_parser_of_densities_belongs_to_ingest(project: Path) -> None:
    closure, waiting = set(), [project / "workflow/scripts/ingest.py"]
    while waiting:
        path = waiting.pop()
        if path not in closure:
            closure.add(path)
            waiting += source_digest._imports(path)
    names = {f"{path.parent.name}/{path.name}" for path in closure}
    assert {"density/read.py", "density/blocks.py", "density/header.py", "materials/archive.py"} <= names
    assert "density/slices.py" not in names
