"""A store damaged or replaced behind Snakemake's back is noticed by its reader, who names file and remedy."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from rhoflow.errors import StudyError
from rhoflow.materials.archive import ArchiveWriter, read_archive
from rhoflow.materials.digests import atomic, digest_json
from rhoflow.materials.shards import ShardReport

CRYSTAL = Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def write_archive(path: Path, ids: tuple[str, ...] = ("a", "b"), scale: float = 1.0) -> None:
    with ArchiveWriter(path) as archive:
        for material_id in ids:
            archive.add(material_id, CRYSTAL, {"total": scale * np.arange(60.0).reshape(3, 4, 5)}, electrons=8.0)
    report = ShardReport("ingest")
    with h5py.File(path) as file:
        for material_id in ids:
            report.accept(material_id, digest_json(json.loads(file[material_id].attrs["hashes"])))
    report.write(path)


def read_all(path: Path) -> list[float]:
    return [float(record.fields["total"].sum()) for record in read_archive(path)]


def flip_density(path: Path) -> None:
    content = bytearray(path.read_bytes())
    where = content.index(np.arange(60.0).tobytes()) + 200
    content[where] ^= 1
    path.write_bytes(content)


def flip_lattice(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(np.diag([4.0] * 3).tobytes()) + 6] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def blank(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def another_version(path: Path) -> None:
    noted = {one: one.read_bytes() for one in path.parent.glob("*.json")}
    write_archive(path, scale=2.0)
    for one, content in noted.items():
        one.write_bytes(content)


def fewer_materials(path: Path) -> None:
    noted = {one: one.read_bytes() for one in path.parent.glob("*.json")}
    write_archive(path, ids=("a",))
    for one, content in noted.items():
        one.write_bytes(content)


@pytest.mark.parametrize("damage", [flip_density, flip_lattice, cut, blank, another_version, fewer_materials])
def test_damaged_archive_is_named_with_the_remedy(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "0000.h5"
    write_archive(path)
    assert read_all(path) == [1770.0, 1770.0]
    damage(path)
    with pytest.raises(StudyError, match=re.escape(f"{path}: ")) as caught:
        read_all(path)
    assert f"rm {path}" in str(caught.value)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines can give the same process number."""
    path = tmp_path / "file"
    with atomic(path) as ours:
        ours.write_text("ours")
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        with atomic(path) as theirs:
            theirs.write_text("theirs")
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours"
    assert sorted(tmp_path.iterdir()) == [path]


def test_file_and_folder_are_on_the_disk_before_the_name_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(handle: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        sync(handle)

    def note_replace(source: Path, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    with atomic(tmp_path / "file") as part:
        part.write_text("x")
    assert done == [f"sync {part.name}", "rename", f"sync {tmp_path.name}"]
