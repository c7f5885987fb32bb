"""Lightning, as quiet and reproducible as rhoflow wants it: the one place where a Trainer is made."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rhoflow.config import Stage
from rhoflow.errors import StudyError
from rhoflow.models import torchvision_schemas  # noqa: F401  (before lightning)
from rhoflow.training.distributed import ALONE, Share

# isort: split
import lightning
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

# Narrow on purpose: each message, why it does not matter here.
_NOT_NEWS = (
    r".*does not have many workers.*",  # all data are in memory; workers would only change the order of things
    r".*module\(s\) in eval mode at the start of training.*",  # BatchNorm that keeps its statistics
    r".*`srun` command is available.*",  # on a login node, or on one node with SLURM installed: that is meant
    r".*find_unused_parameters=True was specified in DDP constructor.*",  # some models use all theirs
    r".*isinstance\(treespec, LeafSpec\).*",  # lightning 2.6 builds a class that torch 2.13 calls old
)


FLOAT32 = "32-true"  # as Lightning names them
BFLOAT16 = "bf16-mixed"


def steps_precision(setting: int | str) -> str:
    """Lightning's name for `training.precision` on this machine.

    Raises
    ------
    StudyError
        If bfloat16 is asked for where no GPU has it.
    """
    has_it = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if setting == "bf16" and not has_it:
        raise StudyError(
            "training.precision = 'bf16': no GPU with bfloat16 here; set it to 32, or to auto, which is bf16 where a"
            " GPU has it"
        )
    return BFLOAT16 if setting != 32 and has_it else FLOAT32


@contextlib.contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Deterministic torch with a fixed number of CPU threads, as before afterwards.

    On a CPU the same seed gives the same bytes. On a GPU operations without a deterministic form still run.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=warn_only)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _NOT_NEWS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def trainer(
    *,
    max_epochs: int = 1,
    callbacks: Sequence[Any] = (),
    stage: Stage | None = None,
    precision: str = FLOAT32,
    share: Share = ALONE,
) -> Iterator[Any]:
    """Lightning Trainer on the GPU if there is one, without loggers, bars, checkpoints or files of its own.

    Parameters
    ----------
    stage : Stage or None
        Its `clip_norm` and `accumulate`, for a fit.
    precision : str
        As `steps_precision` names it.
    share : Share
        Of several processes: they fit together. Otherwise this process works alone, on its own GPU.
    """
    own_gpu = [torch.cuda.current_device()] if torch.cuda.is_available() else 1
    together = share.n > 1
    with _quiet_lightning():
        yield lightning.Trainer(
            accelerator="auto",
            devices=share.n if together else own_gpu,
            # Frozen blocks have no gradient. Buffers would be exchanged in validation, where processes may differ in
            # the number of steps; they are equal anyway (`training.whole_batch`).
            strategy=DDPStrategy(find_unused_parameters=True, forward_sync_buffers=False) if together else "auto",
            max_epochs=max_epochs,
            callbacks=list(callbacks),
            gradient_clip_val=None if stage is None else stage.clip_norm,
            accumulate_grad_batches=1 if stage is None else stage.accumulate,
            precision=precision,
            plugins=LightningEnvironment(),  # its processes are its own, whatever SLURM variables say
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            inference_mode=False,  # its tensors could not be trained on
        )


def seed_torch(seed: int) -> None:
    """Seed torch on all devices; ``torch.manual_seed`` without the millisecond that it takes on a CPU."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def gpu_name() -> str | None:
    """Name of the GPU that trainings use."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
