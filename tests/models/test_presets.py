"""The papers' backbones, in their true architecture with random weights."""

import json
import shutil

import numpy as np
import pytest
import torch

from rhoflow.config import Fusion, ImageModel, Readout, TextModel
from rhoflow.config.presets import IMAGE_PRESETS, TEXT_PRESETS
from rhoflow.errors import StudyError
from rhoflow.models.backbones import image_backbone, text_backbone
from rhoflow.models.networks import NETWORKS, FusionOptions

# isort: split
import timm

# Small images that the networks take, their trainable parameters and width without dense layers. The VGGs are those
# of Keras with include_top=False; the others differ in BatchNorm, whose running statistics Keras counts too.
IMAGE_FACTS = {
    "inception_v3": (75, 21_785_568, 2048),
    "xception": (71, 20_806_952, 2048),
    "vgg16": (32, 14_714_688, 512),
    "vgg19": (32, 20_024_384, 512),
    "densenet121": (32, 6_953_856, 1024),
}
# config.json of the four, as published; parameters without the pooler.
BERT = {
    "model_type": "bert",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
ROBERTA = BERT | {
    "model_type": "roberta",
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
ALBERT = BERT | {
    "model_type": "albert",
    "vocab_size": 30000,
    "embedding_size": 128,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "pad_token_id": 0,
}
POOLER = 768 * 768 + 768
TEXT_FACTS = {
    "roberta-base": (ROBERTA, 124_645_632 - POOLER),
    "albert-base-v2": (ALBERT, 11_683_584 - POOLER),
    "matbert": (BERT | {"vocab_size": 30522}, 109_482_240 - POOLER),
    "matscibert": (BERT | {"vocab_size": 31090}, 109_918_464 - POOLER),
}
LARGE = ("vgg16", "vgg19", "roberta-base", "matbert", "matscibert")


def _slow(name):
    return pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def true_encoder(folder, name, tiny_encoder):
    """Folder with the architecture of a text preset, a tokenizer that fits, and no weights."""
    for file in tiny_encoder.iterdir():
        shutil.copy(file, folder / file.name)
    (folder / "config.json").write_text(json.dumps(TEXT_FACTS[name][0]))
    (folder / "model.safetensors").write_bytes(b"")
    return TextModel(backbone=str(folder), weights="random", max_tokens=12)


@pytest.mark.parametrize("name", IMAGE_PRESETS)
def test_bare_image_name_brings_weights_and_size(name):
    preset = IMAGE_PRESETS[name]
    image = ImageModel(backbone=name)
    assert (image.backbone, image.weights, image.size) == (preset.backbone, preset.weights, preset.size)
    assert timm.is_model(preset.backbone.removeprefix("timm:"))
    assert preset.weights.rpartition("/")[2] in timm.list_pretrained()
    tag = timm.get_pretrained_cfg(preset.weights.rpartition("/")[2])
    assert tag.input_size[1] == preset.size


def test_bare_name_over_the_default_of_config_yaml_brings_its_own_weights():
    """Snakemake lays a study's keys over the default's, which names weights and a size of null."""
    overlaid = ImageModel().model_dump() | {"backbone": "inception_v3"}
    assert ImageModel(**overlaid).weights == "hf:timm/inception_v3.tv_in1k"


def test_named_weights_and_size_win_over_those_of_the_bare_name():
    image = ImageModel(backbone="inception_v3", weights="random", size=75)
    assert (image.weights, image.size) == ("random", 75)


def test_written_out_preset_is_read_back_unchanged():
    image = ImageModel(backbone="vgg16")
    assert ImageModel(**image.model_dump()) == image


@pytest.mark.parametrize("name", TEXT_PRESETS)
def test_bare_text_name_is_written_out(name):
    assert TextModel(backbone=name).backbone == TEXT_PRESETS[name]


def test_missing_weights_of_a_preset_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = r"hf:timm/inception_v3\.tv_in1k: not in the local cache .* run: rhoflow fetch-weights"
    with pytest.raises(StudyError, match=message):
        image_backbone(ImageModel(backbone="inception_v3"))


@pytest.mark.parametrize("name", [_slow(name) for name in IMAGE_PRESETS])
def test_image_preset_runs_and_takes_a_step(name):
    pixels, n, width = IMAGE_FACTS[name]
    torch.manual_seed(0)
    backbone = image_backbone(ImageModel(backbone=name, weights="random", size=pixels))
    assert (n_parameters(backbone), backbone.n_features) == (n, width)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 24, 24)).astype(np.float32)
    _takes_a_step(backbone, backbone.prepare(images, None)[[0, 1]])


def test_blocks_of_inception_run_from_the_stem_to_the_last_module():
    backbone = image_backbone(ImageModel(backbone="inception_v3", weights="random"))
    blocks = backbone.blocks()
    names = {id(parameter): name for name, parameter in backbone.model.named_parameters()}
    assert len(blocks) == 13
    assert all(names[id(parameter)].startswith("Conv2d_") for parameter in blocks[0])
    assert all(names[id(parameter)].startswith("Mixed_7c") for parameter in blocks[-1])


@pytest.mark.parametrize(("name", "n"), [("albert-base-v2", 2), pytest.param("matbert", 13, marks=pytest.mark.slow)])
def test_blocks_of_an_encoder_are_embeddings_and_layers(name, n, tiny_encoder, tmp_path):
    backbone = text_backbone(true_encoder(tmp_path, name, tiny_encoder))
    blocks = backbone.blocks()
    names = {id(parameter): name for name, parameter in backbone.model.named_parameters()}
    assert len(blocks) == n
    assert all("embedding" in names[id(parameter)] for parameter in blocks[0])
    assert not any("embeddings" in names[id(parameter)] for block in blocks[1:] for parameter in block)


@pytest.mark.parametrize("name", [_slow(name) for name in TEXT_PRESETS])
def test_text_preset_runs_and_takes_a_step(name, tiny_encoder, tmp_path):
    torch.manual_seed(0)
    backbone = text_backbone(true_encoder(tmp_path, name, tiny_encoder))
    assert (n_parameters(backbone), backbone.n_features) == (TEXT_FACTS[name][1], 768)
    _takes_a_step(backbone, backbone.prepare(None, ("NaCl is Halite structured.", "Ti."))[[0, 1]])


@pytest.mark.slow
def test_scalar_fusion_has_the_published_number_of_trainable_parameters(tiny_encoder, tmp_path):
    """arXiv 2401.09301v1, Table 3: dense_11 24,640 and dense_12 33; text 768, image 75 x 75, RoBERTa 124,645,632."""
    options = FusionOptions(
        image=ImageModel(backbone="inception_v3", weights="random", size=75),
        language=true_encoder(tmp_path, "roberta-base", tiny_encoder),
        readout=Readout(),
        fusion=Fusion(kind="scalar"),
    )
    network = NETWORKS["fusion"].make(options, {})
    images = np.random.default_rng(0).uniform(-1, 1, (2, 75, 75)).astype(np.float32)
    batch = network.prepare(images, ("NaCl is Halite structured.", "Ti."))[[0, 1]]
    with torch.no_grad():
        features = network.backbone.eval()(batch)
    assert features.shape == (2, 769)
    assert n_parameters(network.readout) == 24_673
    assert n_parameters(network.readout.hidden) == 24_640
    assert n_parameters(network.backbone.text) == 124_645_632 - POOLER
    (network.readout(features) ** 2).sum().backward()
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.grad is not None) == 24_673


def _takes_a_step(backbone, batch):
    optimizer = torch.optim.AdamW(backbone.train().parameters(), lr=1e-4, weight_decay=0)
    before = {key: value.detach().clone() for key, value in backbone.named_parameters()}
    features = backbone(batch)
    assert features.shape == (2, backbone.n_features)
    (features**2).sum().backward()
    optimizer.step()
    assert all(torch.isfinite(value).all() for value in backbone.parameters())
    assert any(not torch.equal(before[key], value) for key, value in backbone.named_parameters())
