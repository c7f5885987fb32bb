"""One folder that takes an ensemble anywhere: weights, what they need to be rebuilt offline, and a model card.

``README.md``, ``model.json``, ``runs/fold<k>-seed<s>/model.safetensors``, and ``encoder/`` where the text encoder is
a folder of this machine (tokenizer and configuration). Nothing is pickled, and no path leads out of the folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from rhoflow.config import TextModel, load_study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file, write_json
from rhoflow.models.names import CONFIG, WEIGHTS
from rhoflow.models.weights import RANDOM, locate, packaged
from rhoflow.predict.card import CARD, Card, CopiedEncoder, PackagedEncoder, checked_file, read_card
from rhoflow.predict.ensemble import Ensemble
from rhoflow.predict.readme import describe

README = "README.md"
_ENCODER = "encoder"
_PACKAGE = "package:"
# What tokenizers and configurations of transformers consist of; weights and code stay behind.
_ENCODER_FILES = (
    *(CONFIG, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)


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
    """Sections of the study without paths of this machine or pretrained weights, and the text encoder."""
    sections = dict(ensemble.card.study)
    for name in ("image", "language"):
        if name in sections:
            sections[name] = {**sections[name], "weights": RANDOM}
    if "language" not in sections:
        return sections, None
    encoder = _encoder(ensemble.study.language, output)
    if isinstance(encoder, CopiedEncoder):
        sections["language"]["backbone"] = encoder.folder
    return sections, encoder


def _encoder(language: TextModel, output: Path) -> PackagedEncoder | CopiedEncoder:
    """Name the package that holds tokenizer and configuration, or copy them."""
    if language.backbone.startswith(_PACKAGE):
        weights = packaged(language.backbone.removeprefix(_PACKAGE))
        return PackagedEncoder(name=weights.package, version=weights.version, sha256=weights.sha256)
    source, target = locate(language.backbone), output / _ENCODER
    target.mkdir()
    for name in _ENCODER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    # A folder of weights must have some; these stand for those of the runs and are never read.
    safetensors.numpy.save_file({"see_runs": np.zeros(1, dtype=np.float32)}, target / WEIGHTS)
    digests = {file.name: digest_file(file) for file in sorted(target.iterdir())}
    return CopiedEncoder(folder=_ENCODER, files=digests)


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
        sections["language"] = {**sections["language"], "backbone": _locate_encoder(folder, card)}
    return Ensemble(card, load_study(sections), folder)


def _locate_encoder(folder: Path, card: Card) -> str:
    """Name of the text encoder on this machine, its files checked."""
    encoder = card.encoder
    if isinstance(encoder, PackagedEncoder):
        if packaged(encoder.name).sha256 != encoder.sha256:
            raise StudyError(
                f"{folder / CARD}: {encoder.name}=={encoder.version} is not the version that this rhoflow knows;"
                " predict with the rhoflow that exported the model"
            )
        return f"{_PACKAGE}{encoder.name}"
    if encoder is None:
        raise StudyError(f"{folder / CARD}: names no text encoder, but its network reads text; export again")
    files = {path.name for path in (folder / encoder.folder).glob("*")}
    if files != set(encoder.files):
        odd = sorted(files ^ set(encoder.files))[0]
        raise StudyError(f"{folder / encoder.folder / odd}: missing or not listed in {CARD}; export again")
    for name, sha256 in encoder.files.items():
        checked_file(folder, f"{encoder.folder}/{name}", sha256)
    return str(folder / encoder.folder)
