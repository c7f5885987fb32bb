"""Leave-element-out: the test set, and the validation part of each fold, are about elements never seen in training.

Elements are drawn in the order of a hash of (seed, element), and every material that holds a drawn one is in the test
set, until its share is reached. An element that alone stands in more than that share is passed over. Each remaining
element belongs to the fold that another hash names, and fold k validates on every remaining material with an element
of fold k; the rest trains. So a compound of elements of several folds validates in each of them and trains in the
others, or in none: it would show an element that is held out. Parts are therefore larger, and training parts smaller,
than with the other strategies. An element in more than half of the remaining materials is never held out: without the
oxygen of a study of oxides nothing would be left to train on.

A new material moves few: those of elements at the margin. They are the last one drawn, where the share is now reached
with one element less or only with one more, and elements that now stand in more, or no longer in more, than the
share that passes them over. All others stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pymatgen.core import Composition

from rhoflow.config import Splits
from rhoflow.dataset.parts import TEST, HeldOut, Part, Partition
from rhoflow.materials.ids import hash_integer

COMMON = 0.5  # share of the materials outside the test set beyond which an element is never held out

Members = Mapping[str, set[str]]


def hold_out(formulas: Mapping[str, str], options: Splits) -> Partition:
    """Partition materials by the elements of their formulas, by id; `options` names share, folds and seed."""
    members: dict[str, set[str]] = {}
    for material_id, formula in formulas.items():
        for element in elements_of(formula):
            members.setdefault(element, set()).add(material_id)
    held = _draw_folds(members, draw_elements(members, len(formulas), options), len(formulas), options)
    return Partition(options.seed, {key: _part(set(elements_of(one)), held) for key, one in formulas.items()}, held)


def draw_elements(members: Members, n: int, options: Splits) -> tuple[str, ...]:
    """Elements of the test set in the order of drawing, from the materials of each element, of `n` in all."""
    wanted, seed = options.test * n, str(options.seed)
    drawn: list[str] = []
    tested: set[str] = set()
    for element in sorted(members, key=lambda one: hash_integer("test element", seed, one)):
        if len(tested) >= wanted:
            break
        if len(members[element]) <= wanted:
            drawn.append(element)
            tested |= members[element]
    return tuple(drawn)


def element_fold(element: str, options: Splits) -> int:
    """Fold in which an element is held out, if it is not too common."""
    return hash_integer("fold element", str(options.seed), element) % options.folds


def _draw_folds(members: Members, test: tuple[str, ...], n: int, options: Splits) -> HeldOut:
    """Elements of the test set and of each fold."""
    tested = set().union(*(members[element] for element in test))
    folds: list[list[str]] = [[] for _ in range(options.folds)]
    for element in sorted(set(members) - set(test)):
        if len(members[element] - tested) <= COMMON * (n - len(tested)):
            folds[element_fold(element, options)].append(element)
    return HeldOut(test, tuple(tuple(group) for group in folds))


@cache
def elements_of(formula: str) -> tuple[str, ...]:
    """Symbols of the elements of a formula, sorted."""
    return tuple(sorted(element.symbol for element in Composition(formula).elements))


def _part(elements: set[str], held: HeldOut) -> Part:
    if elements & set(held.test):
        return TEST
    folds = tuple(fold for fold, group in enumerate(held.folds) if elements & set(group))
    return folds[0] if len(folds) == 1 else folds
