import numpy as np
import pytest

from rhoflow.errors import StudyError
from rhoflow.training.data import Scaler, TrainingData

IDS = np.array(["a", "b", "c"])
PART = np.array(["train", "val", "test"])
Y = np.array([1.0, 2.0, 3.0])
ROUND_TRIP = 1e-12


def test_scaler_gives_zero_mean_and_unit_spread():
    y = np.array([1.0, 4.0, 7.0, 100.0])
    z = Scaler.fit(y).standardise(y)
    assert abs(z.mean()) < ROUND_TRIP
    assert abs(z.std() - 1) < ROUND_TRIP


def test_scaler_restores_what_it_standardised():
    y = np.array([-3.0, 0.5, 250.0])
    scaler = Scaler.fit(y)
    np.testing.assert_allclose(scaler.restore(scaler.standardise(y)), y, rtol=0, atol=ROUND_TRIP * 250)


def test_scaler_of_a_constant_target_says_what_to_do():
    with pytest.raises(StudyError, match=r"the target is 0\.1 for all 3 training materials.*choose another target"):
        Scaler.fit(np.full(3, 0.1))


def test_scaler_without_training_materials_says_what_to_do():
    with pytest.raises(StudyError, match=r"no material in the training part; lower splits\.test"):
        Scaler.fit(np.array([]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([1.0])}, "TrainingData.y: 1 entries for 3 ids"),
        ({"texts": ("one",)}, "TrainingData.texts: 1 entries for 3 ids"),
        ({"part": np.array(["train", "valid", "test"])}, "'valid' is unknown; allowed: train, val, test"),
        ({"y": np.array([1.0, np.nan, 2.0])}, "the target of b is not finite"),
    ],
    ids=["y", "texts", "part", "nan"],
)
def test_bad_training_data_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingData(**({"ids": IDS, "part": PART, "y": Y} | change))


@pytest.mark.parametrize(
    "change",
    [
        {"y": Y + 1e-9},
        {"part": np.array(["val", "train", "test"])},
        {"images": np.zeros((3, 2, 2), np.float32)},
        {"texts": ("x", "y", "z")},
    ],
    ids=["y", "part", "images", "texts"],
)
def test_digest_changes_with_everything_a_training_sees(change):
    fields = {"ids": IDS, "part": PART, "y": Y}
    assert TrainingData(**fields).digest() == TrainingData(**fields).digest()
    assert TrainingData(**fields).digest() != TrainingData(**(fields | change)).digest()
