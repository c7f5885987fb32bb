"""The papers' readout: dense layers that narrow to 256, then one number, or two for a target that is often zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Readout(nn.Module):
    """Dense layers with ReLU, BatchNorm and dropout after each but the last (arXiv 2401.09301v3, sec. 3).

    Four layers with the default three `widths`. BatchNorm in training needs two materials a batch.

    Parameters
    ----------
    n_features : int
        Width of the input.
    widths : sequence of int
        Widths of the layers before the last, e.g. ``(1024, 512, 256)``; none for a single linear layer.
    dropout : float
        Share of values dropped in training.
    batch_norm : bool
        Leave BatchNorm out if False.
    two_part : bool
        Predict the chance p of not being zero and the value v of what is not zero; the prediction is their mean,
        p v + (1 - p) 0, with the 0 where standardising moves it: a hurdle model (Cragg, Econometrica 39, 829, 1971;
        Mullahy, J. Econometrics 33, 341, 1986). `place_zero` says where zero is.
    """

    zero: Tensor
    near: Tensor

    def __init__(
        self,
        n_features: int,
        widths: Sequence[int],
        dropout: float,
        *,
        batch_norm: bool = True,
        two_part: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((n_features, *widths), widths, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
            layers += [nn.BatchNorm1d(after)] if batch_norm else []
            layers += [nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.n_penultimate = (n_features, *widths)[-1]
        self.last = nn.Linear(self.n_penultimate, 2 if two_part else 1)
        self.two_part = two_part
        if two_part:
            self.register_buffer("zero", torch.tensor(0.0))
            self.register_buffer("near", torch.tensor(0.0))

    def place_zero(self, zero: float, near: float) -> None:
        """Say where zero is, and how near to it counts as zero, both of the standardised target."""
        self.zero.fill_(zero)
        self.near.fill_(near)

    def penultimate(self, features: Tensor) -> Tensor:
        """Last hidden vector (b, n_penultimate) of features (b, n_features)."""
        hidden: Tensor = self.hidden(features)
        return hidden

    def forward(self, features: Tensor) -> Tensor:
        """Standardised target (b,) of features (b, n_features)."""
        prediction: Tensor = self.last(self.hidden(features))
        if not self.two_part:
            return prediction.squeeze(-1)
        logit, value = prediction.unbind(-1)
        return self.zero + torch.sigmoid(logit) * (value - self.zero)

    def loss(self, features: Tensor, z: Tensor) -> Tensor:
        """Mean over a batch of what training lowers.

        The squared error of the standardised target z (b,). In two parts: the cross entropy of zero or not, and the
        squared error of the value where the target is not zero.
        """
        if not self.two_part:
            return nn.functional.mse_loss(self(features).float(), z)
        logit, value = self.last(self.hidden(features)).float().unbind(-1)
        other = ((z - self.zero).abs() > self.near).float()
        squared = other * (value - z) ** 2
        loss: Tensor = nn.functional.binary_cross_entropy_with_logits(logit, other) + squared.mean()
        return loss
