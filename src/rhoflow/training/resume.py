"""The state of an unfinished fit, in scratch: after a kill the fit goes on from there and ends with the same bytes.

Every epoch starts from a seed made of run, stage and epoch, so the random state needs no saving.
"""

from __future__ import annotations

import math
import pickle
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rhoflow.materials.digests import atomic

State = dict[str, Tensor]
SAVE_EVERY_S = 10.0


@dataclass
class StageState:
    """Where a stage of a fit stands.

    Attributes
    ----------
    epoch : int
        Epochs done.
    best_epoch, best_loss : int, float
        Epoch (from 1; 0 = the state before the stage) with the lowest validation loss [standardised target squared].
    best : state dict or None
        The trained module then; None while nothing was better than the state before the stage.
    model, optimizer : state dicts or None
        After `epoch`; None before the stage and after it.
    history : list of dict
        Columns of history.csv.
    stopped : str or None
        Why the stage ended; None while it runs.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    best: State | None = None
    model: State | None = None
    optimizer: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None


class ResumeFile:
    """The stages of one run, on disk.

    Parameters
    ----------
    path : Path
        The file.
    digest : str
        Of everything the run's result depends on; a file with another digest is ignored.
    every_s : float
        Least time between two saves [s]; a resume repeats what was not saved, so results do not depend on it.
    writes : bool
        False for a process that only takes part: it reads the file, and the first one writes it.
    """

    def __init__(self, path: Path, digest: str, *, every_s: float = SAVE_EVERY_S, writes: bool = True) -> None:
        self.writes = writes
        self.path = path
        self.digest = digest
        self.every_s = every_s
        self._saved_s = time.monotonic()

    def load(self) -> dict[str, StageState]:
        """Stages by name; none if there is no file of this very run that can be read."""
        if not self.path.exists():
            return {}
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            print(f"{self.path}: cannot be read ({error}); this run starts anew", file=sys.stderr)
            return {}
        if saved["digest"] != self.digest:
            return {}
        return {name: StageState(**state) for name, state in saved["stages"].items()}

    def save(self, stages: dict[str, StageState], *, now: bool) -> None:
        """Save atomically if `now`, or if the last save is old enough."""
        if not self.writes:
            return
        if not now and time.monotonic() - self._saved_s < self.every_s:
            return
        with atomic(self.path) as file:
            torch.save({"digest": self.digest, "stages": {name: vars(state) for name, state in stages.items()}}, file)
        self._saved_s = time.monotonic()
