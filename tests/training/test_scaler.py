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
