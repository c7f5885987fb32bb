"""Blocks of a network's parameters from the input on: one learns slower, and is unfrozen later, than the next."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from torch import nn

Blocks = list[list[nn.Parameter]]
# `layer.3.` of transformers, `resblocks.3.` of open_clip's transformers, `layer3.` of its ResNets
_NUMBERED = re.compile(r"(?:layers?\.|resblocks\.|\blayer)(\d+)\.")
# What stands before the numbered layers: embeddings of tokens, places and patches, and a ResNet's stem.
_FIRST = re.compile(r"(?!attnpool).*embedding|(?:conv|bn)\d\.|ln_pre\.")


def numbered_blocks(model: nn.Module) -> Blocks:
    """Every parameter once: embeddings or stem, then the layers by their numbers, then the rest."""
    blocks: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        layer = _NUMBERED.search(name)
        place = float(layer[1]) if layer else -1.0 if _FIRST.match(name) else math.inf
        blocks.setdefault(place, []).append(parameter)
    return [blocks[place] for place in sorted(blocks)]


def join_blocks(sides: Sequence[Blocks]) -> Blocks:
    """Join the blocks of several backbones from their ends: the longest one's first blocks stay alone."""
    depth = max(len(side) for side in sides)
    padded: list[Blocks] = [[[]] * (depth - len(side)) + side for side in sides]
    return [[parameter for block in row for parameter in block] for row in zip(*padded, strict=True)]
