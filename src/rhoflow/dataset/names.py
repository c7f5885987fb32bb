"""Names of the parts of a split and of the levels of a view; light, because the Snakefile asks for them."""

from __future__ import annotations

from typing import get_args

from rhoflow.config import Level

PARTS = ("train", "val", "test")
TEXT_LEVELS: tuple[str, ...] = get_args(Level)
# What a training sees that reads no text: images and formulas, or quantiles of the density.
NO_TEXT = "none"
DENSITY = "density"
LEVELS = (NO_TEXT, DENSITY, *TEXT_LEVELS)
