"""Fourier coefficients on a sphere, and radial transforms, against analytic truth."""

import numpy as np
import pytest

from tools.dft.fcc import PRIMITIVE
from tools.dft.radial import bessel_transform, form_factor, resample
from tools.dft.reciprocal import Sphere

A = 4.0  # A


def grid_points(n):
    """(n, n, n, 3) Cartesian grid points [A] of the primitive cell."""
    return np.stack(np.indices((n,) * 3), axis=-1) / n @ (PRIMITIVE * A)


def wave(n, hkl):
    return np.cos(2 * np.pi / A * grid_points(n) @ np.array(hkl))


def test_sphere_holds_no_vector_twice():
    sphere = Sphere(A, 12)
    folded = {tuple(index) for index in sphere.miller % 12}
    assert len(folded) == len(sphere.miller)


def test_sphere_holds_every_short_vector():
    # bcc reciprocal lattice: {111} 8, {200} 6, {220} 12 vectors beside 0
    squared = (Sphere(A, 12).hkl ** 2).sum(axis=1)
    assert [int((squared == s).sum()) for s in (0, 3, 4, 8)] == [1, 8, 6, 12]


def test_lengths_agree_with_vectors():
    sphere = Sphere(A, 8)
    np.testing.assert_allclose(sphere.lengths, np.linalg.norm(sphere.vectors, axis=1), atol=1e-12)


def test_coefficients_of_a_wave():
    sphere = Sphere(A, 16)
    coefficients = sphere.analyse(wave(12, (1, 1, 1)))
    along = np.isin((sphere.hkl @ [1, 1, 1]), (3, -3)) & ((sphere.hkl**2).sum(axis=1) == 3)
    np.testing.assert_allclose(coefficients, np.where(along, 0.5, 0), atol=1e-12)


def test_field_returns_on_another_grid():
    sphere = Sphere(A, 20)
    field = 2 + wave(12, (2, 0, 0)) - 0.3 * wave(12, (1, -1, 3))
    expected = 2 + wave(20, (2, 0, 0)) - 0.3 * wave(20, (1, -1, 3))
    np.testing.assert_allclose(sphere.synthesise(sphere.analyse(field), sigma=0), expected, atol=1e-12)


def test_filter_damps_a_wave_by_its_gaussian():
    sphere, sigma = Sphere(A, 12), 0.2
    got = sphere.synthesise(sphere.analyse(wave(12, (2, 0, 0))), sigma=sigma)
    damping = np.exp(-0.5 * (2 * 2 * np.pi / A * sigma) ** 2)
    np.testing.assert_allclose(got, damping * wave(12, (2, 0, 0)), atol=1e-12)


def test_phases_move_the_atom():
    # a Gaussian atom at primitive (1/4, 1/4, 1/4) has its maximum at that grid point
    sphere = Sphere(A, 16)
    atom = np.exp(-0.5 * (sphere.lengths * 0.3) ** 2) * sphere.phases(np.full(3, 0.25))
    field = sphere.synthesise(atom, sigma=0)
    assert np.unravel_index(field.argmax(), field.shape) == (4, 4, 4)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_bessel_transform_of_a_gaussian(order):
    # int r^(l+2) exp(-b r^2) j_l(q r) dr = sqrt(pi) q^l exp(-q^2 / 4b) / (2^(l+2) b^(l+3/2))
    b, r, q = 1.7, np.arange(0, 8, 0.002), np.linspace(0, 12, 400)
    got = bessel_transform(r, r**order * np.exp(-b * r**2), l=order, q=q)
    expected = np.sqrt(np.pi) * q**order * np.exp(-(q**2) / 4 / b) / (2 ** (order + 2) * b ** (order + 1.5))
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_form_factor_of_hydrogen():
    # 1s density exp(-2 r / a0): f = 1 / (1 + (q a0 / 2)^2)^2
    a0 = 0.529177
    x = np.arange(400) / 400
    r, q = 0.4 * x / (1 - x + 1e-4), np.linspace(0, 20, 101)
    got = form_factor(r, np.exp(-2 * r / a0) / (np.pi * a0**3), q=q)
    np.testing.assert_allclose(got, 1 / (1 + (q * a0 / 2) ** 2) ** 2, atol=1e-6)


def test_resampling_keeps_a_smooth_function():
    x = np.arange(300) / 300
    r = 0.4 * x / (1 - x + 1e-3)
    fine, values = resample(r, np.stack([np.exp(-r), r * np.exp(-r)]), r_max=3.0, spacing=0.01)
    np.testing.assert_allclose(values, [np.exp(-fine), fine * np.exp(-fine)], atol=1e-6)
