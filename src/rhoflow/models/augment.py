"""Augmentation of square density images: random operations that leave what a slice says about its crystal.

``published``: Keras' RandomFlip and RandomRotation(0.2) of arXiv 2401.09301v1, sec. 4.1 (seed 001): both flips, each
with probability 1/2, then a turn by up to 0.2 of a full one either way, bilinear, filled by reflection at the edges.
The turned slice is that of a turned crystal, but the filled corners are no density.

``full``: a shift along the plane, then one of the eight symmetry operations of the square, each as likely. The shifts
are uniform over the lattice of the plane, rounded to whole pixels. What comes into the window from outside is looked
up one or more lattice vectors away, where it is inside, bilinear between pixels: the slice through another point of
the same crystal. The symmetry operations map pixels onto pixels, and the image is the slice of the turned or
mirrored crystal, whose scalar properties are the same (a mirror image has the energy, moduli and gap of the
crystal itself). An image that holds less than one cell of the lattice is not shifted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

LARGEST_TURN = 0.2  # of a full turn, as Keras' RandomRotation takes it
Augmentation = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def published(images: Tensor, periods: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and turn images (b, p, p) or (b, 3, p, p) at random."""
    n = len(images)
    flips = torch.rand((n, 2), generator=generator) < 0.5
    turns = (2 * torch.rand(n, generator=generator) - 1) * LARGEST_TURN
    flipped = _where(flips[:, 0], images.flip(-2), images)
    flipped = _where(flips[:, 1], flipped.flip(-1), flipped)
    return turn(flipped, turns)


def full(images: Tensor, periods: Tensor, generator: torch.Generator) -> Tensor:
    """Shift images (b, p, p) or (b, 3, p, p) along their plane, and give each an orientation of the square.

    Parameters
    ----------
    periods : (b, 2, 2) tensor
        In-plane lattice vectors, rows (x, y), in units of the image's side; 0: the image is not shifted.
    """
    images = shift(images, periods, torch.rand((len(images), 2), generator=generator) - 0.5)
    chosen = torch.randint(8, (len(images),), generator=generator).tolist()
    return torch.stack([orient(image, number) for image, number in zip(images, chosen, strict=True)])


def orient(image: Tensor, number: int) -> Tensor:
    """Apply operation 0..7 of the square to an image ([3,] p, p): quarter turns, from 4 on after a transposition."""
    return torch.rot90(image.mT if number >= 4 else image, number % 4, dims=(-2, -1))


def shift(images: Tensor, periods: Tensor, shares: Tensor) -> Tensor:
    """Move images by `shares` (b, 2) of their periods (b, 2, 2), rounded to whole pixels; see the module."""
    p = images.shape[-1]
    cells = p * periods.double()
    centre = torch.arange(p, dtype=torch.float64) - (p - 1) / 2
    y, x = torch.meshgrid(-centre, centre, indexing="ij")
    pixels = torch.stack([x, y], dim=-1)  # (p, p, 2), rows along -y
    moved = [_looked_up(pixels, cell, share.double()) for cell, share in zip(cells, shares, strict=True)]
    grid = torch.stack(moved) * (2 / p)
    grid[..., 1] *= -1  # grid_sample counts y downwards
    stack = images if images.ndim == 4 else images[:, None]
    shifted = nn.functional.grid_sample(stack, grid.to(images), padding_mode="border", align_corners=False)
    return shifted.view_as(images)


def _looked_up(pixels: Tensor, cell: Tensor, share: Tensor) -> Tensor:
    """Where (p, p, 2) the values of shifted pixels stand, all inside the window, in pixels from the centre."""
    border = len(pixels) / 2
    corners = torch.stack([cell.sum(0), cell[0] - cell[1]]).abs() / 2
    if torch.linalg.det(cell) == 0 or corners.max() > border - 1:
        return pixels
    moved = pixels + torch.round(share @ cell)
    lattice = torch.round(moved @ torch.linalg.inv(cell)) @ cell
    inside = moved.abs().amax(dim=-1, keepdim=True) < border
    return torch.where(inside, moved, moved - lattice)


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
