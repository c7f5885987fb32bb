"""One stage of a fit: AdamW on the squared error of the standardised target, with early stopping."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rhoflow.config import Stage
from rhoflow.dataset.load import View
from rhoflow.errors import StudyError
from rhoflow.models.inputs import Batch, Inputs
from rhoflow.training import engine
from rhoflow.training.batches import EvenBatches, Item, in_order, loader
from rhoflow.training.distributed import ALONE, Share, check_batches
from rhoflow.training.layers import Layers, learning_rate, plain_groups
from rhoflow.training.resume import StageState
from rhoflow.training.whole_batch import whole_batch_norm

# isort: split
import lightning

EARLY = "early stopping"
LIMIT = "epoch limit"
FROZEN = "frozen by config"
AfterEpoch = Callable[[StageState], None]

Augment = Callable[[Batch, torch.Generator], Batch]


class DivergedError(StudyError):
    """A loss is no longer finite."""


class OnFeatures(nn.Module):
    """The readout, fed with cached features instead of a backbone."""

    def __init__(self, readout: nn.Module) -> None:
        super().__init__()
        self.readout = readout

    def forward(self, batch: Batch) -> Tensor:
        """Standardised target (b,)."""
        prediction: Tensor = self.readout(batch["features"])
        return prediction

    def loss(self, batch: Batch, z: Tensor) -> Tensor:
        """Return what training lowers on a batch, see `Readout.loss`."""
        loss: Tensor = self.readout.loss(batch["features"], z)  # type: ignore[operator]
        return loss


class Task(lightning.LightningModule):  # type: ignore[misc]
    """What Lightning needs to know of a model: its loss, its optimiser, and sums over an epoch.

    Parameters
    ----------
    model : nn.Module
        From a batch to the standardised target (b,); all its parameters are trained.
    stage : Stage or None
        For a fit.
    optimizer : dict or None
        State of the optimiser after a resume.
    layers : Layers or None
        The backbone's blocks, where they are not all treated alike.
    augment : callable or None
        Changes training batches at random.
    share : Share
        Which part of each batch this process sees.
    weights : sequence of float
        Factors on the mean losses of an epoch's training batches.
    """

    def __init__(
        self,
        model: nn.Module,
        stage: Stage | None = None,
        optimizer: dict[str, Any] | None = None,
        layers: Layers | None = None,
        augment: Augment | None = None,
        share: Share = ALONE,
        weights: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.stage = stage
        self.saved_optimizer = optimizer
        self.layers = layers
        self.augment = augment
        self.share = share
        self.weights = weights
        self.generator = torch.Generator()
        self.sums = {"train": 0.0, "val": 0.0}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW of the stage, where it was after a resume."""
        assert self.stage is not None
        groups = self.layers.groups(self.model) if self.layers else plain_groups(self.model)
        adamw = torch.optim.AdamW(
            groups, lr=self.stage.learning_rate, weight_decay=self.stage.weight_decay, fused=True
        )
        if self.saved_optimizer is not None:
            adamw.load_state_dict(self.saved_optimizer)
        return adamw

    def training_step(self, item: Item, number: int) -> Tensor:
        """Mean squared error of a batch, weighted as `EvenBatches.weights` says."""
        batch, z = item
        loss = self._loss("train", (self.augment(batch, self.generator) if self.augment else batch, z))
        return loss * self.weights[number]

    def start_epoch(self, epoch: int, seed: Callable[..., int]) -> None:
        """Set what an epoch (from 0) starts with: sums, random numbers of its own, learning rates, frozen blocks."""
        assert self.stage is not None
        self.sums = dict.fromkeys(self.sums, 0.0)
        who = () if self.share.first else (self.share.rank,)  # each process has random numbers of its own
        engine.seed_torch(seed("dropout", epoch, *who))
        self.generator.manual_seed(seed("augment", epoch, *who))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = learning_rate(self.stage, epoch) * group["scale"]
        if self.layers:
            self.layers.unfreeze(self.model, epoch)

    def validation_step(self, item: Item, _: int) -> None:
        """Add a batch to the validation sum."""
        self._loss("val", item)

    def predict_step(self, item: Item, _: int) -> Tensor:
        """Output of the model on a batch."""
        output: Tensor = self.model(item[0])
        return output

    def whole_sums(self) -> dict[str, float]:
        """Add up the sums of all processes over an epoch's materials."""
        if self.share.n == 1:
            return self.sums
        mine = torch.tensor(list(self.sums.values()), dtype=torch.float64, device=self.device)
        return dict(zip(self.sums, self.trainer.strategy.reduce(mine, reduce_op="sum").tolist(), strict=True))

    def _loss(self, part: str, item: Item) -> Tensor:
        batch, z = item
        loss = training_loss(self.model, batch, z) if part == "train" else squared_error(self.model, batch, z)
        self.sums[part] += loss.item() * len(z)
        return loss


def squared_error(model: nn.Module, batch: Batch, z: Tensor) -> Tensor:
    """Mean squared error of a batch, by which epochs are judged."""
    return nn.functional.mse_loss(model(batch).float(), z)


def training_loss(model: nn.Module, batch: Batch, z: Tensor) -> Tensor:
    """Return what training lowers on a batch: a loss of the model's own (two parts), or the mean squared error."""
    own: Callable[[Batch, Tensor], Tensor] | None = getattr(model, "loss", None)
    return squared_error(model, batch, z) if own is None else own(batch, z)


class Keeper(lightning.Callback):  # type: ignore[misc]
    """After every epoch: record it, keep the best state, stop when there is no hope, save."""

    def __init__(
        self,
        name: str,
        stage: Stage,
        state: StageState,
        *,
        n: dict[str, int],
        std: float,
        seed: Callable[..., int],
        after_epoch: AfterEpoch,
    ) -> None:
        self.name, self.stage, self.state = name, stage, state
        self.n, self.std, self.seed, self.after_epoch = n, std, seed, after_epoch

    def on_train_epoch_start(self, trainer: Any, task: Task) -> None:
        """Start the epoch from its own seeds."""
        task.start_epoch(self.state.epoch, functools.partial(self.seed, self.name))

    def on_train_epoch_end(self, trainer: Any, task: Task) -> None:
        """Take stock; Lightning has validated before it calls this."""
        state = self.state
        state.epoch += 1
        sums = task.whole_sums()
        loss = {part: sums[part] / self.n[part] for part in sums}
        self._record(loss["train"], loss["val"])
        if loss["val"] < state.best_loss:
            state.best_loss, state.best_epoch, state.best = loss["val"], state.epoch, copy_state(task.model)
        state.stopped = trainer.strategy.broadcast(stop_reason(state, self.stage))  # the first process decides
        trainer.should_stop = state.stopped is not None
        state.model, state.optimizer = task.model.state_dict(), trainer.optimizers[0].state_dict()
        self.after_epoch(state)

    def _record(self, train_loss: float, val_loss: float) -> None:
        if not math.isfinite(train_loss + val_loss):
            raise DivergedError(
                f"the loss is {train_loss} (training) and {val_loss} (validation) after epoch {self.state.epoch}:"
                f" the fit diverged; lower training.{self.name}.learning_rate ({self.stage.learning_rate:g})"
            )
        self.state.history.append(
            {
                "stage": self.name,
                "epoch": self.state.epoch,
                "lr": learning_rate(self.stage, self.state.epoch - 1),
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_rmse": math.sqrt(val_loss) * self.std,
            }
        )


def stop_reason(state: StageState, stage: Stage) -> str | None:
    """Why a stage ends now, or None."""
    if state.epoch >= stage.epochs:
        return LIMIT
    return EARLY if state.epoch - state.best_epoch >= stage.patience else None


def run_stage(
    name: str,
    model: nn.Module,
    inputs: Inputs,
    data: View,
    z: Tensor,
    *,
    stage: Stage,
    std: float,
    state: StageState,
    seed: Callable[..., int],
    after_epoch: AfterEpoch,
    layers: Layers | None = None,
    augment: Augment | None = None,
    precision: str = engine.FLOAT32,
    share: Share = ALONE,
) -> None:
    """Train `model` from where `state` stands to the end of the stage; it ends with its best weights.

    Parameters
    ----------
    inputs : Inputs
        Of all materials of `data`.
    z : (n,) float32 tensor
        Standardised target.
    std : float
        Of the scaler, for the history.
    state : StageState
        Changed in place; ``best_loss`` is what an epoch has to beat.
    seed : callable
        Seed for a purpose.
    after_epoch : callable
        Called with the state after every epoch.
    layers, augment
        See `Task`.
    precision : str
        Of the steps, see `engine.steps_precision`.
    share : Share
        Which of the processes that train together this is.
    """
    start = copy_state(model)
    if state.model is not None:
        model.load_state_dict(state.model)
    rows = {part: data.rows(part).tolist() for part in ("train", "val")}
    n = {part: len(rows[part]) for part in rows}
    if state.stopped is None:
        keeper = Keeper(name, stage, state, n=n, std=std, seed=seed, after_epoch=after_epoch)
        order = EvenBatches(
            rows["train"],
            stage.batch_size,
            lambda epoch: seed(name, "order", epoch),
            first_epoch=state.epoch,
            share=share,
        )
        check_batches(name, min(order.sizes), n["val"], share)
        model.train()
        epochs = stage.epochs - state.epoch
        how: dict[str, Any] = {
            "max_epochs": epochs,
            "callbacks": [keeper],
            "stage": stage,
            "precision": precision,
            "share": share,
        }
        with engine.trainer(**how) as trainer, whole_batch_norm(model, share):
            trainer.fit(
                Task(model, stage, state.optimizer, layers, augment, share, order.weights(stage.accumulate)),
                loader(inputs, z, order),
                loader(inputs, z, in_order(share.of(rows["val"]))),
            )
        if layers:
            layers.open_all()
    model.load_state_dict(start if state.best is None else state.best)
    state.model = state.optimizer = None


def run_model(model: nn.Module, inputs: Inputs) -> Tensor:
    """Output (n, ...) of a model in evaluation mode on all inputs, on the CPU."""
    batches = loader(inputs, torch.zeros(len(inputs)), in_order(range(len(inputs))))
    model.eval()
    with engine.trainer() as trainer:
        return torch.cat([output.cpu() for output in trainer.predict(Task(model), batches)])


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Copy a model's state on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
