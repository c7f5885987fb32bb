"""Check that nothing leaks between training, validation and test.

Errors, which stop the run: materials and parts that do not match one to one, a group in two parts, and two materials
with identical image or identical unified density in different parts (the same crystal under two ids). Parts are
compared as such, test and each fold, so what passes holds in every fold.

Notes, which are only reported: compositions, prototypes and whole texts that occur in several parts. Under the
strategy `random` that is normal (polymorphs share a formula), but a reader should know how much there is of it. Two
runs of one crystal with slightly different settings differ in the last digits, so they are no identical densities:
identical texts and compositions point at them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rhoflow.dataset.splits import GROUP_COLUMNS, Part, material_groups
from rhoflow.dataset.stores import Shards, read_digests, read_kept, read_level, shard_ids
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


def write_leakage(root: Path) -> None:
    """Check dataset/splits.json against kept.csv and the stores, and write dataset/leakage.json.

    Raises
    ------
    StudyError
        If something leaks: every finding with its ids and the remedy.
    """
    checks = check_leakage(root)
    failed = [check for check in checks if check.kind == "error" and check.found]
    if failed:
        lines = [f"\n  {check.name}: {check.found} ({'; '.join(check.examples)}); {check.remedy}" for check in failed]
        raise StudyError("the split leaks:" + "".join(lines))
    write_json(root / "dataset/leakage.json", {"ok": True, "checks": [asdict(check) for check in checks]})


def check_leakage(root: Path) -> list[Check]:
    """Make all checks of a study."""
    kept = read_kept(root)
    splits = read_json(root / "dataset/splits.json")
    parts: dict[str, Part] = splits["assignment"]
    ids = kept["material_id"].tolist()
    mismatch = _mismatch(ids, parts)
    if mismatch.found:
        return [mismatch]
    strategy = splits["strategy"]
    shards = shard_ids(kept)
    groups = material_groups(kept, strategy)
    remedy = "splits.json does not follow its own strategy: delete it and run again"
    checks = [mismatch, _straddling(f"{strategy} group in two parts", "error", groups, parts, remedy)]
    for folder, what in (("slices", "image"), ("grids", "density")):
        digests = _by_id(shards, read_digests(root, shards, folder))
        checks.append(_straddling(f"identical {what} in two parts", "error", digests, parts, _duplicates(strategy)))
    for name in GROUP_COLUMNS:
        if name not in ("random", strategy):
            checks.append(_straddling(f"{name} in several parts", "note", material_groups(kept, name), parts))
    texts = _by_id(shards, read_level(root, shards, "all"))
    checks.append(_straddling("identical text (all) in several parts", "note", texts, parts))
    return checks


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
    return part if isinstance(part, str) else f"fold {part}"
