"""Scaling of images into [-1, 1]."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rhoflow.density.scaling import Transform, scale_image

SINGLE = 2e-7  # float32 rounding of numbers up to 1


def test_worked_example() -> None:
    scaled = scale_image(np.array([[0.0, 1.0], [1.0, 6.0]]))
    # mean 2, deviations -2 -1 -1 4, std sqrt(22 / 4)
    assert scaled.mean == 2.0
    assert scaled.std == pytest.approx(np.sqrt(5.5), rel=1e-14)
    assert scaled.amplitude == pytest.approx(4.0, rel=1e-14)
    assert scaled.image.tolist() == [[-0.5, -0.25], [-0.25, 1.0]]
    assert scaled.image.dtype == np.float32


images = arrays(np.float64, (6, 6), elements=st.floats(-50, 50).map(lambda x: round(x, 3)), unique=True)


@given(image=images, transform=st.sampled_from(["none", "arcsinh"]))
def test_density_can_be_restored(image: np.ndarray, transform: Transform) -> None:
    scaled = scale_image(image, transform=transform)
    y = scaled.mean + scaled.amplitude * scaled.image.astype(float)
    reference = np.arcsinh(image) if transform == "arcsinh" else image
    assert np.abs(y - reference).max() <= SINGLE * scaled.amplitude
    assert np.abs(scaled.image).max() == 1


@given(image=images, factor=st.floats(0.1, 10), offset=st.floats(-5, 5))
def test_scaled_image_knows_neither_unit_nor_offset(image: np.ndarray, factor: float, offset: float) -> None:
    assert np.abs(scale_image(factor * image + offset).image - scale_image(image).image).max() < 5 * SINGLE


@given(image=images)
def test_sign_is_kept_and_zero_is_the_mean(image: np.ndarray) -> None:
    assert np.abs(scale_image(-image).image + scale_image(image).image).max() < SINGLE
    far = np.abs(image - image.mean()) > 1e-3
    assert (np.sign(scale_image(image).image[far]) == np.sign(image - image.mean())[far]).all()


def test_clip_cuts_at_the_percentile_of_the_magnitude() -> None:
    image = np.random.default_rng(0).normal(size=(50, 50))
    image[0, 0] = 1000.0
    bound = np.percentile(np.abs(image - image.mean()), 99)
    scaled = scale_image(image, clip=99)
    assert scaled.amplitude == pytest.approx(bound, rel=1e-12)
    assert scaled.image[0, 0] == 1
    assert (np.abs(scaled.image) == 1).sum() == 25
    inside = np.abs(image - image.mean()) < bound
    assert np.abs(scaled.image - (image - image.mean()) / bound)[inside].max() < SINGLE


def test_arcsinh_lifts_the_small_values_of_a_peaked_image() -> None:
    image = np.full((20, 20), 0.1)
    image[:10] = 0.5
    image[5, 5] = 300.0
    contrast = {t: np.ptp(scale_image(image, transform=t).image[12:, :]) for t in ("none", "arcsinh")}  # type: ignore[arg-type]
    steps = {
        t: float(scale_image(image, transform=t).image[0, 0] - scale_image(image, transform=t).image[19, 0])  # type: ignore[arg-type]
        for t in contrast
    }
    assert steps["none"] == pytest.approx(0.4 / 299.0, rel=1e-2)
    assert steps["arcsinh"] > 20 * steps["none"]


@pytest.mark.parametrize("value", [0.0, 0.3, 1e6])
def test_constant_image_scales_to_zeros(value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = scale_image(np.full((4, 4), value))
    assert not scaled.image.any()
    assert (scaled.mean, scaled.std, scaled.amplitude) == (value, 0.0, 0.0)
