"""One folder that takes an ensemble anywhere: weights, what they need to be rebuilt offline, and a model card.

``README.md``, ``model.json``, ``runs/fold<k>-seed<s>/model.safetensors``, and ``encoder/`` where the text encoder or
CLIP's model is a folder of this machine (tokenizer and configuration). Nothing is pickled, and no path leads out of
the folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rhoflow.config import load_study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import write_json
from rhoflow.models.names import WEIGHTS
from rhoflow.models.weights import RANDOM
from rhoflow.predict.card import CARD, CopiedEncoder, PackagedEncoder, checked_file, read_card
from rhoflow.predict.encoder import find_clip, find_encoder, take_clip, take_encoder
from rhoflow.predict.ensemble import Ensemble
from rhoflow.predict.readme import describe

README = "README.md"


def export_model(ensemble: Ensemble, output: Path) -> None:
    """Write an ensemble into a new folder.

    Parameters
    ----------
    output : Path
        The folder; it must not hold anything yet.

    Raises
    ------
    StudyError
        If it does.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise StudyError(f"{output} is not empty: name a new folder")
    output.mkdir(parents=True, exist_ok=True)
    runs = []
    for run in ensemble.card.runs:
        path = f"runs/fold{run.fold}-seed{run.seed}/{WEIGHTS}"
        (output / path).parent.mkdir(parents=True)
        shutil.copyfile(ensemble.folder / run.weights, output / path)
        runs.append(run.model_copy(update={"weights": path}))
    sections, encoder = _portable(ensemble, output)
    card = ensemble.card.model_copy(update={"runs": tuple(runs), "study": sections, "encoder": encoder})
    write_json(output / CARD, card.model_dump(mode="json"))
    (output / README).write_text(describe(card), encoding="utf-8")


def _portable(ensemble: Ensemble, output: Path) -> tuple[dict[str, Any], PackagedEncoder | CopiedEncoder | None]:
    """Sections of the study without paths of this machine or pretrained weights, and the text encoder or CLIP."""
    sections = {
        name: {**section, "weights": RANDOM} if isinstance(section, dict) and "weights" in section else section
        for name, section in ensemble.card.study.items()
    }
    if "clip" in sections:
        towers = take_clip(ensemble.study.clip, output)
        if towers:
            sections["clip"]["model"] = towers.folder
        return sections, towers
    if "language" not in sections:
        return sections, None
    encoder = take_encoder(ensemble.study.language, output)
    if isinstance(encoder, CopiedEncoder):
        sections["language"]["backbone"] = encoder.folder
    return sections, encoder


def read_exported(folder: Path) -> Ensemble:
    """Read an exported folder, wherever it lies now.

    Raises
    ------
    StudyError
        If a file is missing, changed, or leads out of the folder.
    """
    card = read_card(folder)
    for run in card.runs:
        checked_file(folder, run.weights, run.sha256)
        if Path(run.weights).name != WEIGHTS:
            raise StudyError(f"{folder / CARD}: weights {run.weights!r} are not called {WEIGHTS}; export again")
    sections = dict(card.study)
    if "language" in sections:
        sections["language"] = {**sections["language"], "backbone": find_encoder(folder, card)}
    if "clip" in sections:
        sections["clip"] = {**sections["clip"], "model": find_clip(folder, card)}
    return Ensemble(card, load_study(sections), folder)
