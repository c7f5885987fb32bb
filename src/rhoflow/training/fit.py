"""The two-stage fit: the readout on features of the frozen backbone, then everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rhoflow.config import Stage, Training
from rhoflow.dataset.load import View
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_arrays, digest_json
from rhoflow.models.backbones import Backbone
from rhoflow.models.inputs import ArrayInputs, Inputs, JointInputs
from rhoflow.models.networks import Network
from rhoflow.training.distributed import ALONE, Share
from rhoflow.training.engine import steps_precision
from rhoflow.training.layers import Layers
from rhoflow.training.resume import ResumeFile, StageState
from rhoflow.training.scaler import Scaler
from rhoflow.training.stage import FROZEN, OnFeatures, run_model, run_stage

READOUT = "readout"
FINETUNE = "finetune"
SKIPPED = "skipped by config"
AfterEpoch = Callable[[str, Stage, StageState], None]


@dataclass(frozen=True)
class Fit:
    """What a fit leaves besides the network, which holds the best weights.

    Attributes
    ----------
    y_pred : (n,) float64 array
        Predictions for all materials in the target's unit.
    y_readout : (n,) float64 array or None
        The same after the first stage; None where that was skipped.
    history : list of dict
        Rows of history.csv.
    stages : list of dict
        ``name, epochs, best_epoch, stopped`` of each stage, for metrics.json.
    n_cut : int
        Texts that were longer than the token limit.
    """

    y_pred: NDArray[np.float64]
    y_readout: NDArray[np.float64] | None
    history: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    n_cut: int


class FeatureCache:
    """Features of a frozen backbone, computed once for all runs with the same weights and materials.

    The folds of a pack differ in which part a material is in, not in its features.

    Parameters
    ----------
    keep : int
        Entries kept, the latest ones.
    """

    def __init__(self, keep: int = 1) -> None:
        self.keep = keep
        self._features: dict[str, Tensor] = {}

    def get(self, backbone: Backbone, inputs: Inputs, data: View) -> Tensor:
        """Features (n, n_features) of all materials of `data`, from which `inputs` were made."""
        state = [value.cpu().numpy() for value in backbone.state_dict().values()]
        digest = digest_json([digest_arrays(*state), data.input_digest()])
        if digest not in self._features:
            for oldest in list(self._features)[: max(0, len(self._features) + 1 - self.keep)]:
                del self._features[oldest]
            self._features[digest] = run_model(backbone, inputs)
        return self._features[digest]


def fit(
    network: Network,
    data: View,
    *,
    training: Training,
    scaler: Scaler,
    frozen: bool,
    seed: Callable[..., int],
    resume: ResumeFile,
    cache: FeatureCache,
    after_epoch: AfterEpoch = lambda name, stage, state: None,
    share: Share = ALONE,
) -> Fit:
    """Fit a network in two stages and predict all materials with the weights of the lowest validation loss.

    Fine-tuning starts from the best readout; where no epoch of it improves the validation loss, that readout on the
    untouched backbone is the result (`best_epoch` 0).

    Parameters
    ----------
    network : Network
        Changed in place.
    frozen : bool
        Leave the second stage out.
    seed : callable
        Seed for a purpose, see `RunKey.random_seed`.
    resume : ResumeFile
        Where the state of the fit is kept.
    cache : FeatureCache
        Shared by fits that may have features in common.
    after_epoch : callable
        Called with stage name, stage and state after every epoch.
    share : Share
        Which of the processes that fine-tune together this is; the first stage, on cached features, each does alone.
    """
    _check(data, training, frozen)
    z = torch.from_numpy(scaler.standardise(data.y).astype(np.float32))
    if data.side is not None:
        network.backbone.fit_side(data.side[data.rows("train")])
    inputs = network.prepare(data.images, data.texts, data.side)
    if data.periods is not None:
        inputs = JointInputs(inputs, ArrayInputs("periods", torch.from_numpy(data.periods)))
    states = resume.load()

    precision = steps_precision(training.precision)

    def run(name: str, stage: Stage, model: nn.Module, stage_inputs: Inputs, **how: Any) -> None:
        def after(state: StageState) -> None:
            resume.save(states, now=False)
            after_epoch(name, stage, state)

        state = states[name]
        run_stage(
            name,
            model,
            stage_inputs,
            data,
            z,
            stage=stage,
            std=scaler.std,
            state=state,
            seed=seed,
            after_epoch=after,
            precision=precision,
            **how,
        )
        resume.save(states, now=True)

    readout = states.setdefault(READOUT, StageState(stopped=None if training.readout.epochs else SKIPPED))
    features = cache.get(network.backbone, inputs, data)
    run(READOUT, training.readout, OnFeatures(network.readout), ArrayInputs("features", features))

    def predict() -> NDArray[np.float64]:
        z_pred = run_model(OnFeatures(network.readout), ArrayInputs("features", features))
        return scaler.restore(z_pred.numpy().astype(np.float64))

    y_readout = predict()
    states.setdefault(FINETUNE, StageState(best_loss=readout.best_loss, stopped=FROZEN if frozen else None))
    if not frozen:
        layers = Layers(network.backbone.blocks(), training.finetune)
        augment = network.backbone.augmented
        run(FINETUNE, training.finetune, network, inputs, layers=layers, augment=augment, share=share)
        features = run_model(network.backbone, inputs)
    return Fit(
        y_pred=y_readout if frozen else predict(),
        y_readout=y_readout if training.readout.epochs else None,
        history=[row for state in states.values() for row in state.history],
        stages=[_summary(name, state) for name, state in states.items()],
        n_cut=inputs.n_cut,
    )


def _summary(name: str, state: StageState) -> dict[str, Any]:
    return {"name": name, "epochs": state.epoch, "best_epoch": state.best_epoch, "stopped": state.stopped}


def _check(data: View, training: Training, frozen: bool) -> None:
    if training.readout.epochs == 0 and frozen:
        raise StudyError("training.readout.epochs = 0 and the backbone is frozen: nothing to train; set it above 0")
    for part, least in {"train": 2, "val": 1}.items():
        if len(data.rows(part)) < least:
            raise StudyError(
                f"{len(data.rows(part))} materials in the {part} part, at least {least} needed; lower splits.folds or"
                " splits.test, or add materials"
            )
