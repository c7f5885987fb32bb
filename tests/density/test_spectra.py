"""Low-passed Fourier coefficients on the primitive cell."""

from __future__ import annotations

import numpy as np
import pytest
from slice_crystals import change_cell, crystal, gaussian_density, gaussian_waves

from rhoflow.density.cells import standard_cell
from rhoflow.density.spectra import low_pass
from rhoflow.errors import Reason, RejectedMaterialError

DOUBLE = [[1, 0, 0], [0, 1, 0], [0, 0, 2]]


@pytest.mark.parametrize("spare", [3, 4], ids=["even or odd grid", "the other"])
def test_field_is_rebuilt_at_any_point(spare: int) -> None:
    structure = change_cell(crystal("FeSi"), matrix=DOUBLE, shift=(0.3, 0.1, 0.7))
    rho = gaussian_density(structure, 5.0, spare=spare)
    cell = standard_cell(structure)
    spectrum = low_pass(rho, cell, g_cut=5.1)
    corner = np.array([[0, 0, 0], [1, 2, 5], [3, 0, 1]])
    found = spectrum.sample(corner / rho.shape @ cell.multiples)
    assert np.allclose(found, rho[tuple(corner.T)], rtol=1e-10, atol=0)


def test_exactly_the_sphere_is_kept() -> None:
    structure = crystal("sc")
    cell = standard_cell(structure)
    spectrum = low_pass(gaussian_density(structure, 6.0), cell, g_cut=4.0)
    kept = {tuple(sign * m) for m in spectrum.indices for sign in (1, -1)}
    lengths = np.linalg.norm(gaussian_waves(structure, 6.0)[0] @ structure.lattice.reciprocal_lattice.matrix, axis=1)
    expected = {tuple(m) for m, g in zip(gaussian_waves(structure, 6.0)[0], lengths, strict=True) if g <= 4.0}
    assert kept == expected


def test_nothing_on_or_beyond_the_nyquist_box_is_kept() -> None:
    structure = crystal("sc")
    cell = standard_cell(structure)
    spectrum = low_pass(np.random.default_rng(0).normal(size=(8, 10, 12)), cell, g_cut=1e3)
    length = np.linalg.norm(spectrum.indices @ cell.reciprocal, axis=1).max()
    assert 0.7 * 4 * 2 * np.pi / 3.35 < length < 4 * 2 * np.pi / 3.35


def test_density_that_differs_between_the_cells_of_a_supercell_is_a_rejection() -> None:
    marked = change_cell(crystal("Al"), matrix=DOUBLE)
    marked.append("H", [0.1, 0.1, 0.1])
    rho = gaussian_density(marked, 5.0)
    marked.remove_species(["H"])
    with pytest.raises(RejectedMaterialError, match=r"8 primitive cells.*allowed 0\.01") as caught:
        low_pass(rho, standard_cell(marked), g_cut=4.9)
    assert caught.value.reason is Reason.NOT_PERIODIC


def test_antiferromagnetic_spin_is_a_rejection() -> None:
    """Opposite spins on the two atoms of a doubled cubic cell: no image per primitive cell."""
    structure = change_cell(crystal("sc"), matrix=DOUBLE)
    z = np.arange(24) / 24
    spin = np.ones((12, 12, 1)) * np.cos(2 * np.pi * z)
    with pytest.raises(RejectedMaterialError, match="2 primitive cells"):
        low_pass(spin, standard_cell(structure), g_cut=4.0)


def test_rounding_noise_between_the_cells_is_let_pass() -> None:
    structure = change_cell(crystal("Al"), matrix=DOUBLE)
    rho = gaussian_density(structure, 5.0)
    rho = rho + 1e-4 * rho.std() * np.random.default_rng(1).normal(size=rho.shape)
    assert len(low_pass(rho, standard_cell(structure), g_cut=4.9).indices) > 10


def test_constant_density_has_one_wave() -> None:
    structure = change_cell(crystal("Al"), matrix=DOUBLE)
    spectrum = low_pass(np.full((12, 12, 24), 0.25), standard_cell(structure), g_cut=4.0)
    assert spectrum.coefficients[~spectrum.indices.any(axis=1)] == pytest.approx(0.25)
    assert np.abs(spectrum.coefficients).sum() == pytest.approx(0.25)
