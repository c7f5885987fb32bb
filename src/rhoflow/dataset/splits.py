"""Who trains, who validates, who tests: a stable hash of the material's group, so that a new material moves nobody.

Each group g gets two independent 64-bit hashes of (seed, g): u(g) in [0, 1) and v(g). The group is in the test set if
u(g) < test share; else its fold is v(g) mod folds. Changing the test share leaves the folds of the others alone.

Shares are left to chance: of 100 materials 15 +- 3.6 go to a test set of 15 %. That is the price of the rule and
cannot be lowered: if neither adding nor removing a material may move another, the part of a group cannot depend on
which others there are (remove them one by one), so it is a function of the group and the seed alone, which cannot
know how full a fold is. A study that wants other shares takes another seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rhoflow.config import Splits
from rhoflow.dataset.stores import read_kept
from rhoflow.errors import StudyError
from rhoflow.materials.digests import write_json
from rhoflow.materials.ids import hash_integer

TEST = "test"
# Column of kept.csv that never straddles a split, by strategy.
GROUP_COLUMNS = {"random": "material_id", "composition": "formula", "prototype": "prototype"}
TRIED_SEEDS = 100

Part = str | int


def write_splits(root: Path, options: Splits) -> None:
    """Write dataset/splits.json, the part (``"test"`` or a fold number) of every kept material.

    Raises
    ------
    StudyError
        If a fold or a wanted test set is empty.
    """
    groups = material_groups(read_kept(root), options.strategy)
    assignment = assign_parts(groups, options)
    _check({groups[material_id]: part for material_id, part in assignment.items()}, len(groups), options)
    write_json(
        root / "dataset/splits.json",
        {
            "strategy": options.strategy,
            "seed": options.seed,
            "test": options.test,
            "folds": options.folds,
            "assignment": assignment,
        },
    )


def material_groups(kept: pd.DataFrame, strategy: str) -> dict[str, str]:
    """Group of each material, the members of which stay together."""
    return dict(zip(kept["material_id"], kept[GROUP_COLUMNS[strategy]], strict=True))


def assign_parts(groups: Mapping[str, str], options: Splits) -> dict[str, Part]:
    """Part of each material by id, for groups by id."""
    return {material_id: group_part(group, options) for material_id, group in groups.items()}


def group_part(group: str, options: Splits) -> Part:
    """Part of a group: ``"test"`` or the number of its fold; depends on nothing but group and options."""
    seed = str(options.seed)
    if hash_integer("test", seed, group) / 2**64 < options.test:
        return TEST
    return hash_integer("fold", seed, group) % options.folds


def fold_part(part: Part, fold: int) -> str:
    """Say what a material with this part is in fold `fold`: ``train``, ``val`` or ``test``."""
    if part == TEST:
        return TEST
    return "val" if part == fold else "train"


def _check(parts: Mapping[str, Part], n_materials: int, options: Splits) -> None:
    empty = _empty_parts(parts, options)
    if not empty:
        return
    needed = options.folds + (options.test > 0)
    have = f"{n_materials} materials in {len(parts)} groups (strategy {options.strategy})"
    if len(parts) < needed:
        raise StudyError(
            f"splits.folds = {options.folds}: {have} cannot fill {options.folds} folds"
            f"{' and a test set' if options.test > 0 else ''}; lower splits.folds, or add materials"
            + ("" if options.strategy == "random" else ", or use strategy random")
        )
    seed = _working_seed(parts, options)
    remedy = f"splits.seed: {seed} fills all" if seed is not None else "lower splits.folds or raise splits.test"
    counts = Counter(str(part) for part in parts.values())
    raise StudyError(
        f"splits: no group falls into {' and '.join(empty)}; {have}, groups a part: {dict(sorted(counts.items()))};"
        f" use another seed ({remedy}), or fewer folds"
    )


def _empty_parts(parts: Mapping[str, Part], options: Splits) -> list[str]:
    there = set(parts.values())
    empty = [f"fold {fold}" for fold in range(options.folds) if fold not in there]
    if options.test > 0 and TEST not in there:
        empty.append("the test set")
    return empty


def _working_seed(groups: Mapping[str, Part], options: Splits) -> int | None:
    """First seed that leaves no part empty."""
    for seed in range(TRIED_SEEDS):
        trial = options.model_copy(update={"seed": seed})
        if not _empty_parts({group: group_part(group, trial) for group in groups}, trial):
            return seed
    return None
