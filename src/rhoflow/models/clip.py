"""CLIP: an image and a text tower that were trained to agree, as one backbone (open_clip's models).

The head is not published; arXiv 2401.09301v3 says that image and text embeddings go through one linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from rhoflow.config import Clip
from rhoflow.models.backbones import Backbone, Images, Side, Texts
from rhoflow.models.blocks import Blocks, join_blocks, numbered_blocks
from rhoflow.models.clip_weights import architecture, build_towers, load_towers, tokenizer_of, weights_file
from rhoflow.models.inputs import ArrayInputs, Batch, Inputs, JointInputs
from rhoflow.models.weights import RANDOM

# isort: split
import timm
from open_clip import SimpleTokenizer
from open_clip.transform import PreprocessCfg

MULTIPLY = "multiply"


class ClipBackbone(Backbone):
    """Both embeddings of a crystal, joined.

    The single channel of a density image is repeated for the three that the tower expects; three planes are those
    three. It becomes a pixel (image + 1) / 2 in [0, 1], is resized as by open_clip's own transform (antialiased, cut
    off at 0 and 1 after each direction) but in floating point, and each channel is shifted and scaled by mean and
    standard deviation of the weights.

    CLIP compares embeddings of length one, so their length was never trained: it is taken out, and their entries are
    scaled by the root of the width, to a mean square of one. Entries of the joined vector are then of order one too.

    Parameters
    ----------
    towers : nn.Module
        open_clip model with ``visual`` and ``text``.
    tokenizer : open_clip tokenizer
    size : (int, int)
        Pixels that the image tower sees.
    preprocess : dict
        ``mean``, ``std`` (of pixels in [0, 1]) and ``interpolation``.
    pretrained : bool
        Whether the towers have pretrained weights; BatchNorm then keeps its statistics, as in `ImageBackbone`.
    width : int
        Of each embedding.
    join : {"concatenate", "multiply"}
    """

    scale: Tensor
    shift: Tensor
    pretrained: Tensor

    def __init__(
        self,
        towers: Any,
        tokenizer: Any,
        *,
        size: tuple[int, int],
        preprocess: Mapping[str, Any],
        pretrained: bool,
        width: int,
        join: str,
    ) -> None:
        super().__init__()
        self.visual: nn.Module = towers.visual
        self.text: nn.Module = towers.text
        self.tokenizer = tokenizer
        self.size = size
        self.interpolation = preprocess["interpolation"]
        self.join = join
        self.n_features = width if join == MULTIPLY else 2 * width
        mean, std = (torch.tensor(preprocess[key], dtype=torch.float32).view(1, 3, 1, 1) for key in ("mean", "std"))
        self.register_buffer("scale", 1 / std)
        self.register_buffer("shift", -mean / std)
        self.register_buffer("pretrained", torch.tensor(pretrained))

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut there, special tokens included."""
        return int(self.tokenizer.context_length)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for BatchNorm of pretrained weights."""
        super().train(mode)
        if self.pretrained:
            for layer in self.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        return self

    def prepare(self, images: Images | None, texts: Texts | None, side: Side | None = None) -> Inputs:
        """Make inputs ``images`` (n, [3,] p, p) float32 in [-1, 1] and ``tokens`` (n, max_tokens) int64."""
        assert images is not None, "CLIP needs images"
        assert texts is not None, "CLIP needs texts"
        n_cut = sum(count_tokens(self.tokenizer, text) > self.max_tokens for text in texts)
        return JointInputs(
            ArrayInputs("images", torch.from_numpy(np.require(images, np.float32, ["C", "W"]))),
            ArrayInputs("tokens", self.tokenizer(list(texts)), n_cut=n_cut),
        )

    def blocks(self) -> Blocks:
        """Blocks of both towers side by side, the last ones together."""
        return join_blocks([tower_blocks(self.visual), tower_blocks(self.text)])

    def pixels(self, images: Tensor) -> Tensor:
        """Make what the image tower sees (b, 3, *size) of images (b, p, p) or (b, 3, p, p) in [-1, 1]."""
        pixels = ((images if images.ndim == 4 else images[:, None]) + 1) / 2
        height, width = self.size
        for size in ((pixels.shape[-2], width), (height, width)):  # one direction after the other, as Pillow
            if pixels.shape[-2:] != size:
                pixels = nn.functional.interpolate(
                    pixels, size=size, mode=self.interpolation, antialias=True, align_corners=False
                ).clamp(0, 1)
        return pixels * self.scale + self.shift

    def forward(self, batch: Batch) -> Tensor:
        """Join both embeddings to features (b, n_features)."""
        image = of_mean_square_one(self.visual(self.pixels(batch["images"])))
        text = of_mean_square_one(self.text(batch["tokens"]))
        return image * text if self.join == MULTIPLY else torch.cat([image, text], dim=1)


def of_mean_square_one(embedding: Tensor) -> Tensor:
    """Embeddings (b, f) without their lengths: the mean square over the f entries is 1."""
    return nn.functional.normalize(embedding.float(), dim=1) * math.sqrt(embedding.shape[1])


def count_tokens(tokenizer: Any, text: str) -> int:
    """Tokens of a text before it is cut, special tokens included."""
    if isinstance(tokenizer, SimpleTokenizer):
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text), truncation=False, verbose=False)["input_ids"])


def tower_blocks(tower: nn.Module) -> Blocks:
    """Every parameter of a tower once: timm's coarse groups and the projection, or open_clip's own layers."""
    trunk = getattr(tower, "trunk", None)
    if trunk is None or not hasattr(trunk, "group_matcher"):
        return numbered_blocks(tower)
    parameters = dict(trunk.named_parameters())
    groups = timm.models.group_parameters(trunk, trunk.group_matcher(coarse=True))
    head = list(tower.head.parameters())  # type: ignore[union-attr]
    blocks = [[parameters[name] for name in groups[number]] for number in sorted(groups)]
    return [*blocks, head] if head else blocks


def clip_backbone(options: Clip) -> ClipBackbone:
    """Build the named open_clip model and load its named weights, every key matched.

    Raises
    ------
    StudyError
        If the architecture is unknown, or the weights are missing or belong to another one.
    """
    found = architecture(options.model)
    file, expected = (None, found.preprocess) if options.weights == RANDOM else weights_file(options, found)
    towers: Any = build_towers(found)
    if file:
        load_towers(towers, file, options)
    height, width = timm.layers.to_2tuple(towers.visual.image_size)
    return ClipBackbone(
        towers,
        tokenizer_of(found),
        size=(height, width),
        preprocess={**vars(PreprocessCfg()), **found.preprocess, **expected},
        pretrained=file is not None,
        width=int(found.settings["embed_dim"]),
        join=options.join,
    )
