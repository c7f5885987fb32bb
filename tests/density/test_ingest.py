"""The stage ingest: plan in, archive and report out, bad files as rejections."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import numpy as np
import pytest
from vasp_text import NACL, chgcar_text, poscar_text, waves

from rhoflow.density.ingest import ingest_shard
from rhoflow.materials.archive import read_archive, read_ids
from rhoflow.materials.shards import read_report

GRID = (6, 5, 7)


@pytest.fixture
def shard(tmp_path, monkeypatch):
    """A working directory with a good, a spin-polarised, a VASP 4 and two bad materials, and the plan of them."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "good", chgcar_text(NACL, [waves(GRID, 8)]))
    write(tmp_path, "magnet", chgcar_text(NACL, [waves(GRID, 8), waves(GRID, 2, seed=1)]))
    write(tmp_path, "old", chgcar_text(NACL, [waves(GRID, 8)], symbols=False))
    (tmp_path / "data" / "old" / "any.vasp").write_text(poscar_text(NACL))
    write(tmp_path, "cut", chgcar_text(NACL, [waves(GRID, 8)])[:900])
    write(tmp_path, "overlap", chgcar_text(NACL.copy().translate_sites([1], [0.5, 0.5, 0.5]), [waves(GRID, 8)]))
    return plan(tmp_path, ["cut", "good", "magnet", "old", "overlap"], old="data/old/any.vasp")


def write(folder, material_id, content):
    path = folder / "data" / material_id / "CHGCAR"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def plan(folder, ids, **structures):
    materials = [entry(i, f"data/{i}/CHGCAR", structure=structures.get(i)) for i in ids]
    path = folder / "0007.json"
    path.write_text(json.dumps({"shard": "0007", "materials": materials}))
    return path


def entry(material_id, density, **changes):
    """An entry of a plan, as `write_plan` makes it."""
    empty = {"structure": None, "run": None, "aeccar": [None] * 3, "dos": None, "sha256": None, "bytes": None}
    return {"id": material_id, "density": density, "key": f"key of {material_id}"} | empty | changes


def ingest(path, store, **changes):
    """Run the stage with a study's settings, by default those of the default study."""
    settings = {"field": "total", "raw": "native", "shape": (6, 6, 6), "connections": 2, "keep": None}
    return ingest_shard(path, store, **settings | {"scratch": path.parent / "scratch"} | changes)


def test_good_materials_are_archived(shard, tmp_path):
    ingest(shard, tmp_path / "raw" / "0007.h5")
    records = {record.material_id: record for record in read_archive(tmp_path / "raw" / "0007.h5")}
    assert list(records) == ["good", "magnet", "old"]
    assert list(records["magnet"].fields) == ["spin", "total"]
    np.testing.assert_allclose(records["good"].fields["total"] * NACL.volume, waves(GRID, 8), rtol=1e-9)
    assert [site.specie.symbol for site in records["old"].structure] == ["Na", "Cl"]
    attrs = records["good"].attrs
    assert attrs == {
        "electrons": pytest.approx(8, abs=1e-9),
        "source": "data/good/CHGCAR",
        "key": "key of good",
    }


def test_statistics_of_a_material(shard, tmp_path):
    report = ingest(shard, tmp_path / "0007.h5")
    assert list(report.stats) == list(report.digests) == ["good", "magnet", "old"]
    assert report.stats["good"] == {
        "electrons": pytest.approx(8, abs=1e-9),
        "formula": "NaCl",
        "anonymous_formula": "AB",
        "space_group_number": 12,  # the test cell is a rock salt sheared on purpose
        "prototype": "AB_12_a_d",
        "n_sites": 2,
        "source": "data/good/CHGCAR",
        "bytes": (tmp_path / "data/good/CHGCAR").stat().st_size,
        "sha256": None,
        "run": None,
    }


def test_bad_materials_are_rejected_and_the_rest_goes_on(shard, tmp_path):
    report = ingest(shard, tmp_path / "0007.h5")
    assert {key: value["reason"] for key, value in report.rejected.items()} == {
        "cut": "truncated file",
        "overlap": "bad structure",
    }
    assert report.rejected["cut"]["detail"].startswith("data/cut/CHGCAR: ")
    assert report.rejected["overlap"]["detail"].startswith("data/overlap/CHGCAR: ")


def test_report_is_written_beside_the_archive(shard, tmp_path):
    report = ingest(shard, tmp_path / "0007.h5")
    assert read_report(tmp_path / "0007.h5") == report


def test_second_run_gives_the_same_bytes(shard, tmp_path):
    ingest(shard, tmp_path / "a.h5")
    ingest(shard, tmp_path / "b.h5")
    for suffix in ("", ".digest.json", ".summary.json"):
        assert (tmp_path / f"a.h5{suffix}").read_bytes() == (tmp_path / f"b.h5{suffix}").read_bytes()


def test_digest_follows_content_not_packing_or_place(shard, tmp_path):
    before = ingest(shard, tmp_path / "0007.h5").digests
    text = (tmp_path / "data/good/CHGCAR").read_bytes()
    write(tmp_path, "good", gzip.compress(text.replace(b"unknown", b"renamed")))
    assert ingest(shard, tmp_path / "0007.h5").digests == before


CHANGES = {
    "density": chgcar_text(NACL, [waves(GRID, 8, seed=5)]),
    "spin added": chgcar_text(NACL, [waves(GRID, 8), waves(GRID, 0)]),
    "site": chgcar_text(NACL.copy().translate_sites([1], [0.01, 0, 0]), [waves(GRID, 8)]),
    "cell": chgcar_text(NACL.copy().apply_strain(0.001), [waves(GRID, 8)]),
    "element": chgcar_text(NACL.copy().replace_species({"Na": "K"}), [waves(GRID, 8)]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_digest_changes_with_content(shard, tmp_path, change):
    before = ingest(shard, tmp_path / "0007.h5").digests
    write(tmp_path, "good", CHANGES[change])
    after = ingest(shard, tmp_path / "0007.h5").digests
    assert [key for key in before if before[key] != after[key]] == ["good"]


def test_empty_shard_is_an_empty_archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = ingest(plan(tmp_path, []), tmp_path / "0007.h5")
    assert read_ids(tmp_path / "0007.h5") == []
    assert (report.stats, report.rejected) == ({}, {})


def test_memory_does_not_grow_with_the_number_of_materials(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = (24, 24, 24)
    ids = [f"m{k}" for k in range(8)]
    for material_id in ids:
        write(tmp_path, material_id, chgcar_text(NACL, [waves(grid, 8)]))
    ingest(plan(tmp_path, ids[:1]), tmp_path / "warm.h5")

    def peak(n: int) -> int:
        path = plan(tmp_path, ids[:n])
        tracemalloc.start()
        ingest(path, tmp_path / "0007.h5")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    one = peak(1)
    assert one > np.prod(grid) * 8  # the density itself is seen
    assert peak(8) < 1.5 * one
