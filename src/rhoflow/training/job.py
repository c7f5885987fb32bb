"""A training job of the workflow: from the study's files to a pack of runs and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rhoflow.config import KNOWN_NETWORKS, Study
from rhoflow.dataset.image_reader import ImageReader
from rhoflow.dataset.load import View, load_view
from rhoflow.dataset.names import NO_TEXT
from rhoflow.models.networks import NETWORKS
from rhoflow.properties import PROPERTIES
from rhoflow.training.names import base_of, view_level
from rhoflow.training.pack import Pack, train_pack
from rhoflow.training.search.chosen import chosen_values
from rhoflow.training.variants import changed_study, with_images_of


def train_job(
    study: Study,
    *,
    root: Path,
    scratch: Path,
    model: str,
    target: str,
    level: str,
    runs: Sequence[tuple[int, int]],
    frozen: bool,
    searched: bool = False,
    local_disk: Path | None = None,
) -> None:
    """Train the runs of one pack on the views of their folds.

    Parameters
    ----------
    study : Study
        Its sections image, language, readout, fusion, clip and training are used, the latter without `pack` and
        `frozen_levels`.
    root, scratch : Path
        Result folder of the study, and where unfinished runs are kept.
    model : str
        A network, or a variant of one: ``image``, ``image-f25``.
    level : str
        ``none`` for a model that reads no text.
    runs : sequence of (fold, seed)
    frozen : bool
        Stop after the readout, as with ``training.finetune.epochs = 0``.
    searched : bool
        Take the settings that the search chose for each fold; a variant takes its base's.
    local_disk : Path, optional
        Folder of the node for the images, see `ImageReader`.

    Raises
    ------
    StudyError
        If weights or chosen settings are missing, or the stores differ from the views.
    """
    base = base_of(model)[0]
    folds = {fold for fold, _ in runs} if searched else ()
    pack = Pack(
        root=root,
        scratch=scratch,
        model=model,
        target=target,
        level=level,
        unit=PROPERTIES[target].unit,
        options=NETWORKS[base].take_options(changed_study(study, model)),
        training=study.training,
        frozen=frozen or study.training.finetune.epochs == 0,
        chosen={fold: chosen_values(root, base, target, level, fold) for fold in folds},
    )
    images = ImageReader(local_disk)
    train_pack(pack, runs, lambda fold: load_inputs(root, model, target, level, fold, images))


def load_inputs(
    root: Path, model: str, target: str, level: str, fold: int, images: ImageReader | None = None
) -> View:
    """Read what a network reads of a fold's materials: of two levels where it reads images beside texts."""
    view = load_view(root, target, view_level(model, level), fold, images)
    if "image" in KNOWN_NETWORKS[base_of(model)[0]].reads and level != NO_TEXT:
        return with_images_of(view, load_view(root, target, view_level(model, NO_TEXT), fold, images))
    return view
