"""The networks: image, text, their fusion, and CLIP. Each is a backbone and a readout.

Stage one of the fit trains `readout` on the features of the frozen `backbone`, stage two both. The fusion network's
backbone is the image and the text network without their last layers: what they have in front of the new layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from rhoflow import config
from rhoflow.config import ImageModel, Section, TextModel
from rhoflow.errors import StudyError
from rhoflow.models.backbones import Backbone, Images, Side, Texts, image_backbone, text_backbone
from rhoflow.models.blocks import Blocks, join_blocks
from rhoflow.models.inputs import Batch, Inputs, JointInputs
from rhoflow.models.names import WEIGHTS
from rhoflow.models.readout import Readout
from rhoflow.models.registry import Registry
from rhoflow.models.side import SideBackbone
from rhoflow.models.weights import RANDOM

FUSION_WIDTHS = (256,)
SCALAR_WIDTHS = (32,)


class Network(nn.Module):
    """A backbone and the readout on it.

    Parameters
    ----------
    backbone, readout : nn.Module
        From a batch to features, and from features to the standardised target.
    weights : dict of str to str
        Pretrained weights by modality, for the record.
    """

    def __init__(self, backbone: Backbone, readout: Readout, weights: dict[str, str]) -> None:
        super().__init__()
        self.backbone = backbone
        self.readout = readout
        self.weights = weights

    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make this network's inputs of the materials' images (n, p, p), texts (n) and side values (n, 2)."""
        return self.backbone.prepare(images, texts, side)

    def penultimate(self, batch: Batch) -> Tensor:
        """Last hidden vector (b, 256)."""
        return self.readout.penultimate(self.backbone(batch))

    def forward(self, batch: Batch) -> Tensor:
        """Standardised target (b,)."""
        prediction: Tensor = self.readout(self.backbone(batch))
        return prediction

    def loss(self, batch: Batch, z: Tensor) -> Tensor:
        """Return what training lowers on a batch with standardised targets (b,), see `Readout.loss`."""
        return self.readout.loss(self.backbone(batch), z)


class FusedBackbone(Backbone):
    """Two networks without their last layers, their penultimate vectors concatenated."""

    def __init__(self, image: Network, text: Network) -> None:
        super().__init__()
        self.backbones = nn.ModuleDict({"image": image.backbone, "text": text.backbone})
        self.hidden = nn.ModuleDict({"image": image.readout.hidden, "text": text.readout.hidden})
        self.n_features = image.readout.n_penultimate + text.readout.n_penultimate

    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make both kinds of inputs, side by side."""
        parts = (self.backbones[name].prepare(images, texts, side) for name in self.backbones)  # type: ignore[operator]
        return JointInputs(*parts)

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Batch as each of the two backbones would change it."""
        for backbone in self.backbones.values():
            batch = backbone.augmented(batch, generator)  # type: ignore[operator]
        return batch

    def blocks(self) -> Blocks:
        """Blocks of both backbones side by side, the last ones together, then the hidden layers of both readouts."""
        sides = [backbone.blocks() for backbone in self.backbones.values()]  # type: ignore[operator]
        return [*join_blocks(sides), list(self.hidden.parameters())]

    def forward(self, batch: Batch) -> Tensor:
        """Concatenated penultimate vectors (b, 256 + 256)."""
        return torch.cat([self.hidden[name](self.backbones[name](batch)) for name in self.backbones], dim=1)


class ScalarFusedBackbone(Backbone):
    """The prediction of an image network beside the pooled text (arXiv 2401.09301v1, Table 3: 1 + 768)."""

    def __init__(self, image: Network, text: Backbone) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.n_features = 1 + text.n_features

    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make both kinds of inputs, side by side."""
        return JointInputs(self.image.prepare(images, texts, side), self.text.prepare(images, texts))

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Batch as the image network's backbone would change it."""
        return self.image.backbone.augmented(batch, generator)

    def blocks(self) -> Blocks:
        """Blocks of the image network, its readout last, and of the text encoder, joined at their ends."""
        image = [*self.image.backbone.blocks(), list(self.image.readout.parameters())]
        return join_blocks([image, self.text.blocks()])

    def forward(self, batch: Batch) -> Tensor:
        """Standardised prediction of the image network and text features (b, 1 + f)."""
        return torch.cat([self.image(batch)[:, None], self.text(batch)], dim=1)


Parents = Mapping[str, Path]
NETWORKS: Registry[Callable[[Any, Parents], Network]] = Registry("network")


class ImageOptions(Section):
    """What the image network depends on."""

    image: ImageModel
    readout: config.Readout
    two_part: bool = False


class TextOptions(Section):
    """What the text network depends on."""

    language: TextModel
    readout: config.Readout
    two_part: bool = False


class ClipOptions(Section):
    """What the CLIP network depends on."""

    clip: config.Clip
    two_part: bool = False


class FusionOptions(ImageOptions, TextOptions):
    """What the fusion network depends on."""

    fusion: config.Fusion = config.Fusion()


@NETWORKS.register("image", options=ImageOptions)
def image_network(options: ImageOptions, parents: Parents) -> Network:
    """Build a timm model and the papers' readout."""
    backbone: Backbone = image_backbone(options.image)
    if options.image.side_inputs:
        backbone = SideBackbone(backbone)
    return Network(backbone, _readout(backbone, options), {"image": options.image.weights})


@NETWORKS.register("text", options=TextOptions)
def text_network(options: TextOptions, parents: Parents) -> Network:
    """Build a transformer encoder and the papers' readout."""
    backbone = text_backbone(options.language)
    return Network(backbone, _readout(backbone, options), {"text": _text_weights(options)})


@NETWORKS.register("fusion", options=FusionOptions, parents=lambda options: options.fusion.parents)
def fusion_network(options: FusionOptions, parents: Parents) -> Network:
    """Build on the trained image and text networks, their last layers replaced by two new ones on both.

    With ``fusion.kind: scalar``: on the prediction of the trained image network and on the pretrained text encoder.
    """
    if options.fusion.kind == "scalar":
        return _scalar_fusion(options, parents)
    random_image = options.image.model_copy(update={"weights": RANDOM})
    random_text = options.language.model_copy(update={"weights": RANDOM})
    both: dict[str, Any] = {"readout": options.readout, "two_part": options.two_part}
    image = image_network(ImageOptions(image=random_image, **both), {})
    text = text_network(TextOptions(language=random_text, **both), {})
    for name, network in {"image": image, "text": text}.items():
        if name in parents:
            load_state(network, parents[name])
    backbone = FusedBackbone(image, text)
    readout = Readout(backbone.n_features, FUSION_WIDTHS, options.readout.dropout, two_part=options.two_part)
    return Network(backbone, readout, {"image": options.image.weights, "text": _text_weights(options)})


def _scalar_fusion(options: FusionOptions, parents: Parents) -> Network:
    random_image = options.image.model_copy(update={"weights": RANDOM})
    one = ImageOptions(image=random_image, readout=options.readout, two_part=options.two_part)
    image = image_network(one, {})
    if "image" in parents:
        load_state(image, parents["image"])
    text = text_backbone(options.language.model_copy(update={"pooling": "mean"}))
    backbone = ScalarFusedBackbone(image, text)
    how = {"batch_norm": False, "two_part": options.two_part}
    readout = Readout(backbone.n_features, SCALAR_WIDTHS, options.readout.dropout, **how)
    return Network(backbone, readout, {"image": options.image.weights, "text": _text_weights(options)})


@NETWORKS.register("clip", options=ClipOptions)
def clip_network(options: ClipOptions, parents: Parents) -> Network:
    """Build open_clip's two towers and a linear layer on their joined embeddings."""
    from rhoflow.models.clip import clip_backbone  # here: importing open_clip takes a second

    backbone = clip_backbone(options.clip)
    readout = Readout(backbone.n_features, (), dropout=0.0, two_part=options.two_part)
    return Network(backbone, readout, dict.fromkeys(("image", "text"), options.clip.weights))


def _readout(backbone: Backbone, options: ImageOptions | TextOptions) -> Readout:
    widths, dropout = options.readout.widths, options.readout.dropout
    return Readout(backbone.n_features, widths, dropout, two_part=options.two_part)


def _text_weights(options: TextOptions) -> str:
    return RANDOM if options.language.weights == RANDOM else options.language.backbone


def load_state(network: Network, run: Path) -> None:
    """Load a run's model.safetensors into a network of the same architecture.

    Raises
    ------
    StudyError
        If the file is missing or belongs to another architecture.
    """
    file = run / WEIGHTS
    if not file.is_file():
        raise StudyError(f"{file} is missing: that run comes first; make it with snakemake {file}")
    try:
        safetensors.torch.load_model(network, file, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"{file} does not fit the configured architecture ({reason}); train that run again"
        ) from None


def save_state(network: Network, run: Path) -> None:
    """Write a run's model.safetensors."""
    safetensors.torch.save_model(network, str(run / WEIGHTS))
