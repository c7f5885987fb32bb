"""Linear tetrahedra and band counting."""

import numpy as np
import pytest

from tools.dft.dos import band_gap, states_below, tetrahedra, tetrahedron_dos

SIZE = (12, 12, 12)


def mesh(size=SIZE):
    """Fractional k-points in [-1/2, 1/2), C order."""
    grid = np.stack(np.indices(size), axis=-1).reshape(-1, 3) / np.array(size)
    return grid - np.rint(grid)


def tight_binding(k):
    return -2 * np.cos(2 * np.pi * k).sum(axis=1)


def test_tetrahedra_fill_the_zone():
    corners, weights = tetrahedra((3, 4, 5), np.arange(60))
    assert len(corners) == 6 * 60
    assert weights.sum() == pytest.approx(1)


def test_dos_integrates_to_the_number_of_bands():
    bands = np.column_stack([tight_binding(mesh()), tight_binding(mesh()) + 3, np.full(len(mesh()), 1.5)])
    edges = np.linspace(-8, 12, 81)
    (dos,) = tetrahedron_dos(bands, *tetrahedra(SIZE, np.arange(12**3)), edges)
    assert (dos * np.diff(edges)).sum() == pytest.approx(3, rel=1e-6)


def test_dos_of_free_electrons():
    # E = k^2 in a cubic zone of edge 1: below the zone boundary N(E) = 4 pi / 3 E^(3/2)
    size = (24, 24, 24)
    energies = (mesh(size) ** 2).sum(axis=1)[:, None]
    edges = np.linspace(0, 0.2, 11)
    (dos,) = tetrahedron_dos(energies, *tetrahedra(size, np.arange(24**3)), edges)
    expected = 4 * np.pi / 3 * np.diff(edges**1.5) / np.diff(edges)
    np.testing.assert_allclose(dos[2:], expected[2:], rtol=0.02)  # 24 points along an axis


def test_states_of_a_linear_band_fill_as_a_cube_at_the_lower_corner():
    # (x - e1)^3 / ((e2-e1)(e3-e1)(e4-e1)) with corners 0, 1, 2, 4 and x = 1/2
    got = states_below(np.array([[0.0, 1.0, 2.0, 4.0]]), np.array([-1.0, 0.5, 5.0]))
    np.testing.assert_allclose(got, [[0, 0.125 / 8, 1]], atol=1e-6)


def test_states_are_continuous_and_rising():
    below = states_below(np.array([[0.0, 0.3, 1.1, 2.0]]), np.linspace(-0.1, 2.1, 2201))[0]
    assert np.diff(below).min() >= 0
    assert np.diff(below).max() < 2e-3


def test_irreducible_points_give_the_dos_of_the_full_mesh():
    k = mesh()
    full = tight_binding(k)[:, None]
    # time reversal: k and -k share an irreducible point
    index = np.rint(k * 12).astype(int) % 12
    opposite = np.ravel_multi_index(tuple((-index % 12).T), SIZE)
    kept, irreducible = np.unique(np.minimum(np.arange(len(k)), opposite), return_inverse=True)
    edges = np.linspace(-7, 7, 141)
    whole = tetrahedron_dos(full, *tetrahedra(SIZE, np.arange(len(k))), edges)
    reduced = tetrahedron_dos(full[kept], *tetrahedra(SIZE, irreducible), edges)
    np.testing.assert_allclose(reduced, whole, atol=1e-6)


def test_projection_of_constant_weight_scales_the_total():
    bands = tight_binding(mesh())[:, None]
    edges = np.linspace(-7, 7, 141)
    total, projected = tetrahedron_dos(bands, *tetrahedra(SIZE, np.arange(12**3)), edges, [np.full(bands.shape, 0.3)])
    np.testing.assert_allclose(projected, 0.3 * total, atol=1e-11)


BANDS = np.array([[[-3.0, -1.0, 2.0, 5.0], [-2.5, -0.5, 1.5, 4.0]]])


def test_gap_is_indirect():
    assert band_gap(BANDS, n_electrons=4) == (-0.5, 1.5)


@pytest.mark.parametrize("n_electrons", [3, 5], ids=["odd", "odd above"])
def test_odd_electrons_make_a_metal(n_electrons):
    assert band_gap(BANDS, n_electrons=n_electrons) is None


def test_overlapping_bands_make_a_metal():
    assert band_gap(np.array([[[-1.0, 0.5], [0.6, 1.0]]]), n_electrons=2) is None


def test_gap_of_a_magnet_counts_each_spin():
    up, down = BANDS[0], BANDS[0] + 3
    # two up, one down electron: tops -0.5 and 0.5, bottoms 1.5 and 2.0
    assert band_gap(np.array([up, down]), n_electrons=3, moment=1) == (0.5, 1.5)
