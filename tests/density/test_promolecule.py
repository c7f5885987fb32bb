"""Superposed free atoms: brute force, invariances, VASP's and GPAW's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Chgcar
from slice_crystals import crystal, random_rotation

from rhoflow.density.free_atoms import form_factor, smooth_form_factor
from rhoflow.density.promolecule import deformation, promolecule
from rhoflow.density.read import read_density
from rhoflow.density.valence import choose_valence, valence_sets

ROUNDING = 1e-11  # of the largest value
ENGINE_ATOL = 4e-5  # e/A^3, of up to 44: its files hold 7 digits, the table single precision
VASP_CORE = 1.0  # A; VASP's densities are not all-electron ones closer to a nucleus
VASP_ATOL = 6e-5  # e/A^3, of 0.19; the two files' own densities differ by 2.5e-5 there
SKEW = Lattice.from_parameters(3.1, 3.7, 4.4, 81, 97, 112)

shapes = st.tuples(*[st.integers(7, 12)] * 3)
coords = st.lists(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3), min_size=2, max_size=5)


def all_valence(structure: Structure) -> dict[str, dict[str, float]]:
    return {str(element): valence_sets(str(element))[-1] for element in structure.composition}


def n_electrons(structure: Structure, valence) -> float:
    return sum(sum(valence[site.specie.symbol].values()) for site in structure)


def small_crystal(places, *, lattice: Lattice = SKEW) -> Structure:
    species = ["Na", "Cl", "O", "Ti", "Cl"][: len(places)]
    return Structure(lattice, species, places)


def brute_force(structure: Structure, shape, smoothing: float) -> np.ndarray:
    """Every wave, atom and grid point by itself: O(points x waves), from the formula alone."""
    lattice = structure.lattice.matrix
    same = 2 * np.pi * np.linalg.inv(lattice) * shape  # columns: waves that the grid cannot tell from zero
    near = np.array([m for m in itertools.product(range(-4, 5), repeat=3) if any(m)])
    q_max = np.linalg.norm(near @ same.T, axis=1).min() / 2
    m = np.array(list(itertools.product(range(-14, 15), repeat=3)))
    waves = 2 * np.pi * m @ np.linalg.inv(lattice).T
    q = np.linalg.norm(waves, axis=1)
    assert (np.abs(m[q < q_max]) < 14).all()
    waves, q = waves[q < q_max * (1 - 1e-9)], q[q < q_max * (1 - 1e-9)]
    points = (
        np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1).reshape(-1, 3) @ lattice
    )
    valence, rho = all_valence(structure), np.zeros(len(points), dtype=complex)
    window = np.exp(-((q * smoothing) ** 2) / 2) if smoothing else np.exp(-10 * (q / q_max) ** 6)
    atom = form_factor if smoothing else smooth_form_factor
    for site in structure:
        f = atom(site.specie.symbol, valence[site.specie.symbol])(q) * window
        rho += np.exp(1j * (points - site.coords) @ waves.T) @ f
    assert np.abs(rho.imag).max() < 1e-9 * np.abs(rho.real).max()
    return rho.real.reshape(shape) / structure.volume


def superposed(structure: Structure, shape, **options) -> np.ndarray:
    return promolecule(structure, shape, all_valence(structure), **options)


def assert_same(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(9, 11, 13), (8, 10, 12), (8, 9, 12), (11, 8, 9)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_equals_the_sum_by_brute_force(shape, smoothing):
    structure = small_crystal([(0.1, 0.2, 0.3), (0.6, 0.45, 0.8), (0.9, 0.95, 0.05)])
    assert_same(superposed(structure, shape, smoothing=smoothing), brute_force(structure, shape, smoothing))


def test_sphere_leaves_the_box_of_a_skew_cell():
    # a rhombohedral cell: waves beyond n/2 along one axis, which a grid knows as others, still belong to the sphere
    structure = small_crystal([(0, 0, 0), (0.3, 0.4, 0.5)], lattice=Lattice([[0, 2, 2], [2, 0, 2], [2, 2, 0]]))
    found = superposed(structure, (9, 9, 9))
    assert_same(found, brute_force(structure, (9, 9, 9), 0.0))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, places=coords)
def test_integrates_to_the_valence_electrons(shape, places):
    structure = small_crystal(places)
    rho = superposed(structure, shape)
    assert rho.mean() * structure.volume == pytest.approx(n_electrons(structure, all_valence(structure)), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(shape=shapes, places=coords, seed=st.integers(0, 99))
def test_knows_no_rotation(shape, places, seed):
    turned = Lattice(SKEW.matrix @ random_rotation(seed).T)
    assert_same(superposed(small_crystal(places, lattice=turned), shape), superposed(small_crystal(places), shape))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, places=coords, steps=st.tuples(*[st.integers(-20, 20)] * 3))
def test_moves_with_the_origin(shape, places, steps):
    moved = [np.array(place) + np.array(steps) / shape for place in places]
    found = superposed(small_crystal(moved), shape)
    assert_same(found, np.roll(superposed(small_crystal(places), shape), steps, axis=(0, 1, 2)))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, places=coords, order=st.randoms(use_true_random=False))
def test_knows_no_order_of_the_atoms(shape, places, order):
    structure = small_crystal(places)
    sites = list(structure)
    order.shuffle(sites)
    assert_same(superposed(Structure.from_sites(sites), shape), superposed(structure, shape))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, places=coords, axes=st.permutations(range(3)))
def test_knows_no_order_of_the_axes(shape, places, axes):
    structure = small_crystal(places)
    other = Structure(SKEW.matrix[list(axes)], structure.species, structure.frac_coords[:, list(axes)])
    found = superposed(other, tuple(shape[k] for k in axes))
    assert_same(found, superposed(structure, shape).transpose(axes))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(7, 12),
    places=coords,
    cell=st.sampled_from(
        [[[1, 0, 0], [1, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 1, 1], [1, 0, 0]], [[1, 2, 0], [0, 1, 0], [0, 1, 1]]]
    ),
)
def test_knows_no_choice_of_the_primitive_cell(n, places, cell):
    structure, cell = small_crystal(places), np.array(cell)
    other = Structure(cell @ SKEW.matrix, structure.species, structure.frac_coords @ np.linalg.inv(cell))
    points = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1) @ cell
    expected = superposed(structure, (n, n, n))[tuple(np.moveaxis(points % n, -1, 0))]
    assert_same(superposed(other, (n, n, n)), expected)


@settings(max_examples=15, deadline=None)
@given(shape=shapes, places=coords, repeats=st.tuples(*[st.integers(1, 2)] * 3))
def test_supercell_repeats_the_cell(shape, places, repeats):
    structure = small_crystal(places)
    large = superposed(structure * repeats, tuple(n * k for n, k in zip(shape, repeats, strict=True)))
    assert_same(large, np.tile(superposed(structure, shape), repeats))


def test_primitive_cell_has_the_values_of_the_conventional_one():
    # the grids cut at different spheres, so the atoms are filtered until nothing is left there
    conventional, cell = crystal("NaCl"), np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    primitive = Structure(cell @ conventional.lattice.matrix, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    points = np.stack(np.meshgrid(*[np.arange(30)] * 3, indexing="ij"), axis=-1) @ (2 * cell).astype(int)
    expected = superposed(conventional, (60, 60, 60), smoothing=0.25)[tuple(np.moveaxis(points % 60, -1, 0))]
    assert_same(superposed(primitive, (30, 30, 30), smoothing=0.25), expected)


def test_filter_is_a_convolution_with_a_gaussian():
    structure = small_crystal([(0.0, 0.0, 0.0), (0.4, 0.5, 0.6)])
    shape = (30, 30, 30)
    once, twice = (superposed(structure, shape, smoothing=width) for width in (0.4, 0.5))
    m = np.stack(np.meshgrid(*[np.fft.fftfreq(30, 1 / 30)] * 3, indexing="ij"), axis=-1)
    q = np.linalg.norm(2 * np.pi * m @ np.linalg.inv(SKEW.matrix).T, axis=-1)
    again = np.fft.ifftn(np.fft.fftn(once) * np.exp(-(q**2) * 0.3**2 / 2)).real  # 0.4^2 + 0.3^2 = 0.5^2
    np.testing.assert_allclose(again, twice, rtol=0, atol=1e-5 * twice.max())


@settings(max_examples=20, deadline=None)
@given(excess=st.floats(-0.05, 0.05), seed=st.integers(0, 99))
def test_deformation_integrates_to_zero(excess, seed):
    structure = small_crystal([(0.1, 0.2, 0.3), (0.6, 0.45, 0.8)])
    valence = all_valence(structure)
    rho = np.random.default_rng(seed).uniform(0, 1, (10, 12, 9))
    rho *= (n_electrons(structure, valence) + excess) / structure.volume / rho.mean()
    before = rho.copy()
    found = deformation(rho, structure, valence)
    assert abs(found.mean() * structure.volume) < 1e-10
    assert np.array_equal(rho, before)


def test_deformation_of_free_atoms_is_zero():
    structure = small_crystal([(0.1, 0.2, 0.3), (0.6, 0.45, 0.8)])
    rho = superposed(structure, (14, 16, 18), smoothing=0.08)
    found = deformation(rho, structure, all_valence(structure), smoothing=0.08)
    np.testing.assert_allclose(found, 0, rtol=0, atol=1e-6 * rho.max())


CRYSTALS = (
    "Al_fcc",
    "CaF2_fluorite",
    "Cu_fcc",
    "GaAs_zincblende",
    "MgO_rocksalt",
    "NaCl_rocksalt",
    "Si_diamond",
    "TiNiSn_half-heusler",
)


@pytest.mark.parametrize("name", CRYSTALS)
def test_equals_the_superposed_atoms_of_gpaw(shared_data, name):
    density = read_density(shared_data / f"dft/{name}/CHGCAR.xz")
    atoms = read_density(shared_data / f"dft/promolecule/{name}.xz").total
    valence = choose_valence(density.total, density.structure)
    found = promolecule(density.structure, atoms.shape, valence, smoothing=0.08)
    np.testing.assert_allclose(found, atoms, rtol=0, atol=ENGINE_ATOL)


def test_equals_the_deformation_of_vasp_outside_the_cores(shared_data):
    files = {name: Chgcar.from_file(shared_data / f"chgcar/Si_static.{name}.gz") for name in ("AECCAR1", "AECCAR2")}
    density = read_density(shared_data / "chgcar/Si_static.CHGCAR.gz")
    structure, volume = density.structure, density.structure.volume
    expected = (files["AECCAR2"].data["total"] - files["AECCAR1"].data["total"]) / volume
    found = deformation(density.total, structure, choose_valence(density.total, structure))
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in found.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    distance = structure.lattice.get_all_distances(points, structure.frac_coords).min(axis=1).reshape(found.shape)
    outside = distance > VASP_CORE
    assert outside.mean() > 0.75
    assert expected[outside].max() > 0.18  # the bond
    np.testing.assert_allclose(found[outside], expected[outside], rtol=0, atol=VASP_ATOL)
