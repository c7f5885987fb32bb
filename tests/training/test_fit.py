import dataclasses

import numpy as np
import pytest
import tiny
import torch

from rhoflow.config import FinetuneStage, ReadoutStage
from rhoflow.errors import StudyError
from rhoflow.models.networks import NETWORKS
from rhoflow.training.evaluate import RunKey
from rhoflow.training.fit import FeatureCache, fit
from rhoflow.training.resume import ResumeFile
from rhoflow.training.scaler import Scaler

KEY = RunKey("image", "k_vrh", "none", 0, 0)
CLOSE = 1e-4


@pytest.fixture
def network(tiny_options):
    torch.manual_seed(0)
    return NETWORKS["image"].make(NETWORKS["image"].take_options(tiny_options), {})


def _fit(network, tmp_path, *, frozen=False, data=None, **training):
    data = data or tiny.tiny_data()
    return fit(
        network,
        data,
        training=tiny.tiny_training(**training),
        scaler=Scaler.fit(data.y[data.rows("train")]),
        frozen=frozen,
        seed=KEY.random_seed,
        resume=ResumeFile(tmp_path / "resume.pt", "digest"),
        cache=FeatureCache(),
    )


def test_both_stages_are_run_and_told(network, tmp_path):
    fitted = _fit(network, tmp_path)
    assert [stage["name"] for stage in fitted.stages] == ["readout", "finetune"]
    assert [stage["epochs"] for stage in fitted.stages] == [5, 3]
    assert [row["stage"] for row in fitted.history] == ["readout"] * 5 + ["finetune"] * 3


def test_readout_stage_leaves_the_backbone_untouched(network, tmp_path):
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    _fit(network, tmp_path, frozen=True)
    after = network.backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_finetune_stage_changes_the_backbone_where_it_helps(network, tmp_path):
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    none = ReadoutStage(epochs=0)
    fitted = _fit(network, tmp_path, readout=none)
    after = network.backbone.state_dict()
    assert fitted.stages[0] == {"name": "readout", "epochs": 0, "best_epoch": 0, "stopped": "skipped by config"}
    assert fitted.stages[1]["best_epoch"] > 0
    assert not all(torch.equal(before[key], after[key]) for key in before)


def test_pretrained_batch_norm_is_fine_tuned_without_a_warning(network, tmp_path):
    """Lightning remarks on layers in evaluation mode, which they are on purpose."""
    network.backbone.pretrained.fill_(True)
    before = network.backbone.model.bn1.running_mean.clone()
    fitted = _fit(network, tmp_path)
    assert fitted.stages[1]["epochs"] > 0
    assert torch.equal(network.backbone.model.bn1.running_mean, before)


def test_frozen_backbone_is_reported(network, tmp_path):
    fitted = _fit(network, tmp_path, frozen=True)
    assert fitted.stages[1] == {"name": "finetune", "epochs": 0, "best_epoch": 0, "stopped": "frozen by config"}


def test_predictions_are_those_of_the_network_it_leaves(network, tmp_path):
    data = tiny.tiny_data()
    scaler = Scaler.fit(data.y[data.rows("train")])
    fitted = _fit(network, tmp_path)
    network.eval()
    with torch.no_grad():
        z = network(network.prepare(data.images, None)[list(range(len(data.ids)))])
    np.testing.assert_allclose(fitted.y_pred, scaler.restore(z.double().numpy()), rtol=CLOSE, atol=0)


def test_best_network_has_the_lowest_validation_error_of_both_stages(network, tmp_path):
    data = tiny.tiny_data()
    fitted = _fit(network, tmp_path, finetune=FinetuneStage(epochs=2, learning_rate=0.5, batch_size=4))
    rows = data.rows("val")
    rmse = np.sqrt(np.mean((fitted.y_pred[rows] - data.y[rows]) ** 2))
    assert rmse == pytest.approx(min(row["val_rmse"] for row in fitted.history), rel=CLOSE)


def test_test_targets_change_nothing(tiny_options, tmp_path):
    data = tiny.tiny_data()
    other = dataclasses.replace(data, y=np.where(data.part == "test", 1e6, data.y))
    predictions = []
    for name, given in {"one": data, "two": other}.items():
        torch.manual_seed(0)
        network = NETWORKS["image"].make(NETWORKS["image"].take_options(tiny_options), {})
        predictions.append(_fit(network, tmp_path / name, data=given).y_pred)
    assert np.array_equal(*predictions)


def test_nothing_to_train_is_an_error(network, tmp_path):
    with pytest.raises(StudyError, match=r"readout\.epochs = 0 and the backbone is frozen: nothing to train"):
        _fit(network, tmp_path, frozen=True, readout=ReadoutStage(epochs=0))


@pytest.mark.parametrize(("part", "least"), [("train", 2), ("val", 1)])
def test_too_few_materials_say_what_to_do(network, tmp_path, part, least):
    data = tiny.tiny_data()
    other = {"train": "val", "val": "train"}[part]
    parts = np.where(data.part == part, other, data.part)
    if part == "train":
        parts[0] = "train"
    short = dataclasses.replace(data, part=parts)
    with pytest.raises(StudyError, match=rf"materials in the {part} part, at least {least} needed; lower splits"):
        fit(
            network,
            short,
            training=tiny.tiny_training(),
            scaler=Scaler(0.0, 1.0),
            frozen=False,
            seed=KEY.random_seed,
            resume=ResumeFile(tmp_path / "resume.pt", "digest"),
            cache=FeatureCache(),
        )


class _Counted(torch.nn.Module):
    """Counts the batches that pass through a backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.batches = 0

    def forward(self, batch):
        self.batches += 1
        return self.backbone(batch)


def test_features_are_computed_once_for_all_folds(network):
    cache, backbone = FeatureCache(), _Counted(network.backbone)
    features = []
    for fold in (0, 1):
        data = tiny.tiny_data(fold)
        features.append(cache.get(backbone, network.prepare(data.images, None), data))
    assert backbone.batches == 1
    assert torch.equal(*features)


def test_features_of_other_images_or_weights_are_computed_anew(network):
    cache, backbone = FeatureCache(), _Counted(network.backbone)
    data = tiny.tiny_data()
    inputs = network.prepare(data.images, None)
    first = cache.get(backbone, inputs, data)
    other = dataclasses.replace(data, images=-data.images)
    flipped = cache.get(backbone, network.prepare(other.images, None), other)
    with torch.no_grad():
        next(network.backbone.parameters()).mul_(2)
    heavier = cache.get(backbone, network.prepare(other.images, None), other)
    assert backbone.batches == 3
    assert not torch.equal(first, flipped)
    assert not torch.equal(flipped, heavier)
