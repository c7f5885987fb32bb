"""Trainings: cached features against the backbone in every epoch, and packs against a process a run.

Frozen stage. Same network, data, batches, epochs and code for the fit (`run_stage`); only what is fed differs:
cached features (their one computation, shared by the folds, counts), or images and texts through the frozen backbone.
One thread, CPU seconds, so that other work on the machine matters little. The sizes of the default study: 3 folds
of 64 training and 33 validation crystals of 114, 96 px, 64 tokens. What images and texts show does not matter for
the cost, so they are made up.

Packs. The image network of the default study, both stages, 3 folds: in one process, and in three. CPU seconds of the
processes, their imports included. The runs' files are compared: same bytes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rhoflow.config import ReadoutStage, Study
from rhoflow.dataset.load import View
from rhoflow.models.inputs import ArrayInputs, Batch, Inputs
from rhoflow.models.names import WEIGHTS
from rhoflow.models.networks import NETWORKS, Network
from rhoflow.models.readout import Readout
from rhoflow.training.engine import reproducible
from rhoflow.training.evaluate import RunKey
from rhoflow.training.fit import FeatureCache
from rhoflow.training.names import HISTORY, METRICS, PREDICTIONS
from rhoflow.training.pack import Pack, train_pack
from rhoflow.training.resume import StageState
from rhoflow.training.stage import OnFeatures, run_stage

EPOCHS = 60  # what the readouts of the default study need (38 to 100)
FOLDS = 3
PLAIN_EPOCHS = 10  # measured of the slow loop, in one fold: all its epochs and folds cost the same
GOAL = 20.0
SAME_LOSS = 1e-3
WORDS = "MgO is Halite structured and crystallizes in the cubic Fm-3m space group. "


class PlainLoop(nn.Module):
    """A readout on a frozen backbone that runs in every step."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.readout = network.readout
        self.backbone = [network.backbone.eval()]  # in a list: not a part that is trained

    def forward(self, batch: Batch) -> Tensor:
        """Standardised target (b,)."""
        with torch.no_grad():
            features = self.backbone[0](batch)
        prediction: Tensor = self.readout(features)
        return prediction


def rows() -> list[dict[str, Any]]:
    """CPU seconds of the frozen stage for an image and a text network, and of a pack."""
    warm_up()
    return [compare("image"), compare("text"), compare_packs()]


def compare(name: str) -> dict[str, Any]:
    """One row: cached features against the plain loop."""
    with reproducible(threads=1):
        cached_s, cached_loss = cached(name)
        plain_s, plain_loss = plain(name)
    if not np.allclose(cached_loss[:PLAIN_EPOCHS], plain_loss, rtol=SAME_LOSS, atol=SAME_LOSS):
        raise AssertionError(f"{name}: the two loops fit differently: {cached_loss} {plain_loss}")
    ratio = plain_s / cached_s
    return {
        "name": f"training: frozen stage of {name}, {FOLDS} folds, {EPOCHS} epochs, features cached: CPU seconds",
        "value": cached_s,
        "reference": plain_s,
        "ratio": ratio,
        "goal": f">= {GOAL:g} times less",
        "ok": ratio >= GOAL,
    }


def compare_packs() -> dict[str, Any]:
    """One row: a process for all folds against a process a fold."""
    with tempfile.TemporaryDirectory() as folder:
        together, apart = Path(folder, "together"), Path(folder, "apart")
        pack_s = in_process(together, *range(FOLDS))
        runs_s = sum(in_process(apart, fold) for fold in range(FOLDS))
        for file in (METRICS, PREDICTIONS, HISTORY, WEIGHTS):
            for path in together.glob(f"runs/**/{file}"):
                if path.read_bytes() != (apart / path.relative_to(together)).read_bytes():
                    raise AssertionError(f"{path.relative_to(together)}: a pack of {FOLDS} and of one differ")
    return {
        "name": f"training: image network, both stages, {FOLDS} folds in one process: CPU seconds",
        "value": pack_s,
        "reference": runs_s,
        "ratio": runs_s / pack_s,
        "goal": "less",
        "ok": pack_s < runs_s,
    }


def in_process(root: Path, *folds: int) -> float:
    """CPU seconds of a process that trains some folds of the image network of the default study."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, __file__, str(root), *map(str, folds)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train_folds(root: Path, *folds: int) -> None:
    """Train folds of the image network of the default study as one job of the workflow does."""
    study = Study()
    options, training = NETWORKS["image"].take_options(study), study.training
    pack = Pack(root, root / "scratch", "image", "k_vrh", "none", "GPa", options, training)
    train_pack(pack, [(fold, 0) for fold in folds], made_up_data)


def cached(name: str) -> tuple[float, list[float]]:
    """CPU seconds of all folds with cached features, and the validation losses of fold 0."""
    cache, spent, losses = FeatureCache(), 0.0, []
    for fold in range(FOLDS):
        network, data = make(name), made_up_data(fold)
        inputs = network.prepare(data.images, data.texts)
        start = time.process_time()
        features = ArrayInputs("features", cache.get(network.backbone, inputs, data))
        losses.append(train(OnFeatures(network.readout), features, data, EPOCHS))
        spent += time.process_time() - start
    return spent, losses[0]


def plain(name: str) -> tuple[float, list[float]]:
    """CPU seconds of the plain loop, extrapolated to all epochs and folds, and its validation losses."""
    network, data = make(name), made_up_data(fold=0)
    inputs = network.prepare(data.images, data.texts)
    start = time.process_time()
    losses = train(PlainLoop(network), inputs, data, PLAIN_EPOCHS)
    return (time.process_time() - start) * FOLDS * EPOCHS / PLAIN_EPOCHS, losses


def make(name: str) -> Network:
    """Build a network of the default study."""
    torch.manual_seed(0)
    return NETWORKS[name].make(NETWORKS[name].take_options(Study()), {})


def train(model: nn.Module, inputs: Inputs, data: View, epochs: int) -> list[float]:
    """Run the readout stage for a number of epochs; return the validation losses."""
    state = StageState()
    run_stage(
        "readout",
        model,
        inputs,
        data,
        torch.from_numpy(data.y.astype(np.float32)),
        stage=ReadoutStage(epochs=epochs, patience=epochs),
        std=1.0,
        state=state,
        seed=RunKey("image", "none", "none", 0, 0).random_seed,
        after_epoch=lambda state: None,
    )
    return [row["val_loss"] for row in state.history]


def warm_up() -> None:
    """Let torch and Lightning load what they load at the first step of a process."""
    data, features = made_up_data(fold=0), ArrayInputs("features", torch.zeros(114, 8))
    train(OnFeatures(Readout(8, (4,), 0.0)), features, data, epochs=1)


def made_up_data(fold: int) -> View:
    """Make 114 materials with images of 96 px and texts longer than 64 tokens."""
    random = np.random.default_rng(0)
    part = np.repeat(["test", "train"], [17, 97])
    part[17 + fold :: FOLDS] = "val"
    images = random.uniform(-1, 1, size=(114, 96, 96)).astype(np.float32)
    ids = np.array([f"m{row:03d}" for row in range(114)])
    return View(ids, part, random.normal(size=114), images=images, texts=(WORDS * 8,) * 114)


if __name__ == "__main__":
    train_folds(Path(sys.argv[1]), *map(int, sys.argv[2:]))
