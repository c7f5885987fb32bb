"""What a text encoder or CLIP needs besides weights, tokenizer and configuration: taken along, and found again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from rhoflow.config import Clip, TextModel
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file, read_json, write_json
from rhoflow.models.names import CLIP_CONFIG, CONFIG, WEIGHTS
from rhoflow.models.weights import locate, packaged
from rhoflow.predict.card import CARD, Card, CopiedEncoder, PackagedEncoder, checked_file

_FOLDER = "encoder"
_PACKAGE = "package:"
_SETTINGS = (CONFIG, "tokenizer_config.json")
# What tokenizers and configurations of transformers consist of; weights and code stay behind.
_FILES = (
    *(*_SETTINGS, "tokenizer.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)
_ORIGINS = ("_name_or_path", "name_or_path")  # where somebody once loaded it from, perhaps a path of a machine
_CODE = "auto_map"  # would have transformers import code


def take_encoder(language: TextModel, output: Path) -> PackagedEncoder | CopiedEncoder:
    """Name the package that holds tokenizer and configuration, or copy them into a folder below `output`."""
    if language.backbone.startswith(_PACKAGE):
        weights = packaged(language.backbone.removeprefix(_PACKAGE))
        return PackagedEncoder(name=weights.package, version=weights.version, sha256=weights.sha256)
    source, target = locate(language.backbone), output / _FOLDER
    target.mkdir()
    for name in _FILES:
        if name in _SETTINGS and (source / name).is_file():
            settings = {key: value for key, value in read_json(source / name).items() if key not in _ORIGINS}
            write_json(target / name, settings)
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    # A folder of weights must have some; these stand for those of the runs and are never read.
    safetensors.numpy.save_file({"see_runs": np.zeros(1, dtype=np.float32)}, target / WEIGHTS)
    return CopiedEncoder(folder=_FOLDER, files={file.name: digest_file(file) for file in sorted(target.iterdir())})


def take_clip(clip: Clip, output: Path) -> CopiedEncoder | None:
    """Copy CLIP's configuration into a folder below `output`; None where it has a name that open_clip knows.

    Raises
    ------
    StudyError
        If it needs more than open_clip brings along: a text tower or tokenizer of the hub.
    """
    from rhoflow.models.clip_weights import architecture

    found = architecture(clip.model)
    _check_own(found.settings, f"clip.model = {clip.model!r}")
    if found.name == clip.model:
        return None
    (output / _FOLDER).mkdir()
    write_json(output / _FOLDER / CLIP_CONFIG, {"model_cfg": found.settings, "preprocess_cfg": found.preprocess})
    return CopiedEncoder(folder=_FOLDER, files={CLIP_CONFIG: digest_file(output / _FOLDER / CLIP_CONFIG)})


def find_clip(folder: Path, card: Card) -> str:
    """Architecture of an exported CLIP on this machine, as ``clip.model`` wants it; its file is checked.

    Raises
    ------
    StudyError
        If open_clip does not know its name, a file is missing or changed, or it asks for something of the hub.
    """
    from rhoflow.models.clip_weights import read_settings

    if isinstance(card.encoder, CopiedEncoder):
        where = folder / card.encoder.folder
        if set(card.encoder.files) != {CLIP_CONFIG} or {path.name for path in where.glob("*")} != {CLIP_CONFIG}:
            raise StudyError(f"{where}: must hold {CLIP_CONFIG} and nothing else; export again")
        path = checked_file(folder, f"{card.encoder.folder}/{CLIP_CONFIG}", card.encoder.files[CLIP_CONFIG])
        _check_own(read_settings(path)[0], str(path))
        return str(where)
    import open_clip

    model = str(card.study["clip"]["model"])
    if model not in open_clip.list_models():
        raise StudyError(f"{folder / CARD}: open_clip {open_clip.__version__} has no model {model!r}; export again")
    return model


def _check_own(settings: dict[str, Any], where: str) -> None:
    """Refuse what open_clip would look for elsewhere: on the hub, or in a file that the settings name."""
    text, vision = settings["text_cfg"], settings["vision_cfg"]
    elsewhere = {name: text[name] for name in ("hf_model_name", "hf_tokenizer_name") if text.get(name)}
    elsewhere |= {name: value for name, value in text.get("tokenizer_kwargs", {}).items() if name != "clean"}
    tower = vision.get("timm_model_name")
    if tower and not re.fullmatch(
        r"[A-Za-z0-9_.]+", str(tower)
    ):  # timm takes hf-hub:<name> and local-dir:<path>, too
        elsewhere["timm_model_name"] = tower
    if elsewhere:
        name, value = next(iter(elsewhere.items()))
        raise StudyError(f"{where}: {name} = {value!r} lies outside of the exported folder, which must do without")


def find_encoder(folder: Path, card: Card) -> str:
    """Name of an exported text encoder on this machine, as ``language.backbone`` wants it; its files are checked.

    Raises
    ------
    StudyError
        If it is another version, a file is missing, changed or none that rhoflow exports, or it asks for code.
    """
    if card.encoder is None:
        raise StudyError(f"{folder / CARD}: names no text encoder, but its network reads text; export again")
    if isinstance(card.encoder, PackagedEncoder):
        return _find_packaged(folder, card.encoder)
    return _find_copied(folder, card.encoder)


def _find_packaged(folder: Path, encoder: PackagedEncoder) -> str:
    if packaged(encoder.name).sha256 != encoder.sha256:
        raise StudyError(
            f"{folder / CARD}: {encoder.name}=={encoder.version} is not the version that this rhoflow knows;"
            " predict with the rhoflow that exported the model"
        )
    return f"{_PACKAGE}{encoder.name}"


def _find_copied(folder: Path, encoder: CopiedEncoder) -> str:
    where = folder / encoder.folder
    there = {path.name for path in where.glob("*")}
    odd = sorted((there ^ set(encoder.files)) | (there - {*_FILES, WEIGHTS}))
    if odd:
        raise StudyError(f"{where / odd[0]}: missing, not listed in {CARD}, or no part of an encoder; export again")
    paths = {name: checked_file(folder, f"{encoder.folder}/{name}", sum_) for name, sum_ in encoder.files.items()}
    for name in _SETTINGS:
        settings: Any = read_json(paths[name]) if name in paths else {}
        if not isinstance(settings, dict) or _CODE in settings:
            raise StudyError(f"{where / name}: asks for code of its own ({_CODE}), which rhoflow does not run")
    return str(where)
