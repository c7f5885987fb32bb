"""Check that nothing leaks between training, validation and test.

Errors, which stop the run: materials and parts that do not match one to one, a group in two parts, and two materials
with identical image or identical unified density in different parts (the same crystal under two ids). Parts are
compared as such, test and each fold, so what passes holds in every fold; every repeat is checked. Where elements are
held out, these must be absent from the training part of every fold, and every test material must hold one.

Notes, which are only reported: compositions, prototypes, whole texts and other images (`ablation.images`) that occur
in several parts. Under the strategy `random` that is normal (polymorphs share a formula), but a reader should know
how much there is of it. Two runs of one crystal with slightly different settings differ in the last digits, so they
are no identical densities: identical texts and compositions point at them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from rhoflow.dataset.elements import elements_of
from rhoflow.dataset.parts import TEST, Part, Partition, fold_part, read_partitions
from rhoflow.dataset.splits import GROUP_COLUMNS, material_groups
from rhoflow.dataset.stores import Shards, read_digests, read_image_digests, read_kept, read_level, shard_ids
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json, write_json

SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One look at the split.

    Attributes
    ----------
    name : str
        What was looked for.
    kind : str
        ``error`` stops the run, ``note`` is only reported.
    found : int
        How many groups of materials straddle.
    examples : list of str
        The first few, with their ids and parts.
    remedy : str
        What to do about it; empty for notes.
    """

    name: str
    kind: str
    found: int
    examples: list[str]
    remedy: str = ""


def write_leakage(root: Path, images: Sequence[str] = ()) -> None:
    """Check dataset/splits.json against kept.csv and the stores, and write dataset/leakage.json.

    Parameters
    ----------
    images : sequence of str
        Names of other images of the crystals (``ablation.images``).

    Raises
    ------
    StudyError
        If something leaks: every finding with its ids and the remedy.
    """
    checks = check_leakage(root, images)
    failed = [check for check in checks if check.kind == "error" and check.found]
    if failed:
        lines = [f"\n  {check.name}: {check.found} ({'; '.join(check.examples)}); {check.remedy}" for check in failed]
        raise StudyError("the split leaks:" + "".join(lines))
    write_json(root / "dataset/leakage.json", {"ok": True, "checks": [asdict(check) for check in checks]})


def check_leakage(root: Path, images: Sequence[str] = ()) -> list[Check]:
    """Make all checks of a study."""
    kept = read_kept(root)
    strategy = read_json(root / "dataset/splits.json")["strategy"]
    shards = shard_ids(kept)
    alike = {
        f"identical {what}": _by_id(shards, read_digests(root, shards, folder))
        for folder, what in (("slices", "image"), ("grids", "density"))
    }
    noted = {"identical text (all)": _by_id(shards, read_level(root, shards, "all"))}
    noted |= {f"identical image {name}": read_image_digests(root, shards, name) for name in images}
    checks = []
    for repeat, partition in enumerate(read_partitions(root)):
        of_repeat = _check_partition(kept, partition, strategy, alike, noted)
        again = f" (repeat {repeat})" if repeat else ""
        checks += [replace(check, name=check.name + again) for check in of_repeat]
    return checks


def _check_partition(
    kept: pd.DataFrame,
    partition: Partition,
    strategy: str,
    alike: Mapping[str, Mapping[str, str]],
    noted: Mapping[str, Mapping[str, str]],
) -> list[Check]:
    """Make all checks of one repeat; contents in `alike`, by what they are, must not be in two parts, others may."""
    parts = partition.parts
    mismatch = _mismatch(kept["material_id"].tolist(), parts)
    if mismatch.found:
        return [mismatch]
    remedy = "splits.json does not follow its own strategy: delete it and run again"
    if partition.elements is not None:
        elements = {key: set(elements_of(formula)) for key, formula in _formulas(kept).items()}
        checks = [mismatch, *_element_checks(elements, partition, remedy)]
    else:
        groups = material_groups(kept, strategy)
        checks = [mismatch, _straddling(f"{strategy} group in two parts", "error", groups, parts, remedy)]
    for what, contents in alike.items():
        checks.append(_straddling(f"{what} in two parts", "error", contents, parts, _duplicates(strategy)))
    for name in GROUP_COLUMNS:
        if name not in ("random", strategy):
            checks.append(_straddling(f"{name} in several parts", "note", material_groups(kept, name), parts))
    for what, contents in noted.items():
        checks.append(_straddling(f"{what} in several parts", "note", contents, parts))
    return checks


def _formulas(kept: pd.DataFrame) -> dict[str, str]:
    return dict(zip(kept["material_id"], kept["formula"], strict=True))


def _element_checks(elements: Mapping[str, set[str]], partition: Partition, remedy: str) -> list[Check]:
    """Look for held-out elements in training, and for held-out materials that hold none; count who never trains."""
    held, parts = partition.elements, partition.parts
    assert held is not None
    seen, without = [], []
    for fold, group in enumerate(held.folds):
        for key, present in sorted(elements.items()):
            role = fold_part(parts[key], fold)
            gone = present & (set(held.test) | set(group) if role == "train" else set(held.test))
            if role != TEST and gone:
                seen.append(f"{key} ({', '.join(sorted(gone))}; {role} of fold {fold})")
            if not present & set(held.test if role == TEST else group) and role != "train":
                without.append(f"{key} ({role} of fold {fold})")
    never = sorted(key for key, part in parts.items() if isinstance(part, tuple) and len(part) == len(held.folds))
    return [
        Check("held-out element in training", "error", len(seen), seen[:SHOWN], remedy),
        Check("held-out material without a held-out element", "error", len(without), without[:SHOWN], remedy),
        Check("material that validates in every fold and never trains", "note", len(never), never[:SHOWN]),
    ]


def _duplicates(strategy: str) -> str:
    grouped = "use splits.strategy composition, which keeps them together, or " if strategy == "random" else ""
    return f"these are one crystal under several ids: {grouped}remove all but one of each"


def _by_id(shards: Shards, values: Sequence[str]) -> dict[str, str]:
    ids = [material_id for shard in shards.values() for material_id in shard]
    return dict(zip(ids, values, strict=True))


def _mismatch(ids: list[str], parts: Mapping[str, Part]) -> Check:
    """Find materials that stand twice, or in only one of kept.csv and splits.json."""
    twice = {material_id for material_id in ids if ids.count(material_id) > 1} if len(set(ids)) < len(ids) else set()
    wrong = sorted(twice | (set(ids) ^ set(parts)))
    name = "material without exactly one part"
    return Check(
        name,
        "error",
        len(wrong),
        wrong[:SHOWN],
        "kept.csv and splits.json disagree: delete splits.json and run again",
    )


def _straddling(
    name: str, kind: str, groups: Mapping[str, str], parts: Mapping[str, Part], remedy: str = ""
) -> Check:
    """Find groups of materials with one value whose members are in different parts."""
    members: dict[str, list[str]] = {}
    for material_id in sorted(groups):
        members.setdefault(groups[material_id], []).append(material_id)
    found = [ids for ids in members.values() if len({parts[material_id] for material_id in ids}) > 1]
    examples = [", ".join(f"{key} ({_part_name(parts[key])})" for key in ids[:SHOWN]) for ids in found[:SHOWN]]
    return Check(name, kind, len(found), examples, remedy)


def _part_name(part: Part) -> str:
    if isinstance(part, tuple):
        return "folds " + " and ".join(str(fold) for fold in part) if part else "no fold"
    return part if isinstance(part, str) else f"fold {part}"
