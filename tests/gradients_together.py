"""Two processes (gloo) and one: gradients and running statistics of a network with BatchNorm, in float64.

A script, run once a process: gradients_together.py <rank> <file to meet at>. The first prints the largest deviation
and the largest gradient.
"""

from __future__ import annotations

import copy
import sys

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rhoflow.training.distributed import ALONE, Share
from rhoflow.training.whole_batch import whole_batch_norm


class WithActivation(nn.BatchNorm2d):
    """As timm's: the layer does the activation, too."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def step(model: nn.Module, network: nn.Module, x: Tensor, y: Tensor, share: Share) -> None:
    """One backward pass of this process's share of a batch."""
    with whole_batch_norm(network, share):
        loss = nn.functional.mse_loss(model(share.of(x)), share.of(y))
        (loss * share.weight(len(x))).backward()


def deviation(one: nn.Module, other: nn.Module) -> float:
    gradients = [(a.grad, b.grad) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    return max(
        float((a - b).detach().abs().max())
        for a, b in [*gradients, *zip(one.buffers(), other.buffers(), strict=True)]
    )


if __name__ == "__main__":
    rank, meeting = int(sys.argv[1]), sys.argv[2]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    frozen = nn.BatchNorm2d(4)
    network = nn.Sequential(
        *(
            nn.Conv2d(1, 4, 3),
            WithActivation(4),
            frozen,
            nn.Flatten(),
            nn.Linear(64, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
        ),
        nn.Linear(6, 1),
    ).double()
    network.train()
    frozen.eval()  # as of pretrained weights
    x, y = torch.randn(5, 1, 6, 6, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)  # 3 rows and 2
    alone = copy.deepcopy(network)
    step(alone, alone, x, y, ALONE)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    together = DistributedDataParallel(network, find_unused_parameters=True, forward_sync_buffers=False)
    step(together, network, x, y, Share(rank, 2))
    if rank == 0:
        print(deviation(alone, network), max(float(p.grad.abs().max()) for p in alone.parameters()))
    torch.distributed.destroy_process_group()
