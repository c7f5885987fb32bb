"""BatchNorm over a batch that is dealt out among processes, as one process would see it.

torch's own layer for that (SyncBatchNorm) works on GPUs alone, and takes the place of timm's layers, which hold an
activation as well.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rhoflow.training.distributed import Share


@contextlib.contextmanager
def whole_batch_norm(model: nn.Module, share: Share) -> Iterator[None]:
    """Let the BatchNorm layers of `model` that are in training mode take the statistics of all processes together."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)] if share.n > 1 else []
    for layer in layers:
        layer.forward = functools.partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: _BatchNorm, x: Tensor) -> Tensor:
    """Do as the layer does, here with mean and variance over (b, c, ...) of all processes."""
    if not layer.training:
        own: Tensor = type(layer).forward(layer, x)
        return own
    axes = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    values = x.to(torch.promote_types(x.dtype, torch.float32))  # under bfloat16 sums would be coarse
    count = torch.tensor([float(x.numel() // x.shape[1])], device=x.device)
    sums = _sum_of_all(torch.cat([values.sum(axes), count]))
    n, mean = sums[-1], sums[:-1] / sums[-1]
    apart = values - mean.view(shape)
    variance = _sum_of_all(apart.square().sum(axes)) / n
    _track(layer, mean.detach(), variance.detach() * n / (n - 1))
    scaled = apart * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.affine:
        scaled = scaled * layer.weight.view(shape) + layer.bias.view(shape)
    scaled = scaled.to(x.dtype)
    # timm's layers go on with these two
    for name in ("drop", "act"):
        scaled = getattr(layer, name, nn.Identity())(scaled)
    return scaled


def _track(layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards those of a batch."""
    if not layer.track_running_stats or layer.running_mean is None or layer.running_var is None:
        return
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance, share)


class _Sum(torch.autograd.Function):
    """Sum over all processes; what flows back is summed too, since every process's loss depends on it."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _sum_of_all(mine: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(mine)  # type: ignore[no-untyped-call]
    return total
