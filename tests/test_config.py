"""What a wrong configuration is told."""

from __future__ import annotations

from typing import Any

import pytest

from rhoflow.config import ELEMENTS, load_study
from rhoflow.errors import StudyError

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"slcies": {}}, r"slcies: unknown key \(did you mean 'slices'\?\)"),
    "unknown nested key": ({"slices": {"pixel": 9}}, r"slices.pixel: unknown key \(did you mean 'pixels'\?\)"),
    "unknown target": ({"targets": ["k_vhr"]}, r"unknown target 'k_vhr' \(did you mean 'k_vrh'\?\); known: nsites"),
    "impossible folds": ({"splits": {"folds": 1}}, r"splits.folds = 1: .* greater than or equal to 2"),
    "negative window": ({"slices": {"window": {"angstrom": -3}}}, r"slices.window.angstrom = -3: .* greater than 0"),
    "two windows": ({"slices": {"window": {"cells": 8, "angstrom": 9}}}, r"exactly one of cells and angstrom"),
    "null plane": ({"slices": {"plane": [0, 0, 0]}}, r"is no plane"),
    "fusion alone": ({"models": ["fusion"]}, r"list image and text too"),
    "path as name": ({"study": "../x"}, r"study = '../x'"),
    "plane misspelt": ({"slices": {"plane": "dense"}}, r"slices.plane = 'dense': Input should be 'densest'"),
    "plane of letters": ({"slices": {"plane": ["h", 1, 1]}}, r"slices.plane.0 = 'h': .* valid integer"),
    "through misspelt": ({"slices": {"through": "heavy"}}, r"through = 'heavy': .*did you mean 'heaviest'\?"),
    "through no element": ({"slices": {"through": "Xx"}}, r"through = 'Xx': must be heaviest, mean, an element's"),
    "through quoted number": ({"slices": {"through": "0.5"}}, r"through = '0.5': .* a number without quotes"),
    "through nowhere": ({"slices": {"through": float("nan")}}, r"slices.through = nan: must be heaviest"),
    "fence of minima turned round": (
        {"clean": {"fences": {"minimum": [0.2, 0.1], "maximum": [1, 2]}}},
        r"clean.fences.minimum = \[0.2, 0.1\]: the lowest allowed value comes first",
    ),
    "fence of maxima turned round": (
        {"clean": {"fences": {"minimum": [0.1, 0.2], "maximum": [2, 1]}}},
        r"clean.fences.maximum = \[2, 1\]: the lowest allowed value comes first",
    ),
    "unknown key of fences": (
        {"clean": {"fences": {"minimum": [0, 1], "maximum": [1, 2], "minimal": 0}}},
        r"clean.fences.minimal: unknown key \(did you mean 'minimum'\?\); allowed here: minimum, maximum",
    ),
    "no readout": ({"readout": {"widths": []}}, r"readout.widths = \[\]: .* at least 1 item"),
    "empty layer": ({"readout": {"widths": [16, 0]}}, r"readout.widths.1 = 0: .* greater than or equal to 1"),
    "negative seed": ({"seeds": [0, -1]}, r"seeds.1 = -1: .* greater than or equal to 0"),
    "seed twice": ({"seeds": [0, 0]}, r"seeds .*only once"),
}


@pytest.mark.parametrize(("config", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_config_names_key_value_and_remedy(config: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study(config)


def test_union_tags_are_no_part_of_the_path() -> None:
    with pytest.raises(StudyError) as caught:
        load_study({"slices": {"plane": "dense", "through": [1]}})
    keys = {line.removeprefix("config:").split("=")[0].strip() for line in str(caught.value).splitlines()}
    assert keys == {"slices.plane", "slices.through"}


@pytest.mark.parametrize("through", ["heaviest", "mean", "Cl", "U", 0.5, 0, -1])
def test_every_way_to_name_the_site_is_accepted(through: str | float) -> None:
    assert load_study({"slices": {"through": through}}).slices.through == through


def test_elements_are_those_of_the_periodic_table() -> None:
    from pymatgen.core import Element

    assert tuple(Element.from_Z(number).symbol for number in range(1, 119)) == ELEMENTS


def test_fence_may_be_a_single_value() -> None:
    fences = load_study({"clean": {"fences": {"minimum": [0, 0], "maximum": [1, 2]}}}).clean.fences
    assert fences is not None
    assert (fences.minimum, fences.maximum) == ((0, 0), (1, 2))
