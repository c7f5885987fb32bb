"""A view's digest changes exactly when something that its training sees changes; loading proves it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import LEVELS, Crystal, crystals, write_dataset, write_stages

from rhoflow.config import Clean, Splits
from rhoflow.dataset.load import load_view
from rhoflow.dataset.splits import group_part
from rhoflow.dataset.views import write_views
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json, write_json

N = 40
NO_FILTER = Clean(iqr_factor=None)
ALL_LEVELS = {"none", "density", *LEVELS}
TESTED = next(k for k in range(N) if group_part(f"c{k:03d}", Splits()) == "test")
TRAINED = next(k for k in range(N) if group_part(f"c{k:03d}", Splits()) == 0)


def _views(root: Path, made: list[Crystal]) -> dict[str, bytes]:
    write_stages(root, made)
    write_dataset(root, clean=NO_FILTER)
    return {path.stem: path.read_bytes() for path in (root / "views").iterdir()}


def _change(k: int, **changes: object) -> list[Crystal]:
    return [replace(crystal, **changes) if row == k else crystal for row, crystal in enumerate(crystals(N))]


def _changed(root: Path, made: list[Crystal]) -> set[str]:
    before, after = _views(root / "before", crystals(N)), _views(root / "after", made)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def _names(targets: set[str], levels: set[str]) -> set[str]:
    return {f"{target}.{level}.{fold}" for target in targets for level in levels for fold in range(3)}


def test_every_view_is_written_with_its_counts(tmp_path: Path) -> None:
    views = _views(tmp_path, crystals(N))
    assert set(views) == _names({"k_vrh", "band_gap"}, ALL_LEVELS)
    parts = [group_part(f"c{k:03d}", Splits()) for k in range(N)]
    for fold in range(3):
        n = read_json(tmp_path / f"views/k_vrh.none.{fold}.json")["n"]
        assert n["test"] == parts.count("test")
        assert n["val"] == parts.count(fold)
        assert sum(n.values()) == N


def test_rows_in_another_order_give_the_same_views(tmp_path: Path) -> None:
    shuffled = random.Random(1).sample(crystals(N), N)
    assert _changed(tmp_path, shuffled) == set()


@pytest.mark.parametrize("k", [TRAINED, TESTED], ids=["training-material", "test-material"])
@pytest.mark.parametrize(
    ("changes", "targets", "levels"),
    [
        ({"k_vrh": 123.0}, {"k_vrh"}, ALL_LEVELS),
        ({"k_vrh": None}, {"k_vrh"}, ALL_LEVELS),
        ({"text": "another wording of the whole text"}, {"k_vrh", "band_gap"}, {"all"}),
        ({"content": 999}, {"k_vrh", "band_gap"}, {"none", "density"}),
        ({"high": 30.5}, {"k_vrh", "band_gap"}, {"density"}),
    ],
    ids=["target", "no-target", "text", "density", "grid-only"],
)
def test_only_views_that_see_the_change_change(
    tmp_path: Path, k: int, changes: dict, targets: set[str], levels: set[str]
) -> None:
    assert _changed(tmp_path, _change(k, **changes)) == _names(targets, levels)


def test_last_bit_of_a_target_counts(tmp_path: Path) -> None:
    value = crystals(N)[TRAINED].k_vrh
    assert value is not None
    changed = _changed(tmp_path, _change(TRAINED, k_vrh=float(np.nextafter(value, 1e9))))
    assert changed == _names({"k_vrh"}, ALL_LEVELS)


def test_other_shards_give_the_same_views(tmp_path: Path) -> None:
    before = _views(tmp_path / "before", crystals(N))
    write_stages(tmp_path / "after", crystals(N), n_shards=7)
    write_dataset(tmp_path / "after", clean=NO_FILTER)
    assert {path.stem: path.read_bytes() for path in (tmp_path / "after/views").iterdir()} == before


def test_part_with_too_few_targets_stops_the_study(tmp_path: Path) -> None:
    made = [replace(crystal, band_gap=crystal.band_gap if k < 3 else None) for k, crystal in enumerate(crystals(N))]
    write_stages(tmp_path, made)
    with pytest.raises(
        StudyError, match=r"band_gap, fold 0: \d materials with this target in the \w+ part, at least 2"
    ):
        write_dataset(tmp_path, clean=NO_FILTER)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_stages(tmp_path, crystals(N))
    write_dataset(tmp_path, clean=NO_FILTER)
    return tmp_path


def test_loaded_ids_parts_and_targets_are_those_of_the_split(study: Path) -> None:
    view = load_view(study, "k_vrh", "none", 1)
    parts = [group_part(key, Splits()) for key in view.ids]
    assert view.ids.tolist() == [f"c{k:03d}" for k in range(N)]
    expected = ["test" if part == "test" else "val" if part == 1 else "train" for part in parts]
    assert view.part.tolist() == expected
    assert view.y.tolist() == [crystal.k_vrh for crystal in crystals(N)]


def test_images_belong_to_their_ids(study: Path) -> None:
    view = load_view(study, "k_vrh", "none", 0)
    assert view.images is not None
    assert (view.images.dtype, view.quantiles, view.texts) == (np.float32, None, None)
    np.testing.assert_array_equal(view.images, np.array([crystal.image for crystal in crystals(N)]))
    assert view.formulas == tuple(crystal.formula for crystal in crystals(N))


def test_side_values_belong_to_their_ids(study: Path) -> None:
    view = load_view(study, "k_vrh", "none", 0)
    np.testing.assert_array_equal(view.side, np.array([crystal.side for crystal in crystals(N)]))
    assert len({crystal.side for crystal in crystals(N)}) == N
    assert load_view(study, "k_vrh", "density", 0).side is None


def test_fold_of_a_repeat_is_that_of_the_next_seed(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(N))
    write_dataset(tmp_path, clean=NO_FILTER, splits=Splits(folds=2, repeats=2))
    write_views(tmp_path, targets=["k_vrh"], levels=["none"], folds=4)
    first, second = (load_view(tmp_path, "k_vrh", "none", fold) for fold in (1, 3))
    for view, seed in ((first, 0), (second, 1)):
        parts = [group_part(key, Splits(folds=2, seed=seed)) for key in view.ids]
        expected = ["test" if part == "test" else "val" if part == 1 else "train" for part in parts]
        assert view.part.tolist() == expected
    assert first.part.tolist() != second.part.tolist()
    with pytest.raises(StudyError, match="fold 4: the split has folds 0 to 3"):
        load_view(tmp_path, "k_vrh", "none", 4)


def test_repeats_leave_the_views_of_the_first_alone(tmp_path: Path) -> None:
    before = _views(tmp_path / "once", crystals(N))
    write_stages(tmp_path / "twice", crystals(N))
    write_dataset(tmp_path / "twice", clean=NO_FILTER, splits=Splits(repeats=2))
    after = {path.stem: path.read_bytes() for path in (tmp_path / "twice/views").iterdir()}
    assert after == before


def test_quantiles_belong_to_their_ids(study: Path) -> None:
    view = load_view(study, "k_vrh", "density", 0)
    np.testing.assert_array_equal(view.quantiles, np.array([crystal.quantiles for crystal in crystals(N)]))
    assert (view.images, view.texts) == (None, None)


@pytest.mark.parametrize("level", LEVELS)
def test_texts_belong_to_their_ids(study: Path, level: str) -> None:
    view = load_view(study, "k_vrh", level, 0)
    assert view.texts == tuple(crystal.texts[level] for crystal in crystals(N))
    assert (view.images, view.quantiles) == (None, None)


def test_material_without_the_target_is_not_in_the_view(tmp_path: Path) -> None:
    write_stages(tmp_path, _change(TRAINED, k_vrh=None))
    write_dataset(tmp_path, clean=NO_FILTER)
    assert f"c{TRAINED:03d}" not in load_view(tmp_path, "k_vrh", "none", 0).ids
    assert f"c{TRAINED:03d}" in load_view(tmp_path, "band_gap", "none", 0).ids


def _new_image(root: Path) -> None:
    write_stages(root, _change(TRAINED, content=999))


def _new_part(root: Path) -> None:
    path = root / "dataset/splits.json"
    path.write_text(path.read_text().replace(f'"c{TRAINED:03d}": 0', f'"c{TRAINED:03d}": 1'))


@pytest.mark.parametrize("change", [_new_image, _new_part])
def test_stale_view_is_refused(study: Path, change: Callable[[Path], None]) -> None:
    change(study)
    with pytest.raises(
        StudyError, match=r"k_vrh.none.0.json: the stores or tables have changed .* run snakemake again"
    ):
        load_view(study, "k_vrh", "none", 0)


def test_two_materials_that_swap_their_parts_change_the_digest_not_the_counts(study: Path) -> None:
    before = read_json(study / "views/k_vrh.none.0.json")
    splits = read_json(study / "dataset/splits.json")
    splits["assignment"] |= {f"c{TRAINED:03d}": "test", f"c{TESTED:03d}": 0}
    write_json(study / "dataset/splits.json", splits)
    write_views(study, targets=["k_vrh"], levels=["none"], folds=3)
    after = read_json(study / "views/k_vrh.none.0.json")
    assert after["n"] == before["n"]
    assert after["digest"] != before["digest"]


def test_store_that_lacks_a_kept_material_is_named(study: Path) -> None:
    for path in (study / "slices").glob("*.npz"):
        np.savez(path, ids=np.array([], dtype=np.str_), image=np.empty((0, 6, 6), dtype=np.float32))
    with pytest.raises(StudyError, match=r"slices/0\d+.npz: has no c\d+, .* delete .* and run again"):
        load_view(study, "k_vrh", "none", 0)


@pytest.mark.parametrize(
    ("target", "level", "fold", "message"),
    [
        ("k_vhr", "none", 0, r"'k_vhr' is not in .*\(did you mean 'k_vrh'\?\); it holds k_vrh, band_gap"),
        ("k_vrh", "formulas", 0, r"level 'formulas' is unknown \(did you mean 'formula'\?\); known: none, density"),
        ("k_vrh", "none", 3, "fold 3: the split has folds 0 to 2"),
    ],
    ids=["target", "level", "fold"],
)
def test_unknown_view_is_named(study: Path, target: str, level: str, fold: int, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_view(study, target, level, fold)


def test_missing_view_names_the_stage(study: Path) -> None:
    (study / "views/k_vrh.none.0.json").unlink()
    with pytest.raises(StudyError, match="no such view; run the stage `views` first"):
        load_view(study, "k_vrh", "none", 0)


def test_unknown_level_is_not_written(study: Path) -> None:
    with pytest.raises(StudyError, match="level 'most' is unknown"):
        write_views(study, targets=["k_vrh"], levels=["most"], folds=3)
