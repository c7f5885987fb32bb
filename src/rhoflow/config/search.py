"""Settings of the hyper-parameter search."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from rhoflow.config.networks import NetworkName
from rhoflow.config.section import Fraction, Positive, Section


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range that is turned round."""
    if limits[0] > limits[1]:
        raise ValueError("the lower end comes first; equal ends leave nothing to search")
    return limits


_Order = AfterValidator(_ordered)
_Rates = Annotated[tuple[Positive, Positive], _Order]
_Sizes = Annotated[tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]], _Order]
_Shares = Annotated[tuple[Fraction, Fraction], _Order]
_Depths = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], _Order]


class Search(Section):
    """Hyper-parameter search inside the training part of each fold (docs/search.md)."""

    models: tuple[NetworkName, ...] = Field(
        (), description="networks whose settings are searched, once a target, text level and fold; none by default"
    )
    trials: int = Field(20, ge=1, description="settings tried, the study's own first")
    inner_folds: int = Field(3, ge=2, description="folds of the training part that score a trial")
    head_learning_rate: _Rates = Field((1e-5, 1e-2), description="range of training.readout.learning_rate (log)")
    backbone_learning_rate: _Rates = Field(
        (1e-6, 1e-3), description="range of training.finetune.learning_rate (log); not searched where it is frozen"
    )
    batch_size: _Sizes = Field((4, 64), description="range of the batch size of both stages (log)")
    dropout: _Shares = Field((0.0, 0.5), description="range of readout.dropout")
    weight_decay: _Rates = Field((1e-6, 1e-2), description="range of the weight decay of both stages (log)")
    unfreeze_blocks: _Depths = Field(
        (1, 16),
        description="range of training.finetune.unfreeze_blocks (log); more than the backbone has: all of them",
    )
