"""Equation of state: exact fits, basis correction, the moving window."""

import math

import numpy as np
import pytest

from tools.dft.eos import BOHR, GPA_PER_EV_A3, HARTREE, fit_birch_murnaghan, francis_payne, scan
from tools.dft.series import Point, SeriesCache

V0, E0, B0, BP = 16.5, -3.7, 78.0, 4.6  # A^3, eV, GPa
EXACT = 1e-7  # relative; rounding of the polynomial fit
SCALES = (0.96, 0.98, 1.0, 1.02, 1.04)


def birch_murnaghan(volume):
    """Energy [eV] in the textbook form of the third-order equation."""
    eta = (V0 / volume) ** (2 / 3)
    strain = (eta - 1) ** 3 * BP + (eta - 1) ** 2 * (6 - 4 * eta)
    return E0 + 9 * V0 * B0 / GPA_PER_EV_A3 / 16 * strain


def point_at(scale, guess=V0):
    volume = guess * scale**3
    return Point(scale, volume, float(birch_murnaghan(volume)))


@pytest.fixture(scope="module")
def fit():
    volumes = V0 * np.array(SCALES) ** 3
    return fit_birch_murnaghan(volumes, birch_murnaghan(volumes))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("volume", V0), ("energy", E0), ("bulk_modulus", B0), ("bulk_modulus_derivative", BP)],
)
def test_fit_recovers_the_analytic_curve(fit, name, expected):
    assert getattr(fit, name) == pytest.approx(expected, rel=EXACT)


def test_fit_of_the_analytic_curve_leaves_no_residual(fit):
    assert fit.rms < 1e-10


def test_fit_refuses_energies_without_minimum():
    with pytest.raises(ValueError, match="no minimum"):
        fit_birch_murnaghan([14, 15, 16, 17, 18], [5.0, 4.0, 3.0, 2.0, 1.0])


def test_basis_correction_vanishes_when_the_sphere_is_full():
    cutoff, volume = 550.0, 18.8
    sphere = volume / BOHR**3 * (2 * cutoff / HARTREE) ** 1.5 / (6 * math.pi**2)
    assert francis_payne(-1.0, n_waves=sphere, volume=volume, cutoff=cutoff, slope=-1e-3) == pytest.approx(-1.0)


def test_basis_correction_lowers_the_energy_of_a_poor_basis():
    # cutoff 550 eV, effective cutoff 550 eV x 0.9^(2/3): the energy falls by slope times the difference
    cutoff, volume = 550.0, 18.8
    sphere = volume / BOHR**3 * (2 * cutoff / HARTREE) ** 1.5 / (6 * math.pi**2)
    got = francis_payne(-1.0, n_waves=0.9 * sphere, volume=volume, cutoff=cutoff, slope=-1e-3)
    assert got == pytest.approx(-1.0 - 1e-3 * cutoff * (1 - 0.9 ** (2 / 3)))


@pytest.mark.parametrize("guess", [0.75 * V0, V0, 1.3 * V0], ids=["low", "right", "high"])
def test_scan_moves_the_window_to_the_minimum(guess):
    fit, used = scan(lambda scale: point_at(scale, guess), SCALES, {})
    assert fit.volume == pytest.approx(V0, rel=EXACT)
    assert len(used) == len(SCALES)
    lowest = min(range(len(used)), key=lambda i: used[i].energy)
    assert 1 <= lowest <= 3


def test_scan_gives_up_far_from_the_guess():
    with pytest.raises(ValueError, match="correct lattice_constant_A"):
        scan(lambda scale: point_at(scale, 8 * V0), SCALES, {})


def test_scan_does_not_repeat_finished_points():
    calls = []

    def energy_at(scale):
        calls.append(scale)
        return point_at(scale)

    scan(energy_at, SCALES, {0.96: point_at(0.96), 1.0: point_at(1.0)})
    assert sorted(calls) == [0.98, 1.02, 1.04]


def test_interrupted_series_resumes_from_its_file(tmp_path):
    cache = SeriesCache(tmp_path / "Al_fcc.json")

    def killed(scale):
        if scale > 1:
            raise KeyboardInterrupt
        return point_at(scale)

    with pytest.raises(KeyboardInterrupt):
        scan(cache.remembering(killed), SCALES, cache.points())
    assert SeriesCache(tmp_path / "Al_fcc.json").points() == {s: point_at(s) for s in (0.96, 0.98, 1.0)}
