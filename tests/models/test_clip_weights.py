"""Which file a study's CLIP weights are: found offline, of the right architecture, never pickled."""

import json
import logging

import huggingface_hub
import pytest
import safetensors.torch
import tiny
import torch

from rhoflow.config import Clip, Study
from rhoflow.doctor.needs import check_weights
from rhoflow.errors import StudyError
from rhoflow.models.clip import clip_backbone
from rhoflow.models.clip_weights import architecture, build_towers, hub_name, weights_file
from rhoflow.models.hub import study_weights

# isort: split
import open_clip

TRUE = "ViT-B-32-quickgelu"


@pytest.fixture
def folder(tmp_path):
    """Tiny CLIP with weights, saved as open_clip saves them."""
    folder = tiny.write_tiny_clip(tmp_path / "clip")
    torch.manual_seed(3)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    safetensors.torch.save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def _change(folder, **changes):
    file = folder / "open_clip_config.json"
    saved = json.loads(file.read_text())
    file.write_text(json.dumps({**saved, "model_cfg": saved["model_cfg"] | changes}))


@pytest.mark.parametrize("name", ["", "open_clip_model.safetensors"], ids=["folder", "file"])
def test_weights_of_a_folder_are_loaded(folder, name):
    saved = safetensors.torch.load_file(folder / "open_clip_model.safetensors")
    backbone = clip_backbone(Clip(model=str(folder), weights=str(folder / name)))
    assert torch.equal(backbone.visual.state_dict()["conv1.weight"], saved["visual.conv1.weight"])
    assert torch.equal(backbone.text.state_dict()["token_embedding.weight"], saved["token_embedding.weight"])
    assert bool(backbone.pretrained)


def test_random_weights_ignore_the_file_that_is_there(folder):
    saved = safetensors.torch.load_file(folder / "open_clip_model.safetensors")
    torch.manual_seed(0)
    backbone = clip_backbone(Clip(model=str(folder), weights="random"))
    assert not torch.equal(backbone.visual.state_dict()["conv1.weight"], saved["visual.conv1.weight"])
    assert not bool(backbone.pretrained)


def test_folder_says_what_its_weights_expect_of_images(folder):
    file = folder / "open_clip_config.json"
    expected = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 1.0]}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"preprocess_cfg": expected}))
    backbone = clip_backbone(Clip(model=str(folder), weights=str(folder)))
    assert backbone.scale.flatten().tolist() == pytest.approx([2, 4, 1])
    assert backbone.shift.flatten().tolist() == pytest.approx([-0.2, -0.8, -0.3])


def _cache(tmp_path, monkeypatch, repository="timm/vit_base_patch32_clip_224.openai", **changes):
    """A cache of the hub with one repository, its weights a stand-in."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    stem = tmp_path / f"models--{repository.replace('/', '--')}"
    snapshot = stem / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (stem / "refs").mkdir()
    (stem / "refs/main").write_text("0" * 40)
    config = open_clip.get_model_config(TRUE) | changes
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (snapshot / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    (snapshot / "open_clip_model.safetensors").write_bytes(b"")
    return snapshot


@pytest.mark.parametrize("weights", ["openai", "hf:timm/vit_base_patch32_clip_224.openai"])
def test_tag_and_repository_are_found_in_the_local_cache(tmp_path, monkeypatch, weights):
    snapshot = _cache(tmp_path, monkeypatch)
    file, preprocess = weights_file(Clip(weights=weights), architecture(TRUE))
    assert file == snapshot / "open_clip_model.safetensors"
    assert preprocess["mean"] == [0.5] * 3


def test_weights_of_another_activation_in_the_cache_are_refused(tmp_path, monkeypatch):
    _cache(tmp_path, monkeypatch, quick_gelu=False)
    with pytest.raises(StudyError, match=r"belong to a model with quick_gelu = False; clip\.model = .* has True"):
        weights_file(Clip(), architecture(TRUE))


def test_missing_weights_name_the_repository_and_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(StudyError, match=r"vit_base_patch32_clip_224\.openai: not in .*run: rhoflow fetch-weights"):
        clip_backbone(Clip())


def test_every_tag_of_open_clip_has_a_repository():
    for model, tag in open_clip.list_pretrained():
        name = hub_name(Clip(model=model, weights=tag))
        assert name is not None
        assert name.startswith("hf:")
        assert name.count("/") == 1


@pytest.mark.parametrize("text", ["[]", "{}", '{"model_cfg": {"vision_cfg": {}, "text_cfg": 1}}'])
def test_configuration_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "open_clip_config.json").write_text(text)
    with pytest.raises(StudyError, match=r"open_clip_config\.json: needs model_cfg with vision_cfg and text_cfg"):
        architecture(str(tmp_path))


def test_random_weights_and_folders_are_no_download(folder):
    assert hub_name(Clip(weights="random")) is None
    assert hub_name(Clip(weights=str(folder))) is None


WRONG = {
    "unknown model": (
        {"model": "ViT-B32"},
        r"clip\.model = 'ViT-B32': neither .*did you mean 'ViT-B-32'.*list_models",
    ),
    "unknown tag": ({"weights": "opnai"}, r"clip\.weights = 'opnai': .*did you mean 'openai'.*its tags: openai, lai"),
    "tag of another model": (
        {"model": "RN50", "weights": "laion2b_s34b_b79k"},
        r"one of open_clip's tags for 'RN50'",
    ),
    "other activation": ({"model": "ViT-B-32"}, r"trained with QuickGELU.* set clip\.model to ViT-B-32-quickgelu"),
    "model that writes": ({"model": "coca_ViT-B-32"}, r"writes texts \(CoCa\)"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_names_are_told_what_is_right(changes, message):
    with pytest.raises(StudyError, match=message):
        clip_backbone(Clip(**changes))


@pytest.mark.parametrize("name", ["model.pt", "model.bin"])
def test_pickled_weights_are_not_read(folder, name):
    torch.save({}, folder / name)
    with pytest.raises(StudyError, match=r"pickled weights can run programs and are not read.*open_clip_model\.safe"):
        clip_backbone(Clip(model=str(folder), weights=str(folder / name)))


def test_folder_without_weights_is_named(tmp_path):
    folder = str(tiny.write_tiny_clip(tmp_path))
    with pytest.raises(StudyError, match=r"open_clip_model\.safetensors: there is no such file"):
        clip_backbone(Clip(model=folder, weights=folder))


def test_weights_of_another_architecture_are_refused(folder, tmp_path):
    other = tiny.write_tiny_clip(tmp_path / "other")
    _change(other, embed_dim=4)
    with pytest.raises(StudyError, match=r"belong to a model with embed_dim = 8; .* has 4; take both from one place"):
        clip_backbone(Clip(model=str(other), weights=str(folder)))


def test_file_of_another_architecture_is_refused(folder, tmp_path):
    other = tiny.write_tiny_clip(tmp_path / "other")
    _change(other, embed_dim=4)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((folder / "open_clip_model.safetensors").read_bytes())
    with pytest.raises(StudyError, match=r"alone\.safetensors does not fit clip\.model .*size mismatch"):
        clip_backbone(Clip(model=str(other), weights=str(alone)))


def test_text_tower_from_the_hub_is_not_downloaded(tmp_path):
    folder = tiny.write_tiny_clip(tmp_path)
    _change(folder, text_cfg={"hf_model_name": "rhoflow/no-such-model", "hf_tokenizer_name": "rhoflow/no-such-model"})
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(
        StudyError, match=r"is rhoflow/no-such-model, not in the local cache.*run: hf download rhoflow"
    ):
        build_towers(architecture(str(folder)))
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE


def test_root_logger_is_left_as_it_was(folder, caplog):
    root = logging.getLogger()
    before = list(root.handlers), list(root.filters)
    with caplog.at_level(logging.INFO):
        clip_backbone(Clip(model=str(folder), weights="random"))
    assert (root.handlers, root.filters) == before
    assert caplog.records == []


def test_fetch_weights_brings_the_repository_of_the_tag():
    study = Study(models=("clip",))
    assert study_weights(study) == {"clip.weights": "hf:timm/vit_base_patch32_clip_224.openai"}
    assert study_weights(study.model_copy(update={"clip": Clip(weights="random")})) == {"clip.weights": "random"}


def test_doctor_finds_missing_weights_and_wrong_names(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    study = Study(models=("clip",))
    missing, wrong = (
        check_weights(study.model_copy(update={"clip": Clip(weights=weights)}))[0] for weights in ("openai", "opnai")
    )
    assert missing.change == "rhoflow fetch-weights --study <study's file>"
    assert "did you mean 'openai'" in wrong.text


def test_doctor_finds_the_weights_of_a_tag(tmp_path, monkeypatch):
    snapshot = _cache(tmp_path, monkeypatch)
    assert str(snapshot) in check_weights(Study(models=("clip",)))[0].text
