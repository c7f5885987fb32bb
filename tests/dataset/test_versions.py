"""A frozen dataset stays what it is while data grows, and says which material keeps it from doing so."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Crystal, crystals, write_dataset, write_stages

from rhoflow.config import Clean, load_study
from rhoflow.dataset.clean import write_clean
from rhoflow.dataset.leakage import write_leakage
from rhoflow.dataset.splits import write_splits
from rhoflow.dataset.stores import read_kept
from rhoflow.dataset.versions import freeze, version_path
from rhoflow.dataset.views import write_views
from rhoflow.errors import Reason, StudyError

TARGETS = ("k_vrh", "band_gap")
FILES = ("kept.csv", "fences.json", "targets.parquet", "splits.json")
OUTLIER = Crystal("odd", high=900.0, content=77)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished study of 40 crystals and an outlier, frozen as v1."""
    monkeypatch.chdir(tmp_path)
    write_stages(Path("results/s"), [*crystals(40), OUTLIER])
    write_dataset(Path("results/s"))
    freeze(Path("results/s"), "v1")
    return Path("results/s")


def grow(root: Path, materials: Sequence[Crystal]) -> None:
    shutil.rmtree(root / "source")
    write_stages(root, materials)
    write_clean(root, Clean(), TARGETS, "v1")


def content(root: Path) -> dict[str, bytes]:
    files = [*(root / "dataset" / name for name in FILES), *sorted(root.glob("views/*.json"))]
    return {str(file): file.read_bytes() for file in files}


def test_new_materials_change_neither_dataset_nor_views(root: Path) -> None:
    before = content(root)
    more = [replace(crystals(1)[0], material_id=f"new{k}", content=100 + k, high=35.0 + k) for k in range(8)]
    grow(root, [*crystals(40), OUTLIER, *more])
    study = load_study({})
    write_splits(root, study.splits)
    write_leakage(root)
    write_views(root, targets=TARGETS, levels=("none", "density", *study.levels), folds=study.splits.folds)
    assert content(root) == before
    told = (root / "dataset/rejected.csv").read_text()
    assert told.count(Reason.NOT_FROZEN) == 9  # the outlier, too, is outside the version


def test_without_the_version_they_are_kept(root: Path) -> None:
    more = [replace(crystals(1)[0], material_id="new", content=100)]
    write_stages(root, [*crystals(40), OUTLIER, *more])
    write_clean(root, Clean(), TARGETS)
    assert "new" in read_kept(root)["material_id"].tolist()


def test_another_number_of_shards_is_the_same_dataset(root: Path) -> None:
    write_stages(root, [*crystals(40), OUTLIER], n_shards=5)
    write_clean(root, Clean(), TARGETS, "v1")
    assert len(read_kept(root)) == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": 99}, r"c007: its content in raw/ has changed \(1 of 40 materials differ\)"),
        ({"text": "New words."}, "c007: its content in text/ has changed"),
        ({"k_vrh": 1.5}, "c007: k_vrh was .* and is 1.5"),
        ({"k_vrh": None}, "c007: k_vrh was .* and is None"),
        ({"rejected": {"slices": Reason.NO_PLANE}}, "c007: is rejected now by slices .*c007 is bad"),
    ],
    ids=["density", "text", "target", "no target", "rejected"],
)
def test_changed_material_stops_the_study_and_is_named(root: Path, change: dict[str, object], message: str) -> None:
    changed = [replace(one, **change) if one.material_id == "c007" else one for one in crystals(40)]
    with pytest.raises(StudyError, match=message):
        grow(root, changed)


def test_missing_material_stops_the_study_and_is_named(root: Path) -> None:
    with pytest.raises(StudyError, match=r"c039: is no longer in the source \(1 of 40"):
        grow(root, crystals(39))


def test_target_that_was_not_frozen_stops_the_study(root: Path) -> None:
    write_clean(root, Clean(), ("k_vrh",))
    freeze(root, "v0")
    with pytest.raises(StudyError, match="frozen without the target 'band_gap'; it has k_vrh"):
        write_clean(root, Clean(), TARGETS, "v0")


def test_unknown_version_says_which_there_are(root: Path) -> None:
    with pytest.raises(StudyError, match=r"datasets/v2.json does not exist \(there: v1\).*rhoflow freeze"):
        write_clean(root, Clean(), TARGETS, "v2")


def test_version_is_written_once(root: Path) -> None:
    first = version_path("v1").read_bytes()
    assert freeze(root, "v1") == (Path("datasets/v1.json"), 40)
    assert version_path("v1").read_bytes() == first
    shutil.rmtree(root / "source")
    write_stages(root, crystals(30))
    write_dataset(root)
    with pytest.raises(StudyError, match="another dataset: a version never changes"):
        freeze(root, "v1")
    assert version_path("v1").read_bytes() == first


@pytest.mark.parametrize("name", ["../v1", "/etc/v1", ".hidden", "a b", ""])
def test_version_is_a_plain_name(name: str) -> None:
    with pytest.raises(StudyError, match="dataset_version"):
        load_study({"dataset_version": name})
