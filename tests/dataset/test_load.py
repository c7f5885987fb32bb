"""What a training sees, as one object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rhoflow.dataset.load import View

IDS = np.array(["a", "b", "c"])
PART = np.array(["train", "val", "test"])
Y = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([1.0])}, "View.y: 1 entries for 3 ids"),
        ({"texts": ("one",)}, "View.texts: 1 entries for 3 ids"),
        ({"part": np.array(["train", "valid", "test"])}, "'valid' is unknown; allowed: train, val, test"),
        ({"y": np.array([1.0, np.nan, 2.0])}, "the target of b is not finite"),
    ],
    ids=["y", "texts", "part", "nan"],
)
def test_bad_view_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        View(**({"ids": IDS, "part": PART, "y": Y} | change))


@pytest.mark.parametrize(
    "change",
    [
        {"y": Y + 1e-9},
        {"part": np.array(["val", "train", "test"])},
        {"images": np.zeros((3, 2, 2), np.float32)},
        {"quantiles": np.zeros((3, 21))},
        {"formulas": ("x", "y", "z")},
        {"texts": ("x", "y", "z")},
        {"side": np.zeros((3, 2))},
    ],
    ids=["y", "part", "images", "quantiles", "formulas", "texts", "side"],
)
def test_digest_changes_with_everything_a_training_sees(change: dict[str, Any]) -> None:
    fields = {"ids": IDS, "part": PART, "y": Y}
    assert View(**fields).digest() == View(**fields).digest()
    assert View(**fields).digest() != View(**(fields | change)).digest()


def test_formulas_and_texts_are_not_mistaken_for_each_other() -> None:
    words = ("x", "y", "z")
    assert View(IDS, PART, Y, formulas=words).input_digest() != View(IDS, PART, Y, texts=words).input_digest()
