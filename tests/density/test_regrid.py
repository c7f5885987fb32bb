"""Fourier resampling: exact waves, conservation, symmetric Nyquist planes, pyrho."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrho.utils import interpolate_fourier

from rhoflow.density.regrid import regrid

ROUNDING = 1e-12  # of the field's range
PYRHO_ATOL = 1e-10

sides = st.integers(1, 13)
shapes = st.tuples(sides, sides, sides)
thick_shapes = st.tuples(*[st.integers(3, 13)] * 3)  # pyrho is wrong on axes of one or two points


def wave(shape, h, phase) -> np.ndarray:
    """cos(2 pi h.x + phase) on a grid (na, nb, nc)."""
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    return np.cos(2 * np.pi * (h[0] * x + h[1] * y + h[2] * z) + phase)


def noise(shape, seed=0) -> np.ndarray:
    """A field with all waves that its grid can hold, Nyquist planes included."""
    return np.random.default_rng(seed).normal(size=shape)


def band_limited(shape, other, seed=0) -> np.ndarray:
    """A random field on `shape` without waves at or above the Nyquist frequency of either grid."""
    limits = [(min(n, m) - 1) // 2 for n, m in zip(shape, other, strict=True)]
    rng = np.random.default_rng(seed)
    draws = [(tuple(int(rng.integers(-k, k + 1)) for k in limits), rng.uniform(0, 6), rng.normal()) for _ in range(6)]
    return sum(c * wave(shape, h, phase) for h, phase, c in draws), sum(
        c * wave(other, h, phase) for h, phase, c in draws
    )


@settings(max_examples=100, deadline=None)
@given(old=shapes, new=shapes, seed=st.integers(0, 1000))
def test_band_limited_field_is_resampled_exactly(old, new, seed):
    rho, expected = band_limited(old, new, seed)
    np.testing.assert_allclose(regrid(rho, new), expected, rtol=0, atol=20 * ROUNDING)


@settings(max_examples=100, deadline=None)
@given(old=shapes, new=shapes, seed=st.integers(0, 1000))
def test_mean_is_kept_on_any_mixture_of_odd_and_even(old, new, seed):
    rho = noise(old, seed) + 1.0
    assert regrid(rho, new).mean() == pytest.approx(rho.mean(), rel=0, abs=ROUNDING)


@settings(max_examples=60, deadline=None)
@given(old=shapes, new=shapes, seed=st.integers(0, 1000))
def test_inversion_commutes(old, new, seed):
    def inverted(field):  # the grid point -j is the point n - j, and 0 stays
        return np.roll(field[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))

    rho = noise(old, seed)
    np.testing.assert_allclose(regrid(inverted(rho), new), inverted(regrid(rho, new)), rtol=0, atol=10 * ROUNDING)


@settings(max_examples=60, deadline=None)
@given(old=shapes, new=shapes, axes=st.permutations(range(3)), seed=st.integers(0, 1000))
def test_permutation_of_axes_commutes(old, new, axes, seed):
    rho = noise(old, seed)
    permuted = regrid(rho.transpose(axes), tuple(new[k] for k in axes))
    np.testing.assert_allclose(permuted, regrid(rho, new).transpose(axes), rtol=0, atol=10 * ROUNDING)


@pytest.mark.parametrize("phase", [0.0, 0.7, np.pi / 2])
def test_going_down_folds_both_nyquist_waves(phase):
    # waves +4 and -4 are one on 8 points: what remains of cos(2 pi 4 x + phase) is its value there
    np.testing.assert_allclose(
        regrid(wave((12, 12, 12), (4, 0, 0), phase), (8, 12, 12)),
        wave((8, 12, 12), (4, 0, 0), phase),
        rtol=0,
        atol=ROUNDING,
    )


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("new", [10, 9, 16])
def test_going_up_splits_the_nyquist_wave_in_half(axis, new):
    h = tuple(4 if k == axis else 0 for k in range(3))
    shape = tuple(new if k == axis else 8 for k in range(3))
    np.testing.assert_allclose(regrid(wave((8, 8, 8), h, 0.0), shape), wave(shape, h, 0.0), rtol=0, atol=ROUNDING)


def test_skew_nyquist_wave_stays_real_and_halves():
    # (4, 1, 0) and (-4, 1, 0) cannot be told apart on 8 points; their mean is the only symmetric choice
    rho = wave((8, 8, 8), (4, 1, 0), 0.3)
    expected = (wave((12, 8, 8), (4, 1, 0), 0.3) + wave((12, 8, 8), (-4, 1, 0), 0.3)) / 2
    np.testing.assert_allclose(regrid(rho, (12, 8, 8)), expected, rtol=0, atol=ROUNDING)


@settings(max_examples=60, deadline=None)
@given(old=shapes, extra=shapes, seed=st.integers(0, 1000))
def test_up_and_down_again_is_the_identity(old, extra, seed):
    rho = noise(old, seed)
    finer = tuple(n + m for n, m in zip(old, extra, strict=True))
    np.testing.assert_allclose(regrid(regrid(rho, finer), old), rho, rtol=0, atol=10 * ROUNDING)


@settings(max_examples=60, deadline=None)
@given(old=shapes, factor=st.integers(1, 3), seed=st.integers(0, 1000))
def test_multiple_of_the_grid_keeps_the_old_points(old, factor, seed):
    rho = noise(old, seed)
    finer = regrid(rho, tuple(factor * n for n in old))
    np.testing.assert_allclose(finer[::factor, ::factor, ::factor], rho, rtol=0, atol=10 * ROUNDING)


@settings(max_examples=60, deadline=None)
@given(old=thick_shapes, new=thick_shapes, seed=st.integers(0, 1000))
def test_agrees_with_pyrho_without_nyquist_waves(old, new, seed):
    rho, _ = band_limited(old, new, seed)
    np.testing.assert_allclose(regrid(rho, new), interpolate_fourier(rho, list(new)), rtol=0, atol=PYRHO_ATOL)


@pytest.mark.parametrize(("old", "new"), [((9, 7, 5), (5, 9, 7)), ((7, 9, 11), (13, 15, 17))])
def test_agrees_with_pyrho_on_odd_grids(old, new):
    rho = noise(old)  # odd grids have no Nyquist wave at all
    np.testing.assert_allclose(regrid(rho, new), interpolate_fourier(rho, list(new)), rtol=0, atol=PYRHO_ATOL)


def test_pyrho_differs_on_the_nyquist_wave_and_ours_is_the_field():
    rho, expected = wave((12, 12, 12), (4, 0, 0), 0.0), wave((8, 12, 12), (4, 0, 0), 0.0)
    theirs = interpolate_fourier(rho, [8, 12, 12])
    assert abs(theirs - expected).max() > 0.4  # pyrho keeps one of the two waves: half the amplitude is lost
    np.testing.assert_allclose(regrid(rho, (8, 12, 12)), expected, rtol=0, atol=ROUNDING)


def test_input_is_not_changed_and_equal_shape_is_the_same_field():
    rho = noise((4, 5, 6))
    before = rho.copy()
    assert np.array_equal(regrid(rho, (4, 5, 6)), before)
    regrid(rho, (8, 5, 4))
    assert np.array_equal(rho, before)


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4), (4, -1, 4)])
def test_impossible_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"shape = \(.*must be three positive numbers"):
        regrid(noise((4, 4, 4)), shape)
