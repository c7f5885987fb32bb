"""A training job of the workflow: from the study's files to a pack of runs and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rhoflow.config import Study
from rhoflow.dataset.load import load_view
from rhoflow.models.networks import NETWORKS
from rhoflow.properties import PROPERTIES
from rhoflow.training.data import TrainingData
from rhoflow.training.pack import NO_LEVEL, Pack, train_pack


def train_job(
    study: Study,
    *,
    root: Path,
    scratch: Path,
    model: str,
    target: str,
    level: str,
    runs: Sequence[tuple[int, int]],
) -> None:
    """Train the runs of one pack on the views of their folds.

    Parameters
    ----------
    study : Study
        Its sections image, language, readout and training are used.
    root, scratch : Path
        Result folder of the study, and where unfinished runs are kept.
    level : str
        ``none`` for a model that reads no text.
    runs : sequence of (fold, seed)

    Raises
    ------
    StudyError
        If the model is unknown, weights are missing, or the stores differ from the views.
    """
    entry = NETWORKS[model]

    def load(fold: int) -> TrainingData:
        view = load_view(root, target, level, fold)
        images = view.images
        if "images" in entry.inputs and level != NO_LEVEL:
            images = load_view(root, target, NO_LEVEL, fold).images
        return TrainingData(view.ids, view.part, view.y, images, view.texts)

    pack = Pack(
        root=root,
        scratch=scratch,
        model=model,
        target=target,
        level=level,
        unit=PROPERTIES[target].unit,
        options=entry.take_options(study),
        training=study.training,
    )
    train_pack(pack, runs, load)
