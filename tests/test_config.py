"""What a wrong configuration is told."""

from __future__ import annotations

from typing import Any

import pytest

from rhoflow.config import load_study
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
    "seed twice": ({"seeds": [0, 0]}, r"seeds .*only once"),
}


@pytest.mark.parametrize(("config", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_config_names_key_value_and_remedy(config: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study(config)
