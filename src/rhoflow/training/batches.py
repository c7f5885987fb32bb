"""Which materials make a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rhoflow.models.inputs import Batch, Inputs
from rhoflow.training.distributed import ALONE, Share

EVAL_BATCH = 64
Item = tuple[Batch, Tensor]


class EvenBatches:
    """Shuffled batches of nearly equal size; every epoch sees every material once.

    Sizes differ by one at most and are never 1, which BatchNorm could not train on: 17 materials in batches of 16
    become 9 and 8.

    Parameters
    ----------
    rows : sequence of int
        The training materials.
    size : int
        Largest batch, at least 2 (one more where that avoids a batch of 1).
    seed : callable
        Seed of an epoch's order, from the epoch's number.
    first_epoch : int
        Number of the first epoch, above 0 after a resume.
    share : Share
        Of each batch only the materials of this process are given.
    """

    def __init__(
        self,
        rows: Sequence[int],
        size: int,
        seed: Callable[[int], int],
        first_epoch: int = 0,
        share: Share = ALONE,
    ) -> None:
        if len(rows) < 2:
            raise ValueError(f"{len(rows)} training material: BatchNorm needs at least 2; add materials")
        self.rows = torch.as_tensor(list(rows))
        self.n_batches = n_batches(len(rows), size)
        self.seed = seed
        self.first_epoch = first_epoch
        self.epoch = first_epoch
        self.share = share

    def set_epoch(self, epoch: int) -> None:
        """Take the number of epochs since the (re)start; Lightning calls this."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Sequence[int]]:
        generator = torch.Generator().manual_seed(self.seed(self.epoch))
        order = self.rows[torch.randperm(len(self.rows), generator=generator)]
        return iter([self.share.of(chunk.tolist()) for chunk in torch.tensor_split(order, self.n_batches)])

    @property
    def sizes(self) -> list[int]:
        """How many materials each batch of an epoch has, those of all processes together."""
        return [len(chunk) for chunk in torch.tensor_split(self.rows, self.n_batches)]

    def weights(self, accumulate: int) -> list[float]:
        """Factors on the mean losses of the batches that make a step's gradient the mean over all its materials.

        Lightning averages over the processes and divides by `accumulate`, also in an epoch's last group of batches,
        which may hold fewer; and batches may differ by one material.
        """
        groups = [self.sizes[start : start + accumulate] for start in range(0, self.n_batches, accumulate)]
        return [self.share.weight(n) * (n * accumulate / sum(group)) for group in groups for n in group]


def n_batches(n: int, size: int) -> int:
    """How many even batches of at most `size` hold n >= 2 materials, none of them alone."""
    needed = math.ceil(n / size)
    return needed if n // needed >= 2 else n // 2


class _Rows(Dataset[Item]):
    """Batches by lists of row numbers, each with its standardised target."""

    def __init__(self, inputs: Inputs, z: Tensor) -> None:
        self.inputs = inputs
        self.z = z

    def __getitem__(self, rows: Any) -> Item:
        return self.inputs[rows], self.z[rows]


def loader(inputs: Inputs, z: Tensor, batches: Any) -> DataLoader[Item]:
    """DataLoader of some batches (lists of rows); it never touches torch's global random state."""
    return DataLoader(_Rows(inputs, z), batch_size=None, sampler=batches, generator=torch.Generator())


def in_order(rows: Sequence[int]) -> list[list[int]]:
    """Split rows into batches for evaluation, in their order."""
    return [list(rows[start : start + EVAL_BATCH]) for start in range(0, len(rows), EVAL_BATCH)]
