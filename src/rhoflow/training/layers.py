"""How fast the parameters learn: over the epochs, and block by block of the backbone.

Everything is a function of the epoch's number, so a resumed fit needs no more state than the optimiser's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from rhoflow.config import FinetuneStage, Stage

Groups = list[dict[str, Any]]


def learning_rate(stage: Stage, epoch: int) -> float:
    """Learning rate of the readout in an epoch (from 0)."""
    if stage.schedule == "constant":
        return stage.learning_rate
    return stage.learning_rate * (1 + math.cos(math.pi * epoch / stage.epochs)) / 2


class Layers:
    """The blocks of a backbone: each learns slower than the one after it, and is unfrozen after it.

    Parameters
    ----------
    blocks : sequence of sequences of parameters
        From the input on.
    stage : FinetuneStage
        Its `layer_decay`, `unfreeze_every` and `unfreeze_blocks`.
    """

    def __init__(self, blocks: Sequence[Sequence[nn.Parameter]], stage: FinetuneStage) -> None:
        self.from_top = [list(block) for block in reversed(blocks)]
        self.decay = stage.layer_decay
        self.every = stage.unfreeze_every
        self.depth = min(stage.unfreeze_blocks or len(blocks), len(blocks))

    @property
    def always_open(self) -> bool:
        """Whether no block is ever frozen."""
        return not self.every and self.depth == len(self.from_top)

    def groups(self, model: nn.Module) -> Groups:
        """Parameter groups of the optimiser with their `scale` of the learning rate; those outside blocks have 1."""
        if self.decay == 1:
            return plain_groups(model)
        inside = {id(parameter) for block in self.from_top for parameter in block}
        outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
        scaled = [(block, self.decay ** (place + 1)) for place, block in enumerate(self.from_top)]
        return [{"params": params, "scale": scale} for params, scale in [(outside, 1.0), *scaled]]

    def n_open(self, epoch: int) -> int:
        """How many blocks are trained in an epoch (from 0)."""
        return min(self.depth, 1 + epoch // self.every) if self.every else self.depth

    def unfreeze(self, model: nn.Module, epoch: int) -> None:
        """Freeze and unfreeze for an epoch; BatchNorm of frozen blocks keeps its statistics, as in Keras."""
        if self.always_open:
            return
        for place, block in enumerate(self.from_top):
            for parameter in block:
                parameter.requires_grad_(place < self.n_open(epoch))
        model.train()
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and _is_frozen(layer):
                layer.eval()

    def open_all(self) -> None:
        """Leave no parameter frozen behind."""
        for block in self.from_top:
            for parameter in block:
                parameter.requires_grad_(True)


def plain_groups(model: nn.Module) -> Groups:
    """Return all parameters in one group."""
    return [{"params": list(model.parameters()), "scale": 1.0}]


def _is_frozen(layer: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in layer.parameters())
