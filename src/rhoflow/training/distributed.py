"""A training in several processes of one machine, each with a GPU of its own (on a CPU: with none).

The first process trains; Lightning starts the others, as the same command, when the first distributed stage begins.
Batches are those of a training in one process, in the same order: every process takes each n-th material of a batch,
and its loss weighs as much as its share, so that the averaged gradient is that of the whole batch. The first process
alone decides when to stop, and writes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from rhoflow.errors import StudyError

_RANK = "LOCAL_RANK"  # Lightning tells the processes that it starts who they are
_LOOK_EVERY_S = 1.0
Row = TypeVar("Row")


@dataclass(frozen=True)
class Share:
    """Which of the processes of a training this one is.

    Attributes
    ----------
    rank : int
        From 0, which is the one that writes.
    n : int
        How many there are.
    """

    rank: int = 0
    n: int = 1

    @property
    def first(self) -> bool:
        """Whether this process decides and writes."""
        return self.rank == 0

    def of(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows of a batch or part that are this process's."""
        return rows[self.rank :: self.n]

    def weight(self, n_rows: int) -> float:
        """Factor on this process's mean loss; averaged over all processes it gives the mean of all `n_rows` rows."""
        return len(range(self.rank, n_rows, self.n)) * self.n / n_rows


ALONE = Share()


def join(devices: int, threads: int) -> Share:
    """Say which process of a training this is, and take its GPU.

    Parameters
    ----------
    devices : int
        The setting `training.devices`.
    threads : int
        CPU threads of each process; Lightning would else choose a number of its own.

    Raises
    ------
    StudyError
        If there are GPUs, but fewer.
    """
    if devices == 1:
        return ALONE
    if torch.cuda.is_available() and torch.cuda.device_count() < devices:
        raise StudyError(
            f"training.devices = {devices}: this job sees {torch.cuda.device_count()} GPU(s); set `gpu: {devices}`"
            " for the rule in the profile (profiles/default: resources: gpu), or training.devices lower"
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    share = Share(int(os.environ.get(_RANK, "0")), devices)
    if torch.cuda.is_available():
        torch.cuda.set_device(share.rank)
    if not share.first:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    return share


def _end_with(parent: int) -> None:
    """End this process when the first one is gone: killed, it cannot say so."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


def check_batches(name: str, smallest: int, n_val: int, share: Share) -> None:
    """Stop where a process would have nothing to do.

    Parameters
    ----------
    name : str
        Of the stage.
    smallest, n_val : int
        Materials of the smallest batch and of the validation part.
    """
    if min(smallest, n_val) < share.n:
        raise StudyError(
            f"training.devices = {share.n}: a batch of {smallest} materials and {n_val} in the validation part"
            f" cannot be dealt out among so many; raise training.{name}.batch_size, or set training.devices lower"
        )
