"""Names of the parts of a split and of the levels of a view; light, because the Snakefile asks for them."""

from __future__ import annotations

from typing import get_args

from rhoflow.config import Level

PARTS = ("train", "val", "test")
TEXT_LEVELS: tuple[str, ...] = get_args(Level)
# What a training sees that reads no text: images and formulas, quantiles of the density, embeddings of the structure.
NO_TEXT = "none"
DENSITY = "density"
STRUCTURE = "structure"
LEVELS = (NO_TEXT, DENSITY, STRUCTURE, *TEXT_LEVELS)

SLICES = "slices"  # folder of the study's images
EMBEDDINGS = "embeddings"  # folder of the structures' embeddings, where a baseline reads them
IMAGES = "images"  # folder of other images of the same crystals (ablation.images), each in one by its name


def image_level(name: str) -> str:
    """Level of the views with other images, ``none-<name>``."""
    return f"{NO_TEXT}-{name}"


def images_of(level: str) -> str | None:
    """Name of the other images that a level is about; None of the study's own, and of a level without images."""
    prefix = image_level("")
    return level.removeprefix(prefix) if level.startswith(prefix) and level != prefix else None


def image_folder(name: str | None) -> str:
    """Folder below the study's results with the images of that name, or the study's own."""
    return f"{IMAGES}/{name}" if name else SLICES
