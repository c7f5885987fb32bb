"""A leak stops the run and names the crystals; what is only worth knowing is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import crystals, write_stages

from rhoflow.config import Clean, Splits
from rhoflow.dataset.clean import write_clean
from rhoflow.dataset.leakage import write_leakage
from rhoflow.dataset.splits import group_part, write_splits
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json, write_json

PARTS = [group_part(f"c{k:03d}", Splits()) for k in range(40)]
TEST = PARTS.index("test")
FOLD_0, FOLD_1 = PARTS.index(0), PARTS.index(1)
SAME_PART = [k for k, part in enumerate(PARTS) if part == 0][:2]


def _study(root: Path, changes: dict[int, dict], splits: Splits = Splits()) -> Path:  # noqa: B008
    made = [replace(crystal, **changes.get(k, {})) for k, crystal in enumerate(crystals(40))]
    write_stages(root, made)
    write_clean(root, Clean(iqr_factor=None), ["k_vrh"])
    write_splits(root, splits)
    return root


def _twin(k: int) -> dict:
    twin = crystals(40)[k]
    return {"content": twin.content, "high": twin.high, "formula": twin.formula, "prototype": twin.prototype}


def test_clean_split_passes_and_lists_its_checks(tmp_path: Path) -> None:
    write_leakage(_study(tmp_path, {}))
    made = read_json(tmp_path / "dataset/leakage.json")
    assert made["ok"] is True
    assert [check["found"] for check in made["checks"] if check["kind"] == "error"] == [0, 0, 0, 0]


@pytest.mark.parametrize(("one", "other"), [(FOLD_0, TEST), (FOLD_0, FOLD_1)], ids=["train-test", "train-val"])
def test_same_crystal_in_two_parts_is_named_with_the_remedy(tmp_path: Path, one: int, other: int) -> None:
    _study(tmp_path, {other: _twin(one)})
    with pytest.raises(StudyError) as caught:
        write_leakage(tmp_path)
    first, second = sorted([one, other])
    assert "identical image in two parts: 1" in str(caught.value)
    assert "identical density in two parts: 1" in str(caught.value)
    assert f"c{first:03d} (" in str(caught.value)
    assert f"c{second:03d} (" in str(caught.value)
    assert "use splits.strategy composition" in str(caught.value)


def test_same_crystal_in_one_part_passes(tmp_path: Path) -> None:
    one, other = SAME_PART
    write_leakage(_study(tmp_path, {other: _twin(one)}))


def test_remedy_of_twins_works(tmp_path: Path) -> None:
    write_leakage(_study(tmp_path, {TEST: _twin(FOLD_0)}, Splits(strategy="composition")))


@pytest.mark.parametrize("column", ["formula", "prototype"])
def test_group_in_two_parts_is_an_error_under_its_strategy(tmp_path: Path, column: str) -> None:
    strategy = {"formula": "composition", "prototype": "prototype"}[column]
    _study(tmp_path, {0: {column: "X"}, 1: {column: "X"}}, Splits(strategy=strategy))
    splits = read_json(tmp_path / "dataset/splits.json")
    splits["assignment"] |= {"c000": 0, "c001": "test"}
    write_json(tmp_path / "dataset/splits.json", splits)
    with pytest.raises(StudyError, match=rf"{strategy} group in two parts: 1 .*c000 \(fold 0\), c001 \(test\)"):
        write_leakage(tmp_path)


def test_polymorphs_and_same_texts_are_noted_only(tmp_path: Path) -> None:
    _study(tmp_path, {FOLD_0: {"formula": "ZnS", "text": "same"}, TEST: {"formula": "ZnS", "text": "same"}})
    write_leakage(tmp_path)
    found = {check["name"]: check["found"] for check in read_json(tmp_path / "dataset/leakage.json")["checks"]}
    assert found["composition in several parts"] == 1
    assert found["prototype in several parts"] == 12
    assert found["identical text (all) in several parts"] == 1


@pytest.mark.parametrize("wrong", ["lost", "invented"])
def test_split_of_other_materials_is_an_error(tmp_path: Path, wrong: str) -> None:
    _study(tmp_path, {})
    splits = read_json(tmp_path / "dataset/splits.json")
    if wrong == "lost":
        del splits["assignment"]["c003"]
    else:
        splits["assignment"]["c999"] = "test"
    write_json(tmp_path / "dataset/splits.json", splits)
    name = {"lost": "c003", "invented": "c999"}[wrong]
    with pytest.raises(
        StudyError, match=rf"without exactly one part: 1 \({name}\); kept.csv and splits.json disagree"
    ):
        write_leakage(tmp_path)


@pytest.mark.parametrize("strategy", ["cluster", "element"])
def test_new_strategies_pass_their_own_checks(tmp_path: Path, strategy: str) -> None:
    write_leakage(_study(tmp_path, NO_CHLORINE if strategy == "element" else {}, Splits(strategy=strategy)))
    made = {check["name"]: check["found"] for check in read_json(tmp_path / "dataset/leakage.json")["checks"]}
    wanted = {
        "cluster": "cluster group in two parts",
        "element": "held-out element in training",
    }
    assert made[wanted[strategy]] == 0


# Without a common element: each crystal a metal, or two of them.
NO_CHLORINE = {
    k: {"formula": f"{crystal.formula.removesuffix('Cl')}{'Mg' * (k % 4 == 0)}"}
    for k, crystal in enumerate(crystals(40))
}


def _element_study(root: Path) -> dict:
    _study(root, NO_CHLORINE, Splits(strategy="element", test=0.2))
    return read_json(root / "dataset/splits.json")


def test_held_out_element_in_training_is_an_error(tmp_path: Path) -> None:
    splits = _element_study(tmp_path)
    leaked = next(key for key, part in splits["assignment"].items() if part == "test")
    write_json(tmp_path / "dataset/splits.json", splits | {"assignment": splits["assignment"] | {leaked: 0}})
    with pytest.raises(StudyError, match=rf"held-out element in training: \d .*{leaked} \(\w+; train of fold 1\)"):
        write_leakage(tmp_path)


def test_element_of_a_fold_in_its_training_part_is_an_error(tmp_path: Path) -> None:
    splits = _element_study(tmp_path)
    leaked, fold = next((key, part) for key, part in splits["assignment"].items() if isinstance(part, int))
    other = (fold + 1) % 3
    write_json(tmp_path / "dataset/splits.json", splits | {"assignment": splits["assignment"] | {leaked: other}})
    with pytest.raises(StudyError) as caught:
        write_leakage(tmp_path)
    assert f"{leaked} (" in str(caught.value)
    assert f"train of fold {fold})" in str(caught.value)
    assert f"held-out material without a held-out element: 1 ({leaked} (val of fold {other}))" in str(caught.value)


def test_material_that_never_trains_is_noted(tmp_path: Path) -> None:
    splits = _element_study(tmp_path)
    metals = [group[0] for group in splits["elements"]["folds"]]
    _study(tmp_path, NO_CHLORINE | {0: {"formula": "".join(metals)}}, Splits(strategy="element", test=0.2))
    write_leakage(tmp_path)
    found = {check["name"]: check for check in read_json(tmp_path / "dataset/leakage.json")["checks"]}
    never = found["material that validates in every fold and never trains"]
    assert (never["kind"], never["examples"]) == ("note", ["c000"])
    assert read_json(tmp_path / "dataset/splits.json")["counts"]["never_train"] == 1


def test_every_repeat_is_checked(tmp_path: Path) -> None:
    one = next(
        k
        for k in range(40)
        if group_part(f"c{k:03d}", Splits()) == group_part("c000", Splits())
        and k
        and group_part(f"c{k:03d}", Splits(seed=1)) != group_part("c000", Splits(seed=1))
    )
    _study(tmp_path, {one: _twin(0)}, Splits(repeats=2))
    with pytest.raises(StudyError, match=r"identical image in two parts \(repeat 1\): 1") as caught:
        write_leakage(tmp_path)
    assert "two parts: 1" not in str(caught.value)
    write_leakage(_study(tmp_path / "alone", {one: _twin(0)}))
