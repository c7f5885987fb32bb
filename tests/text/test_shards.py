"""The text store of a shard."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from rhoflow.materials.archive import ArchiveWriter
from rhoflow.materials.digests import digest_json
from rhoflow.materials.shards import read_report
from rhoflow.text.describe import Describer
from rhoflow.text.levels import formula, keywords
from rhoflow.text.shards import describe_shard, read_texts


def _write_archive(path: Path, structures: dict[str, Structure], level: float) -> None:
    with ArchiveWriter(path) as archive:
        for material_id, structure in structures.items():
            archive.add(material_id, structure, {"total": np.full((2, 2, 2), level)}, electrons=8.0)


@pytest.fixture(scope="module")
def store(crystals: dict[str, Structure], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    _write_archive(folder / "0003.h5", {"z-NaCl": crystals["NaCl"], "a-Ti": crystals["omega-Ti"]}, level=1.0)
    describe_shard(folder / "0003.h5", folder / "0003.jsonl", timeout_s=300.0)
    return folder / "0003.jsonl"


def test_lines_are_sorted_by_id_and_hold_the_levels(
    store: Path, crystals: dict[str, Structure], describer: Describer
) -> None:
    records = [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]
    assert [record["id"] for record in records] == ["a-Ti", "z-NaCl"]
    text = describer.describe(crystals["NaCl"]).text
    assert records[1] == {
        "id": "z-NaCl",
        "formula": formula(text),
        "keywords": keywords(text),
        "all": text,
        "origin": "robocrystallographer",
        "note": None,
    }


def test_angstroms_are_written_as_such(store: Path) -> None:
    assert " Å.".encode() in store.read_bytes()


def test_report_holds_the_digest_of_each_line(store: Path) -> None:
    report, texts = read_report(store), read_texts(store)
    assert report.stage == "describe"
    assert report.rejected == {}
    assert report.digests == {material_id: digest_json(record) for material_id, record in texts.items()}
    assert report.stats["a-Ti"] == {"origin": "robocrystallographer", "note": None}


def test_a_text_depends_on_the_structure_alone(store: Path, crystals: dict[str, Structure], tmp_path: Path) -> None:
    """Another density, another cell, another shard: the same bytes."""
    primitive = crystals["NaCl"].get_primitive_structure()
    _write_archive(tmp_path / "0001.h5", {"a-Ti": crystals["omega-Ti"], "z-NaCl": primitive}, level=2.0)
    report = describe_shard(tmp_path / "0001.h5", tmp_path / "0001.jsonl", timeout_s=300.0)
    assert (tmp_path / "0001.jsonl").read_bytes() == store.read_bytes()
    assert report == read_report(store)


def test_a_crystal_out_of_time_is_described_by_the_fallback_text(
    crystals: dict[str, Structure], tmp_path: Path
) -> None:
    _write_archive(tmp_path / "0000.h5", {"NaCl": crystals["NaCl"]}, level=1.0)
    report = describe_shard(tmp_path / "0000.h5", tmp_path / "0000.jsonl", timeout_s=0.03)
    record = read_texts(tmp_path / "0000.jsonl")["NaCl"]
    assert (record["origin"], record["note"]) == ("fallback", "no description within 0.03 s")
    assert record["keywords"] == "NaCl."
    assert report.stats["NaCl"] == {"origin": "fallback", "note": record["note"]}


def test_an_empty_shard_has_an_empty_store(tmp_path: Path) -> None:
    _write_archive(tmp_path / "0000.h5", {}, level=1.0)
    report = describe_shard(tmp_path / "0000.h5", tmp_path / "0000.jsonl", timeout_s=1.0)
    assert read_texts(tmp_path / "0000.jsonl") == {}
    assert report.digests == {}


def test_text_that_came_with_a_material_is_taken(
    crystals: dict[str, Structure], describer: Describer, tmp_path: Path
) -> None:
    _write_archive(
        tmp_path / "0.h5", {"a": crystals["NaCl"], "b": crystals["NaCl"], "c": crystals["NaCl"]}, level=1.0
    )
    text = (
        "NaCl is Halite structured and crystallizes in the cubic group. All Na1+–Cl1- bond lengths are 2.82 Å. Fine."
    )
    (tmp_path / "t.json.gz").write_bytes(gzip.compress(json.dumps({"a": text, "b": "No such text."}).encode()))
    describe_shard(tmp_path / "0.h5", tmp_path / "0.jsonl", timeout_s=300.0, given=tmp_path / "t.json.gz")
    texts = read_texts(tmp_path / "0.jsonl")
    assert texts["a"] == {
        "id": "a",
        "formula": "NaCl",
        "keywords": "NaCl. All Na1+–Cl1- bond lengths are 2.82 Å.",
        "all": text,
        "origin": "materials_project",
        "note": None,
    }
    assert texts["c"]["all"] == texts["b"]["all"] == describer.describe(crystals["NaCl"]).text
    assert texts["b"]["origin"] == "robocrystallographer"
    assert "No such text." in (texts["b"]["note"] or "")
    assert texts["c"]["note"] is None
