"""What is searched, and how chosen values become the settings of a training; light, because every training asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from rhoflow.config import Search, Section, Training

Values = Mapping[str, float]
SETTINGS = (
    "head_learning_rate",
    "backbone_learning_rate",
    "batch_size",
    "dropout",
    "weight_decay",
    "unfreeze_blocks",
)
# Searched only where the backbone is trained, and only where the network has the papers' readout.
FINETUNED = ("backbone_learning_rate", "unfreeze_blocks")
OF_READOUT = "dropout"
# On a logarithmic scale, and whole numbers.
LOGARITHMIC = ("head_learning_rate", "backbone_learning_rate", "batch_size", "weight_decay", "unfreeze_blocks")
WHOLE = ("batch_size", "unfreeze_blocks")

Changed = TypeVar("Changed", bound=Section)


def ranges(search: Search, options: Section, *, frozen: bool) -> dict[str, tuple[float, float]]:
    """Lower and upper end of each searched setting of a network, both included.

    Parameters
    ----------
    options : Section
        What the network depends on.
    frozen : bool
        Whether its backbone stays frozen: then settings of the second stage are left out.
    """
    left_out = {*(FINETUNED if frozen else ()), *(() if hasattr(options, "readout") else (OF_READOUT,))}
    return {name: getattr(search, name) for name in SETTINGS if name not in left_out}


def own_values(limits: Mapping[str, tuple[float, float]], options: Section, training: Training) -> dict[str, float]:
    """Values of the study's own settings, moved into the ranges."""
    own = {
        "head_learning_rate": training.readout.learning_rate,
        "backbone_learning_rate": training.finetune.learning_rate,
        "batch_size": training.readout.batch_size,
        "weight_decay": training.readout.weight_decay,
        "unfreeze_blocks": training.finetune.unfreeze_blocks or limits.get("unfreeze_blocks", (0, 0))[1],
    }
    if OF_READOUT in limits:
        own[OF_READOUT] = options.readout.dropout  # type: ignore[attr-defined]
    return {name: min(max(own[name], low), high) for name, (low, high) in limits.items()}


def with_values(options: Section, training: Training, values: Values) -> tuple[Section, Training]:
    """Put chosen values into the settings of a network and of its training."""
    both = {name: values[name] for name in ("batch_size", "weight_decay") if name in values}
    readout = both | _renamed(values, {"head_learning_rate": "learning_rate"})
    finetune = both | _renamed(
        values, {"backbone_learning_rate": "learning_rate", "unfreeze_blocks": "unfreeze_blocks"}
    )
    stages = {"readout": _changed(training.readout, readout), "finetune": _changed(training.finetune, finetune)}
    if OF_READOUT in values:
        options = _changed(options, {"readout": {**options.model_dump()["readout"], OF_READOUT: values[OF_READOUT]}})
    return options, training.model_copy(update=stages)


def _renamed(values: Values, names: Mapping[str, str]) -> dict[str, float]:
    return {setting: values[name] for name, setting in names.items() if name in values}


def _changed(section: Changed, update: Mapping[str, Any]) -> Changed:
    """Copy of a section with some settings changed, and checked."""
    return type(section).model_validate({**section.model_dump(), **update})
