"""CLIP's backbone against open_clip itself, and what is ours: the joined embeddings, the blocks, the counted cuts."""

import json

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from rhoflow.config import Clip
from rhoflow.models.clip import clip_backbone, count_tokens, tower_blocks
from rhoflow.models.networks import NETWORKS, ClipOptions

# isort: split
import open_clip
from PIL import Image

CLOSE = 1e-5
# Pillow rounds to 1/255 after each of the two directions; the smallest standard deviation is 0.261.
PILLOW = 1.5 / 255 / 0.261
TEXTS = ("Ti.", "NaCl is Halite structured.", "All Mg-O bond lengths are 2.11 Å. " * 5)
TRUE = "ViT-B-32-quickgelu"


def _folder(path, **changes):
    """Tiny CLIP's folder with other settings."""
    folder = tiny.write_tiny_clip(path)
    saved = json.loads((folder / "open_clip_config.json").read_text())
    for section, values in changes.items():
        saved["model_cfg"][section] = values
    (folder / "open_clip_config.json").write_text(json.dumps(saved))
    return str(folder)


@pytest.fixture
def build(tmp_path):
    def make(join="concatenate", seed=0, **changes):
        torch.manual_seed(seed)
        return clip_backbone(Clip(model=_folder(tmp_path / "clip", **changes), weights="random", join=join)).eval()

    return make


def _picture(size, seed=0, levels=256):
    """A random grey picture, as Pillow has it and as rhoflow has it (1, p, p)."""
    grey = np.random.default_rng(seed).integers(0, levels, size=(size, size)) * (255 // (levels - 1))
    image = (2 * grey / 255 - 1).astype(np.float32)
    return Image.fromarray(grey.astype(np.uint8)), torch.from_numpy(image)[None]


@pytest.mark.parametrize("size", [20, 32, 75], ids=["enlarged", "as-it-is", "reduced"])
@pytest.mark.parametrize("levels", [2, 256], ids=["black-and-white", "grey"])
def test_pixels_are_those_of_open_clips_own_transform(build, tmp_path, size, levels):
    backbone = build()
    _, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'clip'}", load_weights=False)
    picture, image = _picture(size, levels=levels)
    ours, theirs = backbone.pixels(image)[0], preprocess(picture)
    assert ours.shape == theirs.shape == (3, 32, 32)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=PILLOW)


def test_three_planes_are_the_three_channels(build):
    backbone = build()
    planes = torch.cat([_picture(75, seed)[1] for seed in range(3)])
    together, alone = backbone.pixels(planes[None])[0], backbone.pixels(planes)
    for channel in range(3):
        np.testing.assert_allclose(together[channel], alone[channel, channel], rtol=0, atol=CLOSE)


def test_tokens_are_those_of_open_clips_own_tokenizer(build, tmp_path):
    backbone = build()
    inputs = backbone.prepare(np.zeros((3, 8, 8), np.float32), TEXTS)
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'clip'}")(list(TEXTS))
    assert torch.equal(inputs[[0, 1, 2]]["tokens"], theirs)
    assert theirs.shape == (3, 24)


def test_token_count_is_the_place_of_the_end_token_in_uncut_text():
    tokenizer = open_clip.SimpleTokenizer()
    whole = tokenizer(list(TEXTS), context_length=1000)
    ends = (whole == tokenizer.eot_token_id).nonzero()[:, 1] + 1
    assert [count_tokens(tokenizer, text) for text in TEXTS] == ends.tolist()


def test_only_texts_beyond_the_limit_are_cut_and_counted(build):
    backbone = build()
    fits, beyond = " ".join(["a"] * 22), " ".join(["a"] * 23)
    inputs = backbone.prepare(np.zeros((3, 8, 8), np.float32), (fits, beyond, "Ti."))
    tokens = inputs[[0, 1]]["tokens"]
    assert (count_tokens(backbone.tokenizer, fits), count_tokens(backbone.tokenizer, beyond)) == (24, 25)
    assert torch.equal(tokens[0], tokens[1])
    assert inputs.n_cut == 1


def test_what_a_true_model_counts_as_cut_is_beyond_77_tokens():
    assert open_clip.get_tokenizer(TRUE).context_length == 77


def _theirs(backbone, folder):
    """open_clip's own model with the backbone's weights."""
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, force_custom_text=True).eval()
    model.visual.load_state_dict(backbone.visual.state_dict())
    model.text.load_state_dict(backbone.text.state_dict())
    return model


@pytest.mark.parametrize("join", ["concatenate", "multiply"])
def test_features_are_open_clips_normalised_embeddings_joined(build, tmp_path, join):
    backbone = build(join=join)
    images = np.random.default_rng(1).uniform(-1, 1, (3, 32, 32)).astype(np.float32)
    batch = backbone.prepare(images, TEXTS)[[0, 1, 2]]
    model = _theirs(backbone, tmp_path / "clip")
    with torch.no_grad():
        features = backbone(batch)
        image = model.encode_image(backbone.pixels(batch["images"]), normalize=True)
        text = model.encode_text(batch["tokens"], normalize=True)
    if join == "multiply":  # its mean is the cosine that CLIP is trained on
        np.testing.assert_allclose(features.mean(dim=1), (image * text).sum(dim=1), rtol=0, atol=CLOSE)
        np.testing.assert_allclose(features, 8 * image * text, rtol=0, atol=CLOSE)
    else:
        np.testing.assert_allclose(features, np.sqrt(8) * torch.cat([image, text], dim=1), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("join", ["concatenate", "multiply"])
def test_neither_image_nor_text_is_ignored(build, join):
    backbone = build(join=join)
    images = np.random.default_rng(2).uniform(-1, 1, (2, 32, 32)).astype(np.float32)
    with torch.no_grad():
        one, image, text = (
            backbone(backbone.prepare(images[[row]], (words,))[[0]])
            for row, words in ((0, "Ti."), (1, "Ti."), (0, "MgO."))
        )
    assert (one - image).abs().max() > 100 * CLOSE
    assert (one - text).abs().max() > 100 * CLOSE


def test_head_is_one_linear_layer(build, tmp_path):
    options = ClipOptions(clip=Clip(model=_folder(tmp_path / "clip"), weights="random"))
    network = NETWORKS["clip"].make(options, {}).eval()
    features = torch.randn(4, 16)
    layer = network.readout.last
    expected = features @ layer.weight[0] + layer.bias
    np.testing.assert_allclose(network.readout(features).detach(), expected.detach(), rtol=0, atol=CLOSE)
    assert sum(parameter.numel() for parameter in network.readout.parameters()) == 16 + 1


RESIDUAL = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}
TIMM = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"}


@pytest.mark.parametrize("vision", [RESIDUAL, TIMM], ids=["residual-network", "timm"])
def test_other_image_towers_embed_and_have_their_blocks(build, vision):
    backbone = build(vision_cfg=vision)
    images = np.zeros((2, 40, 40), np.float32)
    assert backbone(backbone.prepare(images, TEXTS[:2])[[0, 1]]).shape == (2, 16)
    blocks = tower_blocks(backbone.visual)
    held = sorted(id(parameter) for block in blocks for parameter in block)
    assert held == sorted(id(parameter) for parameter in backbone.visual.parameters())
    assert len(blocks) > 2


@pytest.mark.parametrize("pretrained", [True, False])
def test_batch_norm_of_pretrained_towers_keeps_its_statistics(build, pretrained):
    backbone = build(vision_cfg=RESIDUAL)
    backbone.pretrained.fill_(pretrained)
    norm = next(layer for layer in backbone.train().modules() if isinstance(layer, nn.BatchNorm2d))
    before = norm.running_mean.clone()
    backbone(backbone.prepare(np.zeros((2, 32, 32), np.float32), TEXTS[:2])[[0, 1]])
    assert torch.equal(norm.running_mean, before) == pretrained
    assert backbone.training


@pytest.fixture(scope="module")
def true_network():
    """The papers' architecture, untrained."""
    torch.manual_seed(0)
    return NETWORKS["clip"].make(ClipOptions(clip=Clip(weights="random")), {}).eval()


def test_true_architecture_has_the_published_size(true_network):
    """OpenAI's model card: 151.3 million; the temperature of its loss has no part here."""
    towers = sum(parameter.numel() for parameter in true_network.backbone.parameters())
    assert towers == 151_277_313 - 1
    assert len(true_network.backbone.blocks()) == 14
    assert true_network.readout.n_penultimate == 1024


def test_true_architecture_sees_a_slice_as_open_clip_would(true_network):
    preprocess = open_clip.image_transform(224, is_train=False)
    picture, image = _picture(299, seed=4)
    np.testing.assert_allclose(true_network.backbone.pixels(image)[0], preprocess(picture), rtol=0, atol=PILLOW)


def test_true_architecture_predicts_and_repeats_itself(true_network):
    images = np.random.default_rng(3).uniform(-1, 1, (2, 299, 299)).astype(np.float32)
    batch = true_network.prepare(images, TEXTS[:2])[[0, 1]]
    with torch.no_grad():
        once, again = true_network(batch), true_network(batch)
    assert once.shape == (2,)
    assert torch.equal(once, again)
    assert once[0] != once[1]
