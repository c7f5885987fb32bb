"""The Fourier image."""

from __future__ import annotations

import numpy as np
import pytest

from rhoflow.density.fourier import fourier_image


def wave(pixels: int, periods_x: int, periods_y: int, amplitude: float) -> np.ndarray:
    y, x = np.mgrid[:pixels, :pixels] / pixels
    return (amplitude * np.cos(2 * np.pi * (periods_x * x + periods_y * y) + 0.4)).astype(np.float32)


@pytest.mark.parametrize("pixels", [32, 33])
def test_two_waves_give_four_spots_in_the_ratio_of_their_logarithms(pixels: int) -> None:
    spots = fourier_image(wave(pixels, 5, 0, 1.0) + wave(pixels, 2, -3, 0.25))
    middle = pixels // 2
    strong = [(middle, middle + 5), (middle, middle - 5)]
    weak = [(middle - 3, middle + 2), (middle + 3, middle - 2)]
    assert [spots[at] for at in strong] == pytest.approx([1, 1], abs=1e-6)
    assert [spots[at] for at in weak] == pytest.approx(
        [np.log1p(pixels**2 / 8) / np.log1p(pixels**2 / 2)] * 2, abs=1e-6
    )
    for at in strong + weak:
        spots[at] = 0
    assert spots.max() < 1e-4  # float32 rounding of the image
    assert spots.dtype == np.float32


def test_mean_is_the_middle_pixel() -> None:
    spots = fourier_image(np.full((16, 16), 0.5, dtype=np.float32))
    assert spots[8, 8] == 1
    assert spots.sum() == pytest.approx(1, abs=1e-6)


def test_zeros_give_zeros() -> None:
    assert not fourier_image(np.zeros((8, 8), dtype=np.float32)).any()
