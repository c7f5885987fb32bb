"""Backbones: what turns an image (a timm model by name) or a text (a transformers folder) into a feature vector.

A backbone is the part of a network that stage one of the fit keeps frozen; it has no prediction layer of its own.
"""

from __future__ import annotations

import contextlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rhoflow.config import ImageModel, TextModel, near
from rhoflow.errors import StudyError
from rhoflow.models import torchvision_schemas  # noqa: F401  (before timm and transformers)
from rhoflow.models.augment import AUGMENTATIONS
from rhoflow.models.blocks import Blocks, numbered_blocks
from rhoflow.models.inputs import ArrayInputs, Batch, Inputs, TokenInputs
from rhoflow.models.weights import NEUTRAL, RANDOM, locate, packaged, read_packaged_image_state

# isort: split
import timm
import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer

Images = NDArray[np.float32]
Texts = Sequence[str]
Side = NDArray[np.float64]
TIMM = "timm:"


class Backbone(nn.Module, ABC):
    """A module from a batch to features.

    Attributes
    ----------
    n_features : int
        Width of the feature vector.
    """

    n_features: int

    @abstractmethod
    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make this backbone's inputs of images (n, p, p) or (n, 3, p, p) in [-1, 1], texts, side values (n, 2)."""

    def fit_side(self, side: Side) -> None:
        """Take the scale of side values from those of the training part; a backbone that reads none has no use."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Features (b, n_features) float32 of a batch."""

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Batch of training materials, changed at random where the study asks for it."""
        return batch

    def blocks(self) -> Blocks:
        """Every parameter once, in the blocks of the architecture from the input on."""
        return [list(self.parameters())]


class ImageBackbone(Backbone):
    """A timm model without classifier, globally pooled.

    The single channel of a density image is repeated for the three channels that pretrained networks expect; three
    planes (``slices.planes: 3``) are the three channels.

    BatchNorm layers of pretrained weights keep their running statistics when everything is unfrozen (the usual advice
    for fine-tuning): on 64 demo crystals re-estimating them from batches of 16 doubled the validation loss.

    Parameters
    ----------
    model : nn.Module
        timm model with ``num_classes=0``.
    mean, std : sequence of 3 float
        What the weights expect: (pixel - mean) / std for pixels in [0, 1].
    pretrained : bool
        Whether the model has pretrained weights.
    size : int or None
        Pixels a side that the model sees; None: those of the images.
    augment : str
        One of `AUGMENTATIONS`, or ``none``.
    """

    scale: Tensor
    shift: Tensor
    pretrained: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        pretrained: bool,
        size: int | None = None,
        augment: str = "none",
    ) -> None:
        super().__init__()
        self.augment = augment
        self.model = without_dense_layers(model)
        self.size = size
        # Some models widen their features once more behind the pooling, e.g. MobileNetV3.
        self.n_features = int(getattr(model, "head_hidden_size", model.num_features))  # type: ignore[arg-type]
        mean_, std_ = (torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1) for values in (mean, std))
        # (pixel - mean) / std with pixel = (image + 1) / 2
        self.register_buffer("scale", 0.5 / std_)
        self.register_buffer("shift", (0.5 - mean_) / std_)
        self.register_buffer("pretrained", torch.tensor(pretrained))  # a buffer: it belongs to the saved state

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for BatchNorm of pretrained weights."""
        super().train(mode)
        if self.pretrained:
            for layer in self.model.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        return self

    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make inputs ``images`` (n, p, p) or (n, 3, p, p) float32 in [-1, 1]."""
        assert images is not None, "an image backbone needs images"
        return ArrayInputs("images", torch.from_numpy(np.require(images, np.float32, ["C", "W"])))

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Batch with its images changed at random; it holds their ``periods``, see `augment.full`."""
        if self.augment == "none":
            return batch
        images = AUGMENTATIONS[self.augment](batch["images"], batch["periods"], generator)
        return {**batch, "images": images}

    def blocks(self) -> Blocks:
        """Every parameter once, in timm's coarse groups; in one where timm has none for this model."""
        if not hasattr(self.model, "group_matcher"):
            return super().blocks()
        parameters = dict(self.model.named_parameters())
        groups = timm.models.group_parameters(self.model, self.model.group_matcher(coarse=True))  # type: ignore[operator]
        return [[parameters[name] for name in groups[number]] for number in sorted(groups)]

    def forward(self, batch: Batch) -> Tensor:
        """Pooled features (b, n_features)."""
        images = batch["images"]
        pixels = images if images.ndim == 4 else images[:, None]
        if self.size is not None and pixels.shape[-1] != self.size:
            pixels = nn.functional.interpolate(
                pixels, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        pixels = pixels.expand(-1, 3, -1, -1)
        features: Tensor = self.model(pixels * self.scale + self.shift)
        return features


class TextBackbone(Backbone):
    """A transformers encoder; token vectors become one by the mean over real tokens or by the first token.

    Parameters
    ----------
    model : nn.Module
        Encoder with ``last_hidden_state``.
    tokenizer : transformers tokenizer
    pooling : {"mean", "cls"}
    max_tokens : int
        Longer texts are cut there, special tokens included.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, *, pooling: str, max_tokens: int) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_tokens = max_tokens
        self.n_features = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make inputs ``input_ids`` and ``attention_mask`` (b, tokens of the batch's longest text)."""
        assert texts is not None, "a text backbone needs texts"
        whole = self.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        n_cut = sum(len(tokens) > self.max_tokens for tokens in whole)
        cut = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return TokenInputs(cut, pad=self.tokenizer.pad_token_id, n_cut=n_cut)

    def blocks(self) -> Blocks:
        """Every parameter once: embeddings, then the numbered layers (ALBERT: the one it shares), then the rest."""
        return numbered_blocks(self.model)

    def forward(self, batch: Batch) -> Tensor:
        """Pooled features (b, n_features); padding has no part in them."""
        output = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        hidden: Tensor = output.last_hidden_state
        return hidden[:, 0] if self.pooling == "cls" else mean_pool(hidden, batch["attention_mask"])


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of token vectors (b, t, f) over the tokens with mask (b, t) = 1."""
    weight = mask.to(hidden.dtype)[:, :, None]
    return (hidden * weight).sum(dim=1) / weight.sum(dim=1)


def without_dense_layers(model: nn.Module) -> nn.Module:
    """Return a timm model without the two dense layers of 4096 that VGG has before its classifier, if it has them.

    The papers use the networks "without top", and what is left is pooled globally.
    """
    if isinstance(model, timm.models.vgg.VGG):
        model.pre_logits = nn.Identity()
        model.head_hidden_size = model.num_features
    return model


def image_backbone(options: ImageModel) -> ImageBackbone:
    """Build the named timm model and load its named weights, every key matched.

    Raises
    ------
    StudyError
        If the name is unknown, or the weights are missing or belong to another architecture.
    """
    name = timm_name(options.backbone)
    kind, _, package = options.weights.partition(":")
    if options.weights == RANDOM:
        model, mean, std = timm.create_model(name, num_classes=0), NEUTRAL, NEUTRAL
    elif kind == "package":
        weights = packaged(package)
        _check_architecture(options, name, str(weights.architecture))
        model, mean, std = timm.create_model(name), weights.mean, weights.std
        model.load_state_dict(read_packaged_image_state(weights), strict=True)
        model.reset_classifier(0)
    else:
        model = timm.create_model(f"local-dir:{locate(options.weights)}", pretrained=True)
        _check_architecture(options, name, model.pretrained_cfg["architecture"])
        mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
        model.reset_classifier(0)
    return ImageBackbone(
        model,
        mean=mean,
        std=std,
        pretrained=options.weights != RANDOM,
        size=options.size,
        augment=options.augment,
    )


def timm_name(backbone: str) -> str:
    """Name after ``timm:``, checked against timm's registry."""
    name = backbone.removeprefix(TIMM)
    if not backbone.startswith(TIMM) or not timm.is_model(name):
        raise StudyError(
            f"image.backbone = {backbone!r}: not a timm model{near(name, timm.list_models())}; write timm:<name>,"
            " names: python -c 'import timm; print(timm.list_models())'"
        )
    return name


def _check_architecture(options: ImageModel, name: str, architecture: str) -> None:
    if architecture != name:
        raise StudyError(
            f"image.weights = {options.weights!r} belong to {architecture}, image.backbone is {name};"
            f" set image.backbone to timm:{architecture}, or image.weights to random"
        )


def text_backbone(options: TextModel) -> TextBackbone:
    """Build the encoder and tokenizer of a folder, with its weights or random ones.

    Raises
    ------
    StudyError
        If the folder or package is missing, its weights do not fit its architecture, or texts may be too long for it.
    """
    folder = locate(options.backbone)
    folder = folder.parent if folder.is_file() else folder
    with _quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if options.weights == RANDOM:
            model = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
        else:
            model = _pretrained_encoder(folder)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # a layer on the first token that mean and cls pooling do not read
    if options.max_tokens > (most := most_tokens(model)):
        raise StudyError(
            f"language.max_tokens = {options.max_tokens}: {options.backbone} has places for {most:.0f} tokens;"
            f" set it to {most:.0f} or less"
        )
    return TextBackbone(model, tokenizer, pooling=options.pooling, max_tokens=options.max_tokens)


def most_tokens(model: nn.Module) -> float:
    """Longest text that an encoder has learnt places for [tokens]; infinite where it has no table of them."""
    places = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if not isinstance(places, nn.Embedding):
        return math.inf
    first = 0 if places.padding_idx is None else places.padding_idx + 1  # RoBERTa counts from behind the padding's
    return places.num_embeddings - first


def _pretrained_encoder(folder: Path) -> nn.Module:
    model, report = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise StudyError(
            f"language.backbone: {folder}/model.safetensors has no tensor {missing[0]} ({len(missing)} missing):"
            " weights of another architecture than config.json says; take both from one place"
        )
    encoder: nn.Module = model
    return encoder.float()


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and load reports of transformers: what matters of them is checked here."""
    bars = transformers.utils.logging.is_progress_bar_enabled()
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        if bars:
            transformers.utils.logging.enable_progress_bar()
