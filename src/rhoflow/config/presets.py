"""The papers' backbones by their bare names.

Seed 001 uses the five image backbones and RoBERTa or ALBERT, seed 000 InceptionV3 and RoBERTa, seed 003 MatBERT. None
of the papers says which ImageNet weights it took: these are the ones closest to Keras' that timm keeps.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImagePreset:
    """A timm model, its weights, and what they expect.

    Attributes
    ----------
    backbone : str
        timm's name, ``timm:`` before it.
    weights : str
        Repository on the Hugging Face hub, ``hf:`` before it, or a folder.
    size : int
        Pixels a side that the weights were trained on.
    """

    backbone: str
    weights: str
    size: int


# Not on a hub, as far as timm's registry and the authors say, hence a folder below the project (docs/models.md):
# legacy_xception, whose weights timm takes from a release file, and MatBERT, an archive.
IMAGE_PRESETS = {
    "inception_v3": ImagePreset("timm:inception_v3", "hf:timm/inception_v3.tv_in1k", 299),
    "xception": ImagePreset("timm:legacy_xception", "weights/legacy_xception.tf_in1k", 299),
    "vgg16": ImagePreset("timm:vgg16", "hf:timm/vgg16.tv_in1k", 224),
    "vgg19": ImagePreset("timm:vgg19", "hf:timm/vgg19.tv_in1k", 224),
    "densenet121": ImagePreset("timm:densenet121", "hf:timm/densenet121.tv_in1k", 224),
}
TEXT_PRESETS = {
    "roberta-base": "hf:FacebookAI/roberta-base",
    "albert-base-v2": "hf:albert/albert-base-v2",
    "matbert": "weights/matbert-base-cased",
    "matscibert": "hf:m3rg-iitd/matscibert",
}
