"""Other images of the same crystals: views of their own, which the study and its other views do not depend on."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from synthetic import PIXELS, crystals, write_dataset, write_stages

from rhoflow.config import Clean
from rhoflow.dataset.leakage import write_leakage
from rhoflow.dataset.load import load_view
from rhoflow.dataset.names import image_folder, image_level, images_of
from rhoflow.dataset.views import write_views
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.digests import digest_arrays, read_json
from rhoflow.materials.shards import ShardReport
from rhoflow.sources.plan import plan_paths, read_plan

N = 40
CRYSTALS = {crystal.material_id: crystal for crystal in crystals(N)}
MISSING = ("c003", "c017")


def _image(material_id: str, planes: int = 1) -> np.ndarray:
    shape = (PIXELS, PIXELS) if planes == 1 else (planes, PIXELS, PIXELS)
    return np.random.default_rng(1000 + CRYSTALS[material_id].content).uniform(-1, 1, shape).astype(np.float32)


def _write_images(root: Path, name: str, missing: Collection[str] = (), planes: int = 1, factor: float = 1) -> None:
    """Other images of every crystal but those `missing`, as the rule `images` leaves them."""
    for plan in plan_paths(root / "plan"):
        report = ShardReport("slices")
        stack: dict[str, np.ndarray] = {}

        def make(key: str, image: np.ndarray, report: ShardReport = report, stack: dict = stack) -> None:
            if key in missing:
                raise RejectedMaterialError(Reason.NOT_MAGNETIC, f"{key}: no spin")
            stack[key] = image
            numbers = {"amplitude": 2.0 + CRYSTALS[key].content, "lattice_constant": 4.0, "side": 10.0}
            report.accept(key, digest_arrays(image), **numbers, periods=[[0.0, 0.0], [0.0, 0.0]])

        ids = [entry["id"] for entry in read_plan(plan)]
        report.each([(key, _image(key, planes) * np.float32(factor) + 0) for key in ids], make)  # + 0: no -0
        store = root / image_folder(name) / f"{plan.stem}.npz"
        report.write(store)
        np.savez(store, ids=np.array(list(stack), dtype=np.str_), image=np.array(list(stack.values())))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_stages(tmp_path, list(CRYSTALS.values()))
    write_dataset(tmp_path, clean=Clean(iqr_factor=None))
    _write_images(tmp_path, "spin", MISSING)
    write_views(tmp_path, targets=["k_vrh"], levels=["none-spin"], folds=3)
    return tmp_path


def _views(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "views").iterdir())}


def test_view_has_the_images_of_that_name_of_those_that_have_one(study: Path) -> None:
    view = load_view(study, "k_vrh", "none-spin", 0)
    plain = load_view(study, "k_vrh", "none", 0)
    there = ~np.isin(plain.ids, MISSING)
    assert view.ids.tolist() == plain.ids[there].tolist()
    assert view.part.tolist() == plain.part[there].tolist()
    assert view.y.tolist() == plain.y[there].tolist()
    assert len(view.ids) == N - 2
    np.testing.assert_array_equal(view.images, np.array([_image(key) for key in view.ids]))
    assert view.side is not None
    assert view.side[:, 0].tolist() == [2.0 + CRYSTALS[key].content for key in view.ids]
    assert view.formulas == tuple(CRYSTALS[key].formula for key in view.ids)


def test_counts_of_the_view_leave_out_those_without_an_image(study: Path) -> None:
    plain, other = (read_json(study / f"views/k_vrh.{level}.0.json")["n"] for level in ("none", "none-spin"))
    assert sum(plain.values()) - sum(other.values()) == 2
    assert all(other[part] <= plain[part] for part in plain)


def test_study_and_its_other_views_do_not_depend_on_other_images(study: Path) -> None:
    before, kept = _views(study), (study / "dataset/kept.csv").read_bytes()
    _write_images(study, "spin", (*MISSING, "c020"), factor=0.5)
    _write_images(study, "three", planes=3)
    write_dataset(study, clean=Clean(iqr_factor=None))
    write_views(study, targets=["k_vrh"], levels=["none-spin", "none-three"], folds=3)
    after = _views(study)
    assert (study / "dataset/kept.csv").read_bytes() == kept
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"k_vrh.none-spin.{fold}.json" for fold in range(3)}
    assert after.keys() - before.keys() == {f"k_vrh.none-three.{fold}.json" for fold in range(3)}


def test_three_planes_are_loaded_as_they_are(study: Path) -> None:
    _write_images(study, "three", planes=3)
    write_views(study, targets=["k_vrh"], levels=["none-three"], folds=3)
    images = load_view(study, "k_vrh", "none-three", 1).images
    assert images is not None
    assert images.shape == (N, 3, PIXELS, PIXELS)


def test_changed_images_make_the_view_stale(study: Path) -> None:
    _write_images(study, "spin", MISSING, factor=0.5)
    load_view(study, "k_vrh", "none", 0)
    with pytest.raises(StudyError, match=r"k_vrh.none-spin.0.json: the stores or tables have changed"):
        load_view(study, "k_vrh", "none-spin", 0)


def test_image_that_is_neither_there_nor_rejected_is_an_error(study: Path) -> None:
    for path in (study / "images/spin").glob("*.npz.digest.json"):
        path.write_text("{}")
    with pytest.raises(StudyError, match=r"images/spin/\d+.npz: has no c\d+, .* delete .* and run again"):
        write_views(study, targets=["k_vrh"], levels=["none-spin"], folds=3)


def test_images_of_too_few_materials_name_the_way_out(study: Path) -> None:
    _write_images(study, "spin", list(CRYSTALS)[3:])
    with pytest.raises(StudyError, match=r"fold 0: \d .* and an image spin in .* take ablation.images.spin out"):
        write_views(study, targets=["k_vrh"], levels=["none-spin"], folds=3)


def test_unknown_images_name_the_stage(study: Path) -> None:
    with pytest.raises(StudyError, match=r"k_vrh.none-plane.0.json: no such view; run the stage `views` first"):
        load_view(study, "k_vrh", "none-plane", 0)


def test_equal_images_in_two_parts_are_a_note(study: Path) -> None:
    write_leakage(study, ["spin"])
    found = {check["name"]: check for check in read_json(study / "dataset/leakage.json")["checks"]}
    assert found["identical image spin in several parts"]["found"] == 0
    _write_images(study, "spin", MISSING, factor=0)
    write_leakage(study, ["spin"])
    found = {check["name"]: check for check in read_json(study / "dataset/leakage.json")["checks"]}
    noted = found["identical image spin in several parts"]
    assert (noted["kind"], noted["found"]) == ("note", 1)
    assert found["identical image in two parts"]["found"] == 0


@pytest.mark.parametrize("level", ["none", "density", "formula", "none-"])
def test_level_without_other_images(level: str) -> None:
    assert images_of(level) is None


def test_level_and_folder_of_other_images() -> None:
    assert images_of(image_level("plane110")) == "plane110"
    assert image_folder("plane110") == "images/plane110"
    assert image_folder(images_of("none")) == "slices"
