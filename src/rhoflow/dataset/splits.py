"""Who trains, who validates, who tests: a stable hash of the material's group, so that a new material moves nobody.

Each group g gets two independent 64-bit hashes of (seed, g): u(g) in [0, 1) and v(g). The group is in the test set if
u(g) < test share; else its fold is v(g) mod folds. Changing the test share leaves the folds of the others alone.

Shares are left to chance: of 100 materials 15 +- 3.6 go to a test set of 15 %. That is the price of the rule and
cannot be lowered: if neither adding nor removing a material may move another, the part of a group cannot depend on
which others there are (remove them one by one), so it is a function of the group and the seed alone, which cannot
know how full a fold is. A study that wants other shares takes another seed.

The strategy `element` holds out elements instead of groups and works otherwise: `elements`. Repeats are partitions of
their own, each with the next seed; fold k of repeat r has the index r * folds + k wherever a fold is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from rhoflow.config import Splits
from rhoflow.dataset.elements import elements_of, hold_out
from rhoflow.dataset.parts import TEST, Part, Partition, fold_part, read_partitions
from rhoflow.dataset.stores import read_kept
from rhoflow.errors import StudyError
from rhoflow.materials.digests import write_json
from rhoflow.materials.ids import hash_integer

# Column of kept.csv that never straddles a split, by strategy.
GROUP_COLUMNS = {"random": "material_id", "composition": "formula", "prototype": "prototype"}
CLUSTER = "cluster"
ELEMENT = "element"
TRIED_SEEDS = 100


def write_splits(root: Path, options: Splits) -> None:
    """Write dataset/splits.json: the part of every kept material, in every repeat.

    Raises
    ------
    StudyError
        If a wanted test set, or the training or validation part of a fold, is empty.
    """
    kept = read_kept(root)
    first, *others = make_partitions(kept, options)
    written = {
        "strategy": options.strategy,
        "seed": options.seed,
        "test": options.test,
        "folds": options.folds,
        **first.as_json(options.folds),
    }
    if others:
        written["repeats"] = [{"seed": other.seed, **other.as_json(options.folds)} for other in others]
    write_json(root / "dataset/splits.json", written)


def make_partitions(kept: pd.DataFrame, options: Splits) -> list[Partition]:
    """Partition the rows of kept.csv once a repeat.

    Raises
    ------
    StudyError
        If a part that is needed is empty in one of them.
    """
    _check(kept, options)
    return [_partition(kept, once) for once in _repeats(options)]


def material_groups(kept: pd.DataFrame, strategy: str) -> dict[str, str]:
    """Group of each material, the members of which stay together; with `element` compositions do."""
    if strategy == CLUSTER:
        from rhoflow.dataset.clusters import cluster_of  # it imports matminer and scikit-learn: seconds

        return {key: cluster_of(formula) for key, formula in _column(kept, "formula")}
    return dict(_column(kept, GROUP_COLUMNS.get(strategy, "formula")))


def resampled_groups(root: Path, strategy: str) -> dict[str, str]:
    """Group of each kept material for intervals: materials of one group resemble each other.

    With `element` that is the first drawn of its held-out elements, the one that put it into the test set of the
    first repeat; a material outside the test set, which no interval is about, counts under its first element.
    """
    kept = read_kept(root)
    if strategy != ELEMENT:
        return material_groups(kept, strategy)
    held = read_partitions(root)[0].elements
    assert held is not None
    rank = {element: place for place, element in enumerate(held.test)}
    return {
        key: min(elements_of(formula), key=lambda element: (rank.get(element, len(rank)), element))
        for key, formula in _column(kept, "formula")
    }


def assign_parts(groups: Mapping[str, str], options: Splits) -> dict[str, Part]:
    """Part of each material by id, for groups by id."""
    return {material_id: group_part(group, options) for material_id, group in groups.items()}


def group_part(group: str, options: Splits) -> Part:
    """Part of a group: ``"test"`` or the number of its fold; depends on nothing but group and options."""
    seed = str(options.seed)
    if hash_integer("test", seed, group) / 2**64 < options.test:
        return TEST
    return hash_integer("fold", seed, group) % options.folds


def _column(kept: pd.DataFrame, name: str) -> Iterator[tuple[str, str]]:
    return zip(kept["material_id"], kept[name], strict=True)


def _partition(kept: pd.DataFrame, options: Splits) -> Partition:
    """Partition of one seed; parts may be empty."""
    if options.strategy == ELEMENT:
        return hold_out(dict(_column(kept, "formula")), options)
    return Partition(options.seed, assign_parts(material_groups(kept, options.strategy), options))


def _check(kept: pd.DataFrame, options: Splits) -> None:
    """Stop at an empty part in one of the repeats, with a seed that leaves none empty."""
    for once in _repeats(options):
        parts = _unit_parts(kept, once)
        empty = _empty_parts(parts, once)
        if empty:
            raise StudyError(_complaint(kept, parts, empty, once, options))


def _complaint(kept: pd.DataFrame, parts: Mapping[str, Part], empty: list[str], once: Splits, options: Splits) -> str:
    by_element = options.strategy == ELEMENT
    n_units = len(
        {element for formula in kept["formula"] for element in elements_of(formula)} if by_element else parts
    )
    unit = "material" if by_element else "group"
    have = (
        f"{len(kept)} materials {'with' if by_element else 'in'} {n_units} {'elements' if by_element else 'groups'}"
        f" (strategy {options.strategy})"
    )
    if n_units < options.folds + (options.test > 0):
        return (
            f"splits.folds = {options.folds}: {have} cannot fill {options.folds} folds"
            f"{' and a test set' if options.test > 0 else ''}; lower splits.folds, or add materials"
            + ("" if options.strategy == "random" else ", or use strategy random")
        )
    seed = _working_seed(kept, options)
    otherwise = "use another splits.strategy" if by_element else "lower splits.folds or raise splits.test"
    remedy = f"splits.seed: {seed} fills all" if seed is not None else otherwise
    counts = Counter(str(part) for part in parts.values())
    drawn = f" with seed {once.seed}" if options.repeats > 1 else ""
    return (
        f"splits: no {unit} falls into {' and '.join(empty)}{drawn}; {have}, {unit}s a part:"
        f" {dict(sorted(counts.items()))}; use another seed ({remedy}), or fewer folds"
    )


def _unit_parts(kept: pd.DataFrame, options: Splits) -> dict[str, Part]:
    """Part of each group; of each material where elements are held out."""
    parts = _partition(kept, options).parts
    if options.strategy == ELEMENT:
        return dict(parts)
    return {group: parts[material_id] for material_id, group in material_groups(kept, options.strategy).items()}


def _repeats(options: Splits) -> list[Splits]:
    """Options of each repeat as of a split of its own."""
    return [
        options.model_copy(update={"seed": options.seed + repeat, "repeats": 1}) for repeat in range(options.repeats)
    ]


def _empty_parts(parts: Mapping[str, Part], options: Splits) -> list[str]:
    """Parts that no group (or material) is in; a fold has a training part if another one has a validation part."""
    there = set(parts.values())
    empty = []
    for fold in range(options.folds):
        roles = {fold_part(part, fold) for part in there}
        if "val" not in roles:
            empty.append(f"fold {fold}")
        elif "train" not in roles and options.strategy == ELEMENT:
            empty.append(f"the training part of fold {fold}")
    if options.test > 0 and TEST not in there:
        empty.append("the test set")
    return empty


def _working_seed(kept: pd.DataFrame, options: Splits) -> int | None:
    """First seed that leaves no part of any repeat empty."""
    for seed in range(TRIED_SEEDS):
        trials = _repeats(options.model_copy(update={"seed": seed}))
        if not any(_empty_parts(_unit_parts(kept, trial), trial) for trial in trials):
            return seed
    return None
