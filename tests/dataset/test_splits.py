"""A split is a function of group and seed: a new material moves nobody, a group never straddles."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import crystals, write_stages

from rhoflow.config import Clean, Splits
from rhoflow.dataset.clean import write_clean
from rhoflow.dataset.parts import fold_part, read_partitions
from rhoflow.dataset.splits import assign_parts, group_part, material_groups, write_splits
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json, write_json

IDS = st.text("abcdefghij0123456789-", min_size=1, max_size=8)
STRATEGIES = ("random", "composition", "prototype", "cluster")


def _kept(root: Path, ids: list[str], prototypes: list[str] | None = None) -> None:
    table = pd.DataFrame({"material_id": ids, "shard": "0000", "formula": ids, "prototype": prototypes or ids})
    (root / "dataset").mkdir(exist_ok=True)
    table.to_csv(root / "dataset/kept.csv", index=False)


def _assignment(root: Path, options: Splits) -> dict[str, str | int]:
    write_splits(root, options)
    return read_json(root / "dataset/splits.json")["assignment"]


MEMBERS = st.dictionaries(IDS, st.sampled_from("ABCDEFGHIJKLMN"), min_size=1, max_size=40)


@given(groups=MEMBERS, new=st.tuples(IDS, st.sampled_from("ABCXYZ")), seed=st.integers(0, 5))
def test_new_material_moves_nobody(groups: dict[str, str], new: tuple[str, str], seed: int) -> None:
    options = Splits(seed=seed, folds=4)
    before = assign_parts(groups, options)
    after = assign_parts(dict([new]) | groups, options)
    assert {key: after[key] for key in groups} == before


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_file_of_a_grown_study_moves_nobody(tmp_path: Path, strategy: str) -> None:
    options = Splits(strategy=strategy)
    found = []
    for n in (60, 75):
        write_stages(tmp_path / str(n), crystals(75)[:n])
        write_clean(tmp_path / str(n), Clean(iqr_factor=None), ["k_vrh"])
        found.append(_assignment(tmp_path / str(n), options))
    small, large = found
    assert {key: large[key] for key in small} == small
    assert len(large) == 75


@given(groups=MEMBERS, seed=st.integers(0, 5))
def test_groups_never_straddle(groups: dict[str, str], seed: int) -> None:
    parts = assign_parts(groups, Splits(seed=seed))
    pairs = {(group, parts[key]) for key, group in groups.items()}
    assert len(pairs) == len(set(groups.values()))


@pytest.mark.parametrize(("strategy", "column"), [("random", "id"), ("composition", "f"), ("prototype", "p")])
def test_group_of_a_strategy(strategy: str, column: str) -> None:
    kept = pd.DataFrame({"material_id": ["id"], "formula": ["f"], "prototype": ["p"]})
    assert material_groups(kept, strategy) == {"id": column}


def test_shares_are_those_asked_for() -> None:
    """20,000 groups: each share within five standard deviations of the binomial."""
    n, options = 20_000, Splits(test=0.15, folds=5)
    parts = [group_part(f"mp-{k}", options) for k in range(n)]
    for part, share in [("test", 0.15), *[(fold, 0.85 / 5) for fold in range(5)]]:
        assert parts.count(part) / n == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / n))


def test_folds_do_not_follow_the_test_share() -> None:
    few, many = Splits(test=0.1), Splits(test=0.4)
    groups = [f"mp-{k}" for k in range(500)]
    stayed = [group for group in groups if group_part(group, many) != "test"]
    assert 250 < len(stayed) < 350
    assert all(group_part(group, few) == group_part(group, many) for group in stayed)


def test_frozen_assignment() -> None:
    """Papers rely on it: the parts of these ids are what they were when rhoflow 0.1 was made."""
    options = Splits(test=0.15, folds=3, seed=0)
    assert [group_part(f"mp-{k}", options) for k in range(12)] == [2, 1, 0, 1, 1, 2, 2, 1, 2, "test", 0, 1]


def test_seed_changes_the_partition() -> None:
    first, second = ([group_part(f"mp-{k}", Splits(seed=seed)) for k in range(100)] for seed in (0, 1))
    assert first != second


def test_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    ids = [f"m{k}" for k in range(40)]
    _kept(tmp_path, ids)
    write_splits(tmp_path, Splits())
    before = (tmp_path / "dataset/splits.json").read_bytes()
    _kept(tmp_path, ids[::-1])
    write_splits(tmp_path, Splits())
    assert (tmp_path / "dataset/splits.json").read_bytes() == before


@pytest.mark.parametrize(
    ("part", "fold", "role"),
    [("test", 1, "test"), (1, 1, "val"), (0, 1, "train"), ((0, 2), 2, "val"), ((0, 2), 1, "train")],
)
def test_role_in_a_fold(part: str | int | tuple[int, ...], fold: int, role: str) -> None:
    assert fold_part(part, fold) == role


def test_too_many_folds_name_the_numbers_and_the_remedy(tmp_path: Path) -> None:
    _kept(tmp_path, [f"m{k}" for k in range(5)])
    message = (
        r"splits.folds = 10: 5 materials in 5 groups \(strategy random\) cannot fill 10 folds and a test set; lower"
    )
    with pytest.raises(StudyError, match=message):
        write_splits(tmp_path, Splits(folds=10))


def test_too_few_groups_suggest_another_strategy(tmp_path: Path) -> None:
    _kept(tmp_path, [f"m{k}" for k in range(50)], ["rocksalt"] * 50)
    with pytest.raises(StudyError, match=r"50 materials in 1 groups .*or use strategy random"):
        write_splits(tmp_path, Splits(strategy="prototype"))


def test_empty_part_names_a_seed_that_works(tmp_path: Path) -> None:
    ids = [f"m{k}" for k in range(8)]
    _kept(tmp_path, ids)
    bad = next(seed for seed in range(50) if _fails(tmp_path, seed))
    with pytest.raises(StudyError, match=r"no group falls into (fold \d|the test set)") as caught:
        write_splits(tmp_path, Splits(seed=bad))
    good = int(str(caught.value).split("splits.seed: ")[1].split()[0])
    write_splits(tmp_path, Splits(seed=good))


def _fails(root: Path, seed: int) -> bool:
    try:
        write_splits(root, Splits(seed=seed))
    except StudyError:
        return True
    return False


def test_no_test_set_when_none_is_wanted(tmp_path: Path) -> None:
    _kept(tmp_path, [f"m{k}" for k in range(40)])
    assert set(_assignment(tmp_path, Splits(test=0, folds=3)).values()) == {0, 1, 2}


def test_first_repeat_is_the_split_without_repeats(tmp_path: Path) -> None:
    _kept(tmp_path, [f"m{k}" for k in range(40)])
    write_splits(tmp_path, Splits())
    alone = (tmp_path / "dataset/splits.json").read_text()
    assert "repeats" not in alone
    write_splits(tmp_path, Splits(repeats=3))
    written = read_json(tmp_path / "dataset/splits.json")
    del written["repeats"]
    write_json(tmp_path / "dataset/again.json", written)
    assert (tmp_path / "dataset/again.json").read_text() == alone


@pytest.mark.parametrize("strategy", [*STRATEGIES, "element"])
def test_repeat_is_the_split_of_the_next_seed(tmp_path: Path, strategy: str) -> None:
    write_stages(tmp_path, crystals(75))
    write_clean(tmp_path, Clean(iqr_factor=None), ["k_vrh"])
    options = Splits(strategy=strategy, seed=4, repeats=3, folds=2)
    write_splits(tmp_path, options)
    repeats = read_partitions(tmp_path)
    assert [partition.seed for partition in repeats] == [4, 5, 6]
    assert repeats[0].parts != repeats[1].parts != repeats[2].parts
    write_splits(tmp_path, Splits(strategy=strategy, seed=5, folds=2))
    assert read_partitions(tmp_path) == repeats[1:2]


def test_empty_part_of_a_repeat_names_a_seed_that_fills_all(tmp_path: Path) -> None:
    _kept(tmp_path, [f"m{k}" for k in range(8)])
    bad = next(seed for seed in range(50) if not _fails(tmp_path, seed) and _fails(tmp_path, seed + 1))
    with pytest.raises(StudyError, match=rf"falls into .* with seed {bad + 1};") as caught:
        write_splits(tmp_path, Splits(seed=bad, repeats=2))
    good = int(str(caught.value).split("splits.seed: ")[1].split()[0])
    write_splits(tmp_path, Splits(seed=good, repeats=2))


def test_indices_run_over_folds_and_repeats() -> None:
    assert list(Splits(folds=3, repeats=2).indices) == [0, 1, 2, 3, 4, 5]
