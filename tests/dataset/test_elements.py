"""Leave-element-out: nobody trains on a held-out element, shares are reached, and a new material moves few."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoflow.config import Splits
from rhoflow.dataset.elements import element_fold, elements_of, hold_out
from rhoflow.dataset.parts import TEST, Partition, fold_part, read_partitions
from rhoflow.dataset.splits import resampled_groups, write_splits
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json

ELEMENTS = ("Li", "Na", "K", "Mg", "Ca", "Ti", "V", "Fe", "Ni", "Cu", "Zn", "Al", "Si", "Ag", "Au", "O", "S", "Cl")
FORMULAS = st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=3, unique=True).map("".join)
STUDIES = st.dictionaries(st.text("abcdef0123456789", min_size=1, max_size=6), FORMULAS, min_size=1, max_size=40)
OPTIONS = st.builds(
    Splits, strategy=st.just("element"), test=st.sampled_from([0, 0.1, 0.2, 0.4]), seed=st.integers(0, 20)
)
PAIRS = {f"m{k}": "".join(pair) for k, pair in enumerate(combinations(ELEMENTS, 2))}


def _options(**changes: object) -> Splits:
    return Splits(**({"strategy": "element"} | changes))  # type: ignore[arg-type]


def _rows(formulas: dict[str, str], partition: Partition, fold: int, role: str) -> list[set[str]]:
    return [set(elements_of(formulas[key])) for key, part in partition.parts.items() if fold_part(part, fold) == role]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(formulas=STUDIES, options=OPTIONS)
def test_no_element_that_is_held_out_is_seen_in_training(formulas: dict[str, str], options: Splits) -> None:
    partition = hold_out(formulas, options)
    assert partition.elements is not None
    tested = set(partition.elements.test)
    for fold, group in enumerate(partition.elements.folds):
        train = _rows(formulas, partition, fold, "train")
        val, test = (_rows(formulas, partition, fold, role) for role in ("val", "test"))
        assert not any(one & (tested | set(group)) for one in train)
        assert all(one & set(group) and not one & tested for one in val)
        assert all(one & tested for one in test)
        assert len(train) + len(val) + len(test) == len(formulas)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(formulas=STUDIES, options=OPTIONS)
def test_test_set_is_not_larger_than_it_must_be(formulas: dict[str, str], options: Splits) -> None:
    """Without its last element it is below its share; and no element alone makes more than the share."""
    partition = hold_out(formulas, options)
    assert partition.elements is not None
    wanted, drawn = options.test * len(formulas), partition.elements.test
    before = sum(bool(set(elements_of(formula)) & set(drawn[:-1])) for formula in formulas.values())
    assert before < wanted or not drawn
    alone = Counter(element for formula in formulas.values() for element in elements_of(formula))
    assert all(alone[element] <= wanted for element in drawn)
    reached = sum(part == TEST for part in partition.parts.values())
    if reached < wanted:  # then every element left is too common
        assert all(number > wanted for element, number in alone.items() if element not in drawn)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(formulas=STUDIES, new=FORMULAS, options=OPTIONS)
def test_new_material_moves_only_materials_of_elements_at_the_margin(
    formulas: dict[str, str], new: str, options: Splits
) -> None:
    before, after = hold_out(formulas, options), hold_out(formulas | {"new": new}, options)
    assert before.elements is not None
    assert after.elements is not None
    margin = set(before.elements.test) ^ set(after.elements.test)
    common = set(sum(before.elements.folds, ())) ^ set(sum(after.elements.folds, ()))
    for key, part in before.parts.items():
        elements = set(elements_of(formulas[key]))
        if after.parts[key] != part:
            # in or out of the test set, or of the folds of an element that is or was too common
            assert margin & elements if TEST in (part, after.parts[key]) else (common - margin) & elements
    for element in set(sum(after.elements.folds, ())) - common:
        assert [element in group for group in before.elements.folds] == [
            element in group for group in after.elements.folds
        ]


def test_few_move_when_a_study_grows() -> None:
    """Twelve further compounds of 153: the study as it grows step by step moves a part of it once in a while."""
    options, formulas = _options(test=0.2), dict(list(PAIRS.items())[:-12])
    moved = 0
    for key, formula in list(PAIRS.items())[-12:]:
        before, formulas = hold_out(formulas, options), formulas | {key: formula}
        after = hold_out(formulas, options)
        moved += sum(after.parts[one] != part for one, part in before.parts.items())
    assert moved / (12 * len(formulas)) < 0.05


def test_common_element_is_passed_over() -> None:
    """Oxygen is in all but two of these: no seed holds it out, and other elements make the test set."""
    formulas = {f"m{k}": f"{element}O" for k, element in enumerate(ELEMENTS[:15])} | {"x": "NaCl", "y": "AgAu"}
    for seed in range(30):
        drawn = hold_out(formulas, _options(test=0.2, seed=seed)).elements
        assert drawn is not None
        assert "O" not in drawn.test
        assert 0 < len(drawn.test) <= 4


def test_material_with_elements_of_two_folds_validates_in_both() -> None:
    options = _options(test=0, folds=3)
    one, other = next(
        pair for pair in combinations(ELEMENTS, 2) if element_fold(pair[0], options) != element_fold(pair[1], options)
    )
    parts = hold_out({"a": one, "b": other, "c": one + other, "d": "H"}, options).parts
    first, second = element_fold(one, options), element_fold(other, options)
    assert (parts["a"], parts["b"], parts["c"]) == (first, second, tuple(sorted((first, second))))
    assert [fold_part(parts["c"], fold) for fold in range(3)].count("val") == 2


def test_element_of_most_materials_is_never_held_out() -> None:
    """Chlorides: chlorine trains in every fold, and so does the one crystal of chlorine alone."""
    formulas = {f"m{k}": f"{element}Cl" for k, element in enumerate(ELEMENTS[:15])} | {"x": "Cl"}
    for seed in range(10):
        partition = hold_out(formulas, _options(test=0.2, seed=seed, folds=2))
        assert partition.elements is not None
        assert all("Cl" not in group for group in partition.elements.folds)
        assert partition.parts["x"] == ()
        assert [fold_part(partition.parts["x"], fold) for fold in range(2)] == ["train", "train"]


def test_frozen_elements() -> None:
    """Papers rely on it: what is held out of these 153 compounds is what it was when the strategy was made."""
    held = hold_out(PAIRS, _options(test=0.15, folds=3, seed=0)).elements
    assert held is not None
    assert held.test == ("Ni", "Fe")
    assert held.folds == (
        ("Au", "Ca", "Cl", "Li", "S"),
        ("Al", "Mg", "Na", "Zn"),
        ("Ag", "Cu", "K", "O", "Si", "Ti", "V"),
    )


def _kept(root: Path, formulas: dict[str, str]) -> None:
    table = pd.DataFrame({"material_id": list(formulas), "shard": "0000", "formula": list(formulas.values())})
    table["prototype"] = "P"
    (root / "dataset").mkdir(exist_ok=True)
    table.to_csv(root / "dataset/kept.csv", index=False)


def test_file_says_what_is_held_out_and_how_many_train(tmp_path: Path) -> None:
    _kept(tmp_path, PAIRS)
    write_splits(tmp_path, _options(test=0.2, folds=3))
    written = read_json(tmp_path / "dataset/splits.json")
    (partition,) = read_partitions(tmp_path)
    assert partition == hold_out(PAIRS, _options(test=0.2, folds=3))
    held = written["elements"]
    assert sorted(one for group in (held["test"], *held["folds"]) for one in group) == sorted(ELEMENTS)
    counts = written["counts"]
    for fold in range(3):
        roles = Counter(fold_part(part, fold) for part in partition.parts.values())
        assert (counts["test"], counts["train"][fold], counts["val"][fold]) == (
            roles["test"],
            roles["train"],
            roles["val"],
        )
    assert counts["never_train"] == 0  # two elements are in two folds at most


def test_intervals_resample_the_elements_that_were_drawn(tmp_path: Path) -> None:
    _kept(tmp_path, PAIRS)
    write_splits(tmp_path, _options(test=0.2))
    (partition,) = read_partitions(tmp_path)
    assert partition.elements is not None
    groups = resampled_groups(tmp_path, "element")
    first, second = partition.elements.test[:2]
    both = next(key for key, formula in PAIRS.items() if set(elements_of(formula)) == {first, second})
    assert groups[both] == first
    for key, part in partition.parts.items():
        assert (groups[key] in partition.elements.test) == (part == TEST)


@pytest.mark.parametrize(
    ("formulas", "options", "message"),
    [
        (
            {f"m{k}": "NaCl" for k in range(9)},
            {"folds": 3, "test": 0.2},
            r"9 materials with 2 elements \(strategy element\) cannot fill 3 folds and a test set; lower",
        ),
        (
            {"a": "LiNa", "b": "LiNa"},
            {"folds": 2, "test": 0},
            r"no material falls into fold 0 and fold 1; 2 materials with 2 elements .*\(use another splits.str",
        ),
    ],
    ids=["too-few-elements", "too-few-compounds"],
)
def test_impossible_split_is_told(tmp_path: Path, formulas: dict[str, str], options: dict, message: str) -> None:
    _kept(tmp_path, formulas)
    with pytest.raises(StudyError, match=message):
        write_splits(tmp_path, _options(**options))
