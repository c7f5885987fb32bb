from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from rhoflow.config import Study
from rhoflow.materials.digests import write_json
from rhoflow.report.crystals import read_crystals, read_pictures, read_text, varied_examples
from rhoflow.report.html import write_report
from rhoflow.report.provenance import Code


def test_crystals_have_part_prototype_and_targets(root: Path) -> None:
    crystals = read_crystals(root).set_index("material_id")
    assert len(crystals) == 114
    assert crystals.loc["NaCl_rocksalt", "prototype"] == "rocksalt"
    assert crystals.loc["Mn2CoAl_inverse-heusler", "prototype"] == "inverse Heusler"
    assert set(crystals["part"]) == {"test", "fold 0", "fold 1", "fold 2"}
    assert crystals["k_vrh"].notna().all()


def test_picture_of_three_planes_is_the_one_through_the_site(small_root: Path) -> None:
    before = read_pictures(small_root, read_crystals(small_root)["material_id"].tolist())
    for file in (small_root / "slices").glob("*.npz"):
        with np.load(file) as store:
            arrays = dict(store)
        image = arrays.pop("image")
        np.savez(file, image=np.stack([image / 2, image, -image], axis=1), **arrays)
    after = read_pictures(small_root, list(before))
    assert before.keys() == after.keys()
    assert all(np.array_equal(after[key].image, picture.image) for key, picture in before.items())


def test_sodium_nitride_keeps_its_name(small_root: Path) -> None:
    file = small_root / "dataset/kept.csv"
    table = pd.read_csv(file, dtype=str)
    table.loc[0, ["material_id", "formula"]] = "NaN"
    table.to_csv(file, index=False)
    crystals = read_crystals(small_root)
    assert crystals.loc[crystals["material_id"] == "NaN", "formula"].tolist() == ["NaN"]


def test_examples_show_a_prototype_each_before_any_twice(root: Path) -> None:
    crystals = read_crystals(root)
    prototype = crystals.set_index("material_id")["prototype"]
    ids = varied_examples(crystals, 12)
    assert len(set(ids)) == 12
    assert prototype[ids[:10]].is_unique
    assert prototype[ids[:2]].tolist() == ["rocksalt", "half-Heusler"]  # the most frequent first


def test_examples_do_not_depend_on_the_order_of_rows(root: Path) -> None:
    crystals = read_crystals(root)
    assert varied_examples(crystals.iloc[::-1], 8) == varied_examples(crystals, 8)


def test_more_examples_than_crystals_are_all_crystals(root: Path) -> None:
    crystals = read_crystals(root).head(3)
    assert sorted(varied_examples(crystals, 24)) == crystals["material_id"].tolist()


def test_pictures_are_those_of_the_store(root: Path) -> None:
    found = read_pictures(root, ["NaCl_rocksalt", "Al_fcc", "nobody"])
    assert set(found) == {"NaCl_rocksalt", "Al_fcc"}
    for file in root.glob("slices/*.npz"):
        with np.load(file) as store:
            for k in np.flatnonzero(store["ids"] == "Al_fcc"):
                assert np.array_equal(found["Al_fcc"].image, store["image"][k])
                assert found["Al_fcc"].side == store["side"][k]


def test_text_of_a_crystal(root: Path) -> None:
    text = read_text(root, "NaCl_rocksalt")
    assert text is not None
    assert text["formula"] == "NaCl"
    assert read_text(root, "nobody") is None


def leave_old_shards(root: Path) -> None:
    """Leave stores with wrong content for all crystals, the first and last by name, of an older number of shards."""
    ids = pd.read_csv(root / "dataset/kept.csv", dtype=str)["material_id"].to_list()
    wrong = np.full(len(ids), 99.0)
    lines = [
        {"id": one, "formula": "stale", "keywords": "stale", "all": "stale", "origin": "fallback", "note": "stale"}
        for one in ids
    ]
    for shard in ("000", "0009"):
        image = np.zeros((len(ids), 4, 4), dtype=np.float32)
        np.savez(root / f"slices/{shard}.npz", ids=np.array(ids), image=image, lattice_constant=wrong, side=wrong)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (root / f"text/{shard}.jsonl").write_text(text, encoding="utf-8")


def test_stores_of_an_older_number_of_shards_show_nothing(small_root: Path, root: Path) -> None:
    ids = read_crystals(small_root)["material_id"].to_list()
    leave_old_shards(small_root)
    found = read_pictures(small_root, ids)
    assert list(map(len, (ids, found))) == [38, 38]
    for one, picture in read_pictures(root, ids).items():
        assert np.array_equal(found[one].image, picture.image)
        assert (found[one].side, found[one].lattice_constant) == (picture.side, picture.lattice_constant)
        assert read_text(small_root, one) == read_text(root, one) is not None


def test_report_does_not_change_with_stores_of_an_older_number_of_shards(
    small_root: Path, study: Study, code: Code
) -> None:
    write_report(small_root, small_root / "before.html", study=study, code=code)
    leave_old_shards(small_root)
    for store in ("slices/0009.npz", "text/0009.jsonl", "grids/0009.zarr.zip"):
        ids = read_crystals(small_root)["material_id"]
        write_json(small_root / f"{store}.digest.json", dict.fromkeys(ids, "d" * 64))
    write_report(small_root, small_root / "after.html", study=study, code=code)
    assert (small_root / "after.html").read_bytes() == (small_root / "before.html").read_bytes()


def test_empty_folder_has_no_crystals(tmp_path: Path) -> None:
    assert len(read_crystals(tmp_path)) == 0
    assert varied_examples(read_crystals(tmp_path), 6) == []
