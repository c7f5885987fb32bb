"""Which check speaks up, on made-up crystals."""

from __future__ import annotations

from typing import Any

import pytest

from rhoflow.config import Fences
from rhoflow.errors import Reason
from rhoflow.predict import Ensemble
from rhoflow.predict.card import Card, Seen
from rhoflow.predict.checks import Checks
from rhoflow.predict.crystals import NewCrystal


@pytest.fixture
def card(image: Ensemble) -> Card:
    """Na (7 electrons, core 24) and LiCl (8), with fences that let both pass."""
    seen = (Seen(formula="Na", electrons=7, maximum=24), Seen(formula="LiCl", electrons=8, maximum=9))
    return image.card.model_copy(update={"seen": seen, "fences": Fences(minimum=(-1, 1), maximum=(5, 40))})


def crystal(**changes: Any) -> NewCrystal:
    known: dict[str, Any] = {"composition": {"Na": 2.0}, "electrons": 14.0, "extremes": (0.0, 24.0)}
    return NewCrystal("CHGCAR", **known | changes)


def reasons(card: Card, one: NewCrystal, *, densities: bool = True) -> list[Reason]:
    return [error.reason for error in Checks(card, densities=densities).look(one)[0]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"composition": {"Na": 1.0, "K": 1.0}}, [Reason.UNSEEN_ELEMENT]),
        ({"electrons": 2.0}, [Reason.OTHER_ENGINE]),
        ({"extremes": (0.0, 15.0)}, [Reason.OTHER_ENGINE]),  # below 24 / 1.5
        ({"extremes": (0.0, 37.0)}, [Reason.OTHER_ENGINE]),  # above 24 x 1.5
        ({"extremes": (0.0, 35.0)}, []),
        ({"extremes": (-2.0, 24.0)}, [Reason.OUTLIER]),
        ({"extremes": (0.0, 41.0), "electrons": 2.0}, [Reason.OUTLIER, Reason.OTHER_ENGINE, Reason.OTHER_ENGINE]),
    ],
)
def test_reasons(card: Card, changes: dict[str, Any], expected: list[Reason]) -> None:
    assert reasons(card, crystal(**changes)) == expected


def test_networks_on_text_ask_for_elements_alone(card: Card) -> None:
    odd = {"electrons": 2.0, "extremes": (-2.0, 41.0)}
    assert reasons(card, crystal(**odd), densities=False) == []
    assert reasons(card, crystal(composition={"K": 1.0}), densities=False) == [Reason.UNSEEN_ELEMENT]


def test_cores_are_asked_for_in_fields_that_show_them(card: Card) -> None:
    spin = card.model_copy(update={"study": card.study | {"field": "spin"}})
    assert reasons(spin, crystal(extremes=(0.0, 6.0))) == []
    assert reasons(card, crystal(extremes=(0.0, 6.0))) == [Reason.OTHER_ENGINE]


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ((("Na", 7), ("LiCl", 8)), "do not tell its elements apart"),
        ((("Na", 7), ("LiCl", 8), ("Li", 1), ("Li", 3)), "more than one set of potentials"),
    ],
)
def test_count_that_cannot_be_checked_is_a_warning(
    card: Card, seen: tuple[tuple[str, float], ...], message: str
) -> None:
    made = tuple(Seen(formula=formula, electrons=count, maximum=9) for formula, count in seen)
    one = crystal(composition={"Li": 1.0}, electrons=5.0, extremes=(0.0, 9.0))
    doubts, unchecked = Checks(card.model_copy(update={"seen": made}), densities=True).look(one)
    assert doubts == []
    assert len(unchecked) == 1
    assert message in unchecked[0]
