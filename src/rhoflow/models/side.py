"""Numbers beside an image: what scaling to [-1, 1] and a window of whole cells take out of it."""

from __future__ import annotations

import torch
from torch import Tensor

from rhoflow.errors import StudyError
from rhoflow.models.backbones import Backbone, Images, Side, Texts
from rhoflow.models.blocks import Blocks
from rhoflow.models.inputs import ArrayInputs, Batch, Inputs, JointInputs

N_SIDE = 2  # amplitude [e/A^3] and lattice constant [A]


class SideBackbone(Backbone):
    """The features of an image and, behind them, its two side values, standardised.

    Their means and standard deviations are of the training part and belong to the saved state. So cached features of
    the folds of a pack are no longer the same, and are computed once a fold.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, image: Backbone) -> None:
        super().__init__()
        self.image = image
        self.n_features = image.n_features + N_SIDE
        self.register_buffer("mean", torch.zeros(N_SIDE))
        self.register_buffer("std", torch.ones(N_SIDE))

    def fit_side(self, side: Side) -> None:
        """Take mean and standard deviation of the training part; a constant value becomes 0."""
        spread = side.std(axis=0)
        spread[spread == 0] = 1.0
        self.mean.copy_(torch.from_numpy(side.mean(axis=0)))
        self.std.copy_(torch.from_numpy(spread))

    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make the image's inputs and the side values (n, 2).

        Raises
        ------
        StudyError
            If there are no side values.
        """
        if side is None:
            raise StudyError(
                "image.side_inputs: amplitude and lattice constant are needed beside the images, and are not given"
                " here; train with image.side_inputs: false"
            )
        values = torch.from_numpy(side.astype("float32"))
        return JointInputs(self.image.prepare(images, texts), ArrayInputs("side", values))

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Batch with its images turned or mirrored at random, which leaves both values as they are."""
        return self.image.augmented(batch, generator)

    def blocks(self) -> Blocks:
        """Blocks of the image's backbone."""
        return self.image.blocks()

    def forward(self, batch: Batch) -> Tensor:
        """Features (b, image's + 2)."""
        return torch.cat([self.image(batch), (batch["side"] - self.mean) / self.std], dim=1)
