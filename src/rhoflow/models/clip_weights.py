"""Which open_clip architecture a study means, and the file with its pretrained weights: nothing is downloaded.

open_clip itself would fetch a tag's weights from the hub, as a pickle where it finds no safetensors. So it only ever
gets a file here: the safetensors that `rhoflow fetch-weights` put into the local cache, or that a folder holds. What
an architecture needs of its images and texts (size, mean, std, interpolation, tokenizer) is in its configuration.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from rhoflow.config import Clip, near
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.models import torchvision_schemas  # noqa: F401  (before open_clip)
from rhoflow.models.hub import COMMAND, HUB, cached_folder
from rhoflow.models.names import CLIP_CONFIG, CLIP_WEIGHTS
from rhoflow.models.weights import RANDOM

_SAFE = ".safetensors"
# What says where weights or tokenizers come from; it does not change the architecture.
_ORIGINS = {"timm_model_pretrained", "hf_model_pretrained", "hf_tokenizer_name"}


@dataclass(frozen=True)
class Architecture:
    """An architecture of open_clip.

    Attributes
    ----------
    name : str
        As open_clip wants it: one of its names, or a folder's path behind ``local-dir:``.
    settings : dict
        ``model_cfg``: embed_dim, quick_gelu, vision_cfg, text_cfg.
    preprocess : dict
        ``mean``, ``std``, ``interpolation`` of its images, where its configuration has them.
    """

    name: str
    settings: dict[str, Any]
    preprocess: dict[str, Any]


def architecture(model: str) -> Architecture:
    """Look up ``clip.model``: a name that open_clip has, or a folder with open_clip_config.json.

    Raises
    ------
    StudyError
        If it is neither, or a model that writes texts.
    """
    import open_clip

    if (Path(model) / CLIP_CONFIG).is_file():
        found = Architecture(f"local-dir:{model}", *read_settings(Path(model) / CLIP_CONFIG))
    elif model in open_clip.list_models():
        tags = open_clip.list_pretrained_tags_by_model(model)
        # Of the first tag; the tags of a model agree, but for the mean and std of one of ViT-L-14's.
        preprocess = open_clip.get_pretrained_cfg(model, tags[0]) if tags else {}
        found = Architecture(model, open_clip.get_model_config(model) or {}, preprocess)
    else:
        known = open_clip.list_models()
        raise StudyError(
            f"clip.model = {model!r}: neither an architecture of open_clip{near(model, known)} nor a folder with"
            f" {CLIP_CONFIG}; names: python -c 'import open_clip; print(open_clip.list_models())'"
        )
    if "multimodal_cfg" in found.settings:
        raise StudyError(f"clip.model = {model!r} writes texts (CoCa), it is no pair of towers; choose another model")
    return found


def read_settings(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read ``model_cfg`` and ``preprocess_cfg`` (empty if missing) of an open_clip_config.json.

    Raises
    ------
    StudyError
        If it is no configuration of a pair of towers.
    """
    saved = read_json(path)
    settings = saved.get("model_cfg") if isinstance(saved, dict) else None
    sections = [settings.get(key) for key in ("vision_cfg", "text_cfg")] if isinstance(settings, dict) else [None]
    if not all(isinstance(section, dict) for section in sections) or not isinstance(settings, dict):
        raise StudyError(
            f"{path}: needs model_cfg with vision_cfg and text_cfg, as open_clip's push_to_hf_hub writes it"
        )
    return settings, saved.get("preprocess_cfg", {})


def hub_name(options: Clip) -> str | None:
    """Repository of the weights on the Hugging Face hub, ``hf:`` before it; None for what is no download.

    Raises
    ------
    StudyError
        If the weights are neither known to open_clip for this model nor there as folder or file.
    """
    if options.weights.startswith(HUB):
        return options.weights
    if options.weights == RANDOM or Path(options.weights).exists():
        return None
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(options.model)
    if options.weights not in tags:
        raise StudyError(
            f"clip.weights = {options.weights!r}: neither a folder or file of safetensors nor one of open_clip's tags"
            f" for {options.model!r}{near(options.weights, tags)}; its tags: {', '.join(tags) or '(none)'}; also"
            " allowed: random, hf:<owner>/<name>"
        )
    repository = str(open_clip.get_pretrained_cfg(options.model, options.weights)["hf_hub"])
    return HUB + "/".join(repository.split("/")[:2])


def weights_file(options: Clip, built: Architecture) -> tuple[Path, dict[str, Any]]:
    """Safetensors of named weights, and what these weights expect of images (``mean``, ``std``).

    Raises
    ------
    StudyError
        If they are not on this machine, are pickled, or belong to another architecture.
    """
    import open_clip

    repository = hub_name(options)
    if repository is None:
        file = Path(options.weights)
    else:
        _check_activation(options, built)
        file = cached_folder(repository.removeprefix(HUB))
    file = file / CLIP_WEIGHTS if file.is_dir() else file
    if not file.is_file() or file.suffix != _SAFE:
        told = "pickled weights can run programs and are not read" if file.is_file() else "there is no such file"
        raise StudyError(
            f"clip.weights = {options.weights!r}: {file}: {told}; a folder must hold {CLIP_WEIGHTS} (open_clip's"
            f" push_to_hf_hub writes it); weights on the hub come with {COMMAND}"
        )
    beside = file.parent / CLIP_CONFIG
    if beside.is_file():
        settings, preprocess = read_settings(beside)
        _check_settings(options, built.settings, settings)
        return file, preprocess
    tagged = open_clip.get_pretrained_cfg(options.model, options.weights)
    return file, tagged or built.preprocess


def locate_clip(options: Clip) -> Path:
    """Safetensors of ``clip.weights`` on this machine; raises as `weights_file` does."""
    return weights_file(options, architecture(options.model))[0]


def _check_activation(options: Clip, built: Architecture) -> None:
    """Refuse a tag whose weights were trained with the other activation: open_clip only warns."""
    import open_clip

    tag = open_clip.get_pretrained_cfg(options.model, options.weights)
    wanted, got = bool(tag.get("quick_gelu")), bool(built.settings.get("quick_gelu"))
    if tag and wanted != got:
        other = f"{options.model}-quickgelu" if wanted else options.model.removesuffix("-quickgelu")
        raise StudyError(
            f"clip.weights = {options.weights!r} were trained with {'QuickGELU' if wanted else 'GELU'}, clip.model ="
            f" {options.model!r} has the other activation; set clip.model to {other}"
        )


def _check_settings(options: Clip, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare the architecture that is built with the one that the weights say they belong to."""
    ours, theirs = _flat(ours), _flat(theirs)
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key):
            raise StudyError(
                f"clip.weights = {options.weights!r} belong to a model with {key} = {theirs.get(key)!r}; clip.model ="
                f" {options.model!r} has {ours.get(key)!r}; take both from one place"
            )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Write open_clip's defaults out: ``vision_cfg.width`` for nested keys."""
    import open_clip

    sections = {"vision_cfg": open_clip.CLIPVisionCfg(), "text_cfg": open_clip.CLIPTextCfg()}
    flat = {key: settings.get(key) for key in ("embed_dim", "init_logit_bias")}
    flat["quick_gelu"] = bool(settings.get("quick_gelu"))
    for section, defaults in sections.items():
        whole = {**vars(defaults), **settings[section]}
        flat |= {f"{section}.{key}": value for key, value in whole.items() if key not in _ORIGINS}
    return flat


@contextlib.contextmanager
def _offline(found: Architecture) -> Iterator[None]:
    """No download by anything that open_clip calls, and none of its lines in the root logger.

    Raises
    ------
    StudyError
        If something on the hub is needed that is not in the local cache.
    """
    import huggingface_hub

    before = huggingface_hub.constants.HF_HUB_OFFLINE
    root, sink = logging.getLogger(), logging.NullHandler()
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    root.addHandler(sink)  # without any handler, logging.info would install one for good
    root.addFilter(_silent)
    try:
        yield
    except OSError as error:
        text = found.settings["text_cfg"]
        names = dict.fromkeys(text[key] for key in ("hf_model_name", "hf_tokenizer_name") if text.get(key))
        raise StudyError(
            f"clip.model = {found.name!r}: its text tower or tokenizer is {' and '.join(names) or 'missing'}, not in"
            f" the local cache ({type(error).__name__}; a study downloads nothing); on a machine with network run: hf"
            f" download {' '.join(names)}, or choose a model with open_clip's own tokenizer"
        ) from None
    finally:
        root.removeFilter(_silent)
        root.removeHandler(sink)
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def _silent(record: logging.LogRecord) -> bool:
    return False


def build_towers(found: Architecture) -> nn.Module:
    """Untrained model with a tower ``visual`` and a tower ``text``."""
    import open_clip

    with _offline(found):
        model: nn.Module = open_clip.create_model(
            found.name, load_weights=False, pretrained_text=False, force_custom_text=True
        )
    return model


def load_towers(model: nn.Module, file: Path, options: Clip) -> None:
    """Load safetensors, every key matched.

    Raises
    ------
    StudyError
        If they belong to another architecture.
    """
    import open_clip

    try:
        open_clip.load_checkpoint(model, str(file))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise StudyError(
            f"clip.weights = {options.weights!r}: {file} does not fit clip.model = {options.model!r} ({reason}); take"
            " both from one place"
        ) from None


def tokenizer_of(found: Architecture) -> Any:
    """open_clip's tokenizer of an architecture."""
    import open_clip

    with _offline(found):
        return open_clip.get_tokenizer(found.name)
