import numpy as np
import pytest

from rhoflow.errors import StudyError
from rhoflow.training.scaler import Scaler

ROUND_TRIP = 1e-12


def test_scaler_gives_zero_mean_and_unit_spread():
    y = np.array([1.0, 4.0, 7.0, 100.0])
    z = Scaler.fit(y).standardise(y)
    assert abs(z.mean()) < ROUND_TRIP
    assert abs(z.std() - 1) < ROUND_TRIP


def test_min_max_scaler_gives_zero_to_one():
    scaler = Scaler.fit(np.array([4.0, -1.0, 2.0]), "min-max")
    assert scaler.standardise(np.array([-1.0, 4.0, 1.5, 9.0])).tolist() == [0.0, 1.0, 0.5, 2.0]


@pytest.mark.parametrize("kind", ["standard", "min-max"])
def test_std_is_one_unit_of_the_scaled_target(kind):
    y = np.array([-3.0, 0.5, 250.0])
    scaler = Scaler.fit(y, kind)
    assert scaler.restore(np.array([1.0]))[0] - scaler.restore(np.array([0.0]))[0] == pytest.approx(scaler.std)


@pytest.mark.parametrize("kind", ["standard", "min-max"])
def test_scaler_restores_what_it_standardised(kind):
    y = np.array([-3.0, 0.5, 250.0])
    scaler = Scaler.fit(y, kind)
    np.testing.assert_allclose(scaler.restore(scaler.standardise(y)), y, rtol=0, atol=ROUND_TRIP * 250)


@pytest.mark.parametrize("kind", ["standard", "min-max"])
def test_scaler_of_a_constant_target_says_what_to_do(kind):
    with pytest.raises(StudyError, match=r"the target is 0\.1 for all 3 training materials.*choose another target"):
        Scaler.fit(np.full(3, 0.1), kind)


@pytest.mark.parametrize("kind", ["standard", "min-max"])
def test_scaler_without_training_materials_says_what_to_do(kind):
    with pytest.raises(StudyError, match=r"no material in the training part; lower splits\.test"):
        Scaler.fit(np.array([]), kind)
