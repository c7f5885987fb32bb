"""Augmentation of square density images: random operations that leave what a slice says about its crystal.

``published``: Keras' RandomFlip and RandomRotation(0.2) of arXiv 2401.09301v1, sec. 4.1 (seed 001): both flips, each
with probability 1/2, then a turn by up to 0.2 of a full one either way, bilinear, filled by reflection at the edges.
The turned slice is that of a turned crystal, but the filled corners are no density.

``full``: one of the eight symmetry operations of the square, each as likely. They map pixels onto pixels, so nothing
is interpolated or made up, and the image is the slice of the turned or mirrored crystal, whose scalar properties
are the same (a mirror image has the energy, moduli and gap of the crystal itself). Three planes of an image are
changed alike. Periodic translations are left
out: a square window holds a whole number of periods only for some planes and cells (never for (111), whose
in-plane lattice is hexagonal), and elsewhere a cyclic shift would put a seam into the image that no crystal has.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

LARGEST_TURN = 0.2  # of a full turn, as Keras' RandomRotation takes it
Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def published(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and turn images (b, p, p) or (b, 3, p, p) at random."""
    n = len(images)
    flips = torch.rand((n, 2), generator=generator) < 0.5
    turns = (2 * torch.rand(n, generator=generator) - 1) * LARGEST_TURN
    flipped = _where(flips[:, 0], images.flip(-2), images)
    flipped = _where(flips[:, 1], flipped.flip(-1), flipped)
    return turn(flipped, turns)


def full(images: Tensor, generator: torch.Generator) -> Tensor:
    """Give each of the images (b, p, p) or (b, 3, p, p) one of the eight orientations of a square."""
    chosen = torch.randint(8, (len(images),), generator=generator).tolist()
    return torch.stack([orient(image, number) for image, number in zip(images, chosen, strict=True)])


def orient(image: Tensor, number: int) -> Tensor:
    """Apply operation 0..7 of the square to an image ([3,] p, p): quarter turns, from 4 on after a transposition."""
    return torch.rot90(image.mT if number >= 4 else image, number % 4, dims=(-2, -1))


def turn(images: Tensor, turns: Tensor) -> Tensor:
    """Turn images (b, p, p) or (b, 3, p, p) by fractions (b,) of a full turn, against the clock; edges reflect."""
    cos, sin, zero = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns), torch.zeros_like(turns)
    matrices = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3).to(images)
    stack = images if images.ndim == 4 else images[:, None]
    grid = nn.functional.affine_grid(matrices, list(stack.shape), align_corners=False)
    turned = nn.functional.grid_sample(stack, grid, padding_mode="reflection", align_corners=False)
    return turned.view_as(images)


def _where(chosen: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (no.ndim - 1)).to(no.device), yes, no)


AUGMENTATIONS: dict[str, Augmentation] = {"published": published, "full": full}
