"""Partitions: the part of each material, read from dataset/splits.json, and what a part means in a fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhoflow.materials.digests import read_json

TEST = "test"

# The test set, or the fold in which a material validates; several folds or none where whole elements are held out.
Part = str | int | tuple[int, ...]


@dataclass(frozen=True)
class HeldOut:
    """The elements that the strategy `element` holds out.

    Attributes
    ----------
    test : tuple of str
        Elements that only the test set has, in the order in which they were drawn.
    folds : tuple of tuple of str
        Those held out in each fold, sorted; an element in none of these and not in `test` is never held out.
    """

    test: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Partition:
    """Who tests and in which fold the others validate, in one repeat.

    Attributes
    ----------
    seed : int
        What it was drawn with.
    parts : dict of str to Part
        Part of each kept material, by id.
    elements : HeldOut or None
        What is held out, with the strategy `element`.
    """

    seed: int
    parts: Mapping[str, Part]
    elements: HeldOut | None = None

    def as_json(self, folds: int) -> dict[str, Any]:
        """Give ``assignment``, and for `element` also ``elements`` and ``counts`` of the materials of each part."""
        assignment = {key: list(part) if isinstance(part, tuple) else part for key, part in self.parts.items()}
        if self.elements is None:
            return {"assignment": assignment}
        held = {"test": list(self.elements.test), "folds": [list(group) for group in self.elements.folds]}
        return {"assignment": assignment, "elements": held, "counts": self._counts(folds)}

    def _counts(self, folds: int) -> dict[str, Any]:
        """Materials of each part, by fold; and of those outside the test set, the ones that train in no fold."""
        rows = [Counter(fold_part(part, fold) for part in self.parts.values()) for fold in range(folds)]
        never = sum(isinstance(part, tuple) and len(part) == folds for part in self.parts.values())
        return {
            "test": rows[0][TEST],
            "train": [row["train"] for row in rows],
            "val": [row["val"] for row in rows],
            "never_train": never,
        }


def fold_part(part: Part, fold: int) -> str:
    """Say what a material with this part is in fold `fold` of its repeat: ``train``, ``val`` or ``test``."""
    if part == TEST:
        return TEST
    return "val" if part == fold or (isinstance(part, tuple) and fold in part) else "train"


def read_partitions(root: Path) -> tuple[Partition, ...]:
    """Read the partition of every repeat from dataset/splits.json."""
    splits = read_json(root / "dataset/splits.json")
    return tuple(_partition(one) for one in (splits, *splits.get("repeats", [])))


def _partition(written: Mapping[str, Any]) -> Partition:
    parts = {key: tuple(part) if isinstance(part, list) else part for key, part in written["assignment"].items()}
    held = written.get("elements")
    elements = HeldOut(tuple(held["test"]), tuple(tuple(group) for group in held["folds"])) if held else None
    return Partition(written["seed"], parts, elements)
