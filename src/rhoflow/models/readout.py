"""The papers' readout: dense layers that narrow to 256, then one number."""

from __future__ import annotations

from collections.abc import Sequence

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
    """

    def __init__(self, n_features: int, widths: Sequence[int], dropout: float, *, batch_norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((n_features, *widths), widths, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
            layers += [nn.BatchNorm1d(after)] if batch_norm else []
            layers += [nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.n_penultimate = (n_features, *widths)[-1]
        self.last = nn.Linear(self.n_penultimate, 1)

    def penultimate(self, features: Tensor) -> Tensor:
        """Last hidden vector (b, n_penultimate) of features (b, n_features)."""
        hidden: Tensor = self.hidden(features)
        return hidden

    def forward(self, features: Tensor) -> Tensor:
        """Standardised target (b,) of features (b, n_features)."""
        prediction: Tensor = self.last(self.hidden(features))
        return prediction.squeeze(-1)
