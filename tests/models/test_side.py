import numpy as np
import pytest
import torch

from rhoflow.config import ImageModel
from rhoflow.errors import StudyError
from rhoflow.models.backbones import image_backbone
from rhoflow.models.side import SideBackbone

CLOSE = 1e-5
IMAGES = np.random.default_rng(0).uniform(-1, 1, size=(6, 32, 32)).astype(np.float32)
SIDE = np.random.default_rng(1).uniform([0.1, 3], [9, 7], size=(6, 2))


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return SideBackbone(image_backbone(ImageModel(backbone="timm:test_efficientnet", weights="random"))).eval()


def _features(backbone, side=SIDE):
    with torch.no_grad():
        return backbone(backbone.prepare(IMAGES, None, side)[list(range(6))])


def test_features_are_the_images_and_the_values_standardised_on_the_training_part(backbone):
    train = SIDE[:4]
    backbone.fit_side(train)
    features = _features(backbone)
    expected = (SIDE - train.mean(axis=0)) / train.std(axis=0)
    np.testing.assert_allclose(features[:, -2:], expected, rtol=0, atol=CLOSE)
    with torch.no_grad():
        image = backbone.image({"images": torch.from_numpy(IMAGES)})
    assert torch.equal(features[:, :-2], image)


def test_a_constant_value_becomes_zero(backbone):
    side = np.column_stack([SIDE[:, 0], np.full(6, 4.0)])
    backbone.fit_side(side)
    assert _features(backbone, side)[:, -1].tolist() == [0.0] * 6


def test_the_scale_belongs_to_the_saved_state(backbone):
    backbone.fit_side(SIDE)
    np.testing.assert_allclose(backbone.state_dict()["mean"], SIDE.mean(axis=0), rtol=CLOSE)
    np.testing.assert_allclose(backbone.state_dict()["std"], SIDE.std(axis=0), rtol=CLOSE)


def test_missing_values_say_what_to_do(backbone):
    with pytest.raises(StudyError, match=r"image\.side_inputs: amplitude and lattice constant are needed"):
        backbone.prepare(IMAGES, None)
