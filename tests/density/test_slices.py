"""The slice: exact, centred, and the same whichever cell a file uses."""

from __future__ import annotations

import tracemalloc
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import map_coordinates, spline_filter
from slice_crystals import (
    Floats,
    Square,
    brute_force,
    change_cell,
    crystal,
    cubic_frames,
    difference,
    gaussian_density,
    gaussian_waves,
    into_cell,
    on_grid,
    pixel_points,
    random_rotation,
)

from rhoflow.density.read import Volumetric, read_density
from rhoflow.density.slices import Slice, slice_image, slice_image_as_published

ROUNDING = 1e-9  # of the image's range: two exact evaluations of one field
INVARIANCE = 1e-5  # of the image's range: two cells of one crystal
VISIBLE = 1e-2  # of the image's range: images that are really different
EIGHT = Square(cells=8)
SIXTY = (60, 60, 60)  # the papers' grid
PIXELS = 32
COARSE, COARSE_BAND = 24, 3.5  # pixels and band [1/A] of the sums over all waves: inside the pitch for a < 6 A

PRIMITIVE_F = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
# What one crystal may look like in a file: arguments of change_cell, from the conventional FCC cell.
SETTINGS: dict[str, dict[str, Any]] = {
    "primitive": {"matrix": PRIMITIVE_F},
    "supercell 2x2x2": {"matrix": 2 * np.array(PRIMITIVE_F)},
    "supercell of another shape": {"matrix": np.array([[1, 1, 0], [0, 1, 0], [0, 1, 2]]) @ PRIMITIVE_F},
    "rotated": {"matrix": PRIMITIVE_F, "rotation": random_rotation(1)},
    "origin shifted": {"matrix": PRIMITIVE_F, "shift": (0.137, 0.481, 0.733)},
    "axes permuted cyclically": {"matrix": np.roll(PRIMITIVE_F, 1, axis=0)},
    "axes swapped (left-handed)": {"matrix": [PRIMITIVE_F[1], PRIMITIVE_F[0], PRIMITIVE_F[2]]},
    "conventional, axes swapped": {"matrix": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]},
    "conventional, turned by 90 degrees": {"rotation": [[0, -1, 0], [1, 0, 0], [0, 0, 1]]},
    "inverted through the origin": {"rotation": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]},
    "skewed": {"matrix": np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]]) @ PRIMITIVE_F},
    "everything": {
        "matrix": np.array([[1, 2, 0], [0, 1, -1], [1, 0, 1]]) @ PRIMITIVE_F,
        "shift": (0.9, 0.2, 0.4),
        "rotation": random_rotation(2),
    },
}


def cut(rho: Floats, structure: Structure, **options: Any) -> Slice:
    chosen: dict[str, Any] = {"hkl": (1, 1, 1), "through": "heaviest", "window": EIGHT, "pixels": PIXELS} | options
    return slice_image(rho, structure, **chosen)


def band_of(structure: Structure) -> float:
    """Band limit just inside the pixel pitch of an 8-cell image of the (conventional) crystal."""
    return 0.99 * np.pi * PIXELS / (3.586 * structure.lattice.a)


@lru_cache
def conventional_image(name: str) -> Slice:
    structure = crystal(name)
    return cut(gaussian_density(structure, band_of(structure)), structure)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ["Al", "NaCl", "ZnS", "TiNiSn", "CaF2", "diamond"])
def test_image_does_not_depend_on_the_cell(name: str, setting: str) -> None:
    conventional = crystal(name)
    band = band_of(conventional)
    reference = conventional_image(name)
    other = change_cell(conventional, **SETTINGS[setting])
    image = cut(gaussian_density(other, band, spare=7), other)
    assert difference(image.image, reference.image) < INVARIANCE
    assert image.side == pytest.approx(reference.side, rel=1e-9)
    assert image.lattice_constant == pytest.approx(conventional.lattice.a, rel=1e-9)


unimodular = st.permutations(range(3)).flatmap(
    lambda order: st.tuples(*[st.integers(-1, 1)] * 3).map(
        lambda n: (np.array([[1, n[0], n[1]], [0, 1, n[2]], [0, 0, 1]]))[list(order)]
    )
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["FeSi", "quartz", "hcp", "Al2O3", "TiO2", "triclinic"]),
    matrix=unimodular,
    shift=st.tuples(*[st.floats(0, 1)] * 3),
    seed=st.integers(0, 99),
)
def test_image_of_any_crystal_does_not_depend_on_the_cell(
    name: str, matrix: Floats, shift: tuple[float, float, float], seed: int
) -> None:
    options: dict[str, Any] = {"hkl": (1, 1, 2), "window": Square(angstrom=12), "pixels": 30}
    structure = crystal(name)
    band = 0.99 * np.pi * 30 / 12
    reference = cut(gaussian_density(structure, band), structure, **options)
    other = change_cell(structure, matrix=matrix, shift=shift, rotation=random_rotation(seed))
    assert difference(cut(gaussian_density(other, band), other, **options).image, reference.image) < INVARIANCE


def test_the_two_sides_of_zincblende_differ_and_one_is_chosen() -> None:
    structure = crystal("ZnS")
    band, side = band_of(structure), 3.5863 * structure.lattice.a
    image = cut(gaussian_density(structure, band), structure).image
    away = [
        difference(image, brute_force(structure, band, pixel_points(np.zeros(3), axes, side, PIXELS)))
        for axes in cubic_frames()
    ]
    # a plane seen from behind is mirrored, {110} mirrors bring it back: half of the views agree, half are upside down
    assert sum(distance < 1e-3 for distance in away) == 24
    assert sum(distance > VISIBLE for distance in away) == 24


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.21, 0.34, 0.05)])
@pytest.mark.parametrize(("name", "heaviest"), [("ZnS", "Zn"), ("TiNiSn", "Sn"), ("NaCl", "Cl"), ("diamond", "Si")])
def test_image_equals_sum_over_all_waves_at_every_pixel(name: str, heaviest: str, shift: tuple[float, ...]) -> None:
    rotation = random_rotation(3)
    structure = change_cell(crystal(name), shift=shift, rotation=rotation)
    site = next(site for site in structure if site.specie.symbol == heaviest)
    side = (3 - np.sqrt(3)) * 4 * crystal(name).lattice.a / np.sqrt(2)
    image = cut(gaussian_density(structure, COARSE_BAND), structure, pixels=COARSE).image
    views = (pixel_points(site.coords, axes, side, COARSE) for axes in cubic_frames(rotation))
    assert min(difference(image, brute_force(structure, COARSE_BAND, points)) for points in views) < ROUNDING


@pytest.mark.parametrize("hkl", [(0, 0, 1), (1, 0, 0), (1, -2, 1)])
def test_image_of_a_crystal_without_symmetry_equals_the_sum_in_one_view(hkl: tuple[int, int, int]) -> None:
    """A triclinic cell that is its own Niggli cell; x is the shortest lattice vector in the plane, of either sign."""
    structure = crystal("triclinic")
    lattice, band, side = structure.lattice.matrix, 5.0, 9.0
    image = cut(gaussian_density(structure, band), structure, hkl=hkl, window=Square(angstrom=side), pixels=36).image
    vectors = [uvw for uvw in product(range(-3, 4), repeat=3) if np.dot(uvw, hkl) == 0 and any(uvw)]
    in_plane = [np.array(uvw) @ lattice for uvw in vectors]
    x = min(in_plane, key=np.linalg.norm)
    z = np.array(hkl) @ structure.lattice.reciprocal_lattice.matrix
    x, z = x / np.linalg.norm(x), z / np.linalg.norm(z)
    lead = next(site.coords for site in structure if site.specie.symbol == "Pb")
    views = [np.stack([s * x, np.cross(t * z, s * x), t * z]) for s in (1, -1) for t in (1, -1)]
    away = [difference(image, brute_force(structure, band, pixel_points(lead, axes, side, 36))) for axes in views]
    assert sum(distance < ROUNDING for distance in away) == 1
    assert sum(distance > VISIBLE for distance in away) == 3


def test_pixels_end_at_the_window() -> None:
    # one plane wave along [111] seen in the plane is constant; along [1-10] it has side * frequency periods
    structure = crystal("Al")
    image = cut(gaussian_density(structure, 4.0), structure, pixels=64)
    assert image.side == pytest.approx((3 - np.sqrt(3)) * 4 * 4.05 / np.sqrt(2), rel=1e-12)
    half = cut(gaussian_density(structure, 4.0), structure, window=Square(cells=4), pixels=32)
    assert difference(image.image[16:48, 16:48], half.image) < ROUNDING


@pytest.mark.parametrize(("share", "seen"), [(0.98, True), (1.02, False)])
def test_waves_finer_than_the_pixels_are_left_out(share: float, seen: bool) -> None:
    structure = change_cell(crystal("Al"), matrix=PRIMITIVE_F)
    indices = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, -1]])  # {200} of the conventional cell
    rho = on_grid(indices, np.array([1.0, 0.1, 0.1]), (12, 12, 12))
    length = np.linalg.norm(indices[1] @ structure.lattice.reciprocal_lattice.matrix)
    side = 20 * np.pi / (length / share)  # 20 pixels: G_cut = pi pixels / side = length / share
    image = cut(rho, structure, window=Square(angstrom=side), pixels=20).image
    assert image.mean() == pytest.approx(1.0, abs=0.1)
    assert (np.ptp(image) > 0.1) == seen
    assert (np.ptp(image) < 1e-12) != seen


@pytest.mark.parametrize("through", ["Na", "Cl", 0.5])
def test_plane_passes_through_the_named_site(through: str | float) -> None:
    structure = change_cell(crystal("NaCl"), shift=(0.1, 0.2, 0.3))
    band, a = COARSE_BAND, 5.65
    image = cut(gaussian_density(structure, band), structure, through=through, pixels=COARSE).image
    symbol = through if isinstance(through, str) else "Cl"
    centre = next(site.coords for site in structure if site.specie.symbol == symbol)
    height = 0.0 if isinstance(through, str) else through * a / np.sqrt(3)  # spacing of (111) planes
    views = (
        pixel_points(centre + height * axes[2], axes, (3 - np.sqrt(3)) * 4 * a / np.sqrt(2), COARSE)
        for axes in cubic_frames()
    )
    assert min(difference(image, brute_force(structure, band, points)) for points in views) < ROUNDING


def test_mean_over_sites_is_the_mean_of_their_planes() -> None:
    structure = crystal("TiNiSn")
    band, side = COARSE_BAND, (3 - np.sqrt(3)) * 4 * 5.95 / np.sqrt(2)
    rho = gaussian_density(structure, band)
    image = cut(rho, structure, through="mean", pixels=COARSE).image
    centres = [next(s.coords for s in structure if s.specie.symbol == symbol) for symbol in ("Ti", "Ni", "Sn")]
    means = [
        np.mean([brute_force(structure, band, pixel_points(c, axes, side, COARSE)) for c in centres], axis=0)
        for axes in cubic_frames()
    ]
    assert min(difference(image, mean) for mean in means) < ROUNDING


def test_ties_of_the_structure_are_broken_by_the_density() -> None:
    """A density with less symmetry than its structure: invisible charges (He) beside the atoms of an FCC crystal."""
    marked = crystal("Al")
    marked.append("He", [0.11, 0.17, 0.31])
    for shift in ([0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]):
        marked.append("He", np.array([0.11, 0.17, 0.31]) + shift)
    band = band_of(marked)
    images = []
    for setting in SETTINGS.values():
        other = change_cell(marked, **setting)
        if np.linalg.det(setting.get("rotation", np.eye(3))) < 0:
            continue  # the mirror image of this chiral density is another one
        rho = gaussian_density(other, band)
        other.remove_species(["He"])
        images.append(cut(rho, other).image)
    assert max(difference(image, images[0]) for image in images) < INVARIANCE
    assert min(difference(np.rot90(images[0], turns), images[0]) for turns in (1, 2, 3)) > VISIBLE


def test_noise_in_the_positions_does_not_change_the_view() -> None:
    structure = crystal("TiNiSn")
    band = band_of(structure)
    image = cut(gaussian_density(structure, band), structure).image
    noisy = change_cell(structure, matrix=PRIMITIVE_F, rotation=random_rotation(5))
    rho = gaussian_density(noisy, band)
    noisy.perturb(1e-3)
    assert difference(cut(rho, noisy).image, image) < 5e-3


def published_reference(grid: Floats, structure: Structure, points: Floats, n_cells: int) -> Floats:
    """The density at Cartesian points by repeating the grid and interpolating linearly between its points."""
    tiled = np.tile(grid, (n_cells,) * 3)
    axes = tuple(np.arange(n) for n in tiled.shape)
    middle = n_cells // 2
    frac_coords = points @ np.linalg.inv(structure.lattice.matrix) + middle
    return RegularGridInterpolator(axes, tiled, method="linear")(frac_coords * grid.shape)


def test_as_published_equals_tiling_and_interpolating() -> None:
    structure = change_cell(crystal("ZnS"), matrix=PRIMITIVE_F)
    rho = gaussian_density(structure, 4.0, spare=0)
    shape = (12, 12, 12)
    rho = on_grid(*gaussian_waves(structure, 4.0), shape)
    options: dict[str, Any] = {"hkl": (1, 1, 1), "through": "heaviest", "window": Square(cells=2), "pixels": 20}
    image = slice_image_as_published(rho, structure, **options, shape=shape).image
    side = (3 - np.sqrt(3)) * 5.41 / np.sqrt(2)
    views = [
        published_reference(rho, structure, pixel_points(np.zeros(3), axes, side, 20), 8) for axes in cubic_frames()
    ]
    assert min(difference(image, view) for view in views) < ROUNDING


def test_as_published_is_near_the_exact_slice_and_errs_as_linear_interpolation_does() -> None:
    structure = change_cell(crystal("TiNiSn"), shift=(0.1, 0.3, 0.2), rotation=random_rotation(8))
    band = band_of(crystal("TiNiSn")) / np.sqrt(2)
    rho = gaussian_density(structure, band)
    exact = cut(rho, structure).image
    options: dict[str, Any] = {"hkl": (1, 1, 1), "through": "heaviest", "window": EIGHT, "pixels": PIXELS}
    published = slice_image_as_published(rho, structure, **options, shape=SIXTY).image
    assert 1e-4 < difference(published, exact) < VISIBLE < difference(published, exact[::-1])


def test_as_published_never_makes_the_supercell() -> None:
    structure = change_cell(crystal("NaCl"), matrix=PRIMITIVE_F)
    rho = gaussian_density(structure, 6.0)
    options: dict[str, Any] = {"hkl": (1, 1, 1), "through": "heaviest", "window": EIGHT, "pixels": 96}
    slice_image_as_published(
        rho, structure, **options, shape=SIXTY
    )  # what is cached at the first call does not count
    tracemalloc.start()
    slice_image_as_published(rho, structure, **options, shape=SIXTY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one_grid, supercell = 60**3 * 8, 480**3 * 8
    assert one_grid < peak < 12 * one_grid < supercell / 40


def test_input_is_left_alone() -> None:
    structure = crystal("NaCl")
    rho = gaussian_density(structure, 4.0)
    before, sites = rho.copy(), structure.copy()
    cut(rho, structure)
    assert np.array_equal(rho, before)
    assert structure == sites


@pytest.mark.parametrize("factor", [3.0, -1.0])
def test_image_is_linear_in_the_density(factor: float) -> None:
    """Also for the opposite sign: where the structure can choose the view, the density has no say in it."""
    structure = crystal("TiNiSn")
    rho = gaussian_density(structure, 6.0)
    image = cut(rho, structure).image
    assert difference(cut(factor * rho + 0.5, structure).image, factor * image + 0.5) < ROUNDING


CONVENTIONAL_F = [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]
# Where the grid, not the pixel pitch, ends the spectrum, two cells keep slightly different spheres. Measured at
# 299 px: Al 2e-6, NaCl 5e-5, TiNiSn 2e-4 of the range (conventional grid as fine as the primitive one).
GRID_LIMITED = 5e-4


def in_conventional_cell(density: Volumetric) -> tuple[Structure, Floats]:
    """Express a primitive FCC cell's density in the conventional cell, origin shifted, on a grid equally fine."""
    points = 2 * int(np.ceil(max(density.total.shape) / np.sqrt(2)))
    return into_cell(density.total, density.structure, matrix=CONVENTIONAL_F, shift=(0.13, 0.29, 0.41), points=points)


@pytest.mark.parametrize(("pixels", "bound"), [(96, ROUNDING), (224, ROUNDING), (299, GRID_LIMITED)])
@pytest.mark.parametrize("name", ["Al", "NaCl"])
def test_image_of_a_real_chgcar_does_not_depend_on_the_cell(
    name: str, pixels: int, bound: float, shared_data: Path
) -> None:
    density = read_density(shared_data / "chgcar" / f"{name}.CHGCAR.gz", None)
    structure, rho = in_conventional_cell(density)
    reference = cut(density.total, density.structure, pixels=pixels).image
    assert difference(cut(rho, structure, pixels=pixels).image, reference) < bound


@pytest.mark.parametrize(("pixels", "bound"), [(96, ROUNDING), (299, GRID_LIMITED)])
@pytest.mark.parametrize("name", ["TiNiSn_half-heusler", "Si_diamond"])
def test_image_of_a_demo_crystal_does_not_depend_on_the_cell(
    name: str, pixels: int, bound: float, demo: Path
) -> None:
    density = read_density(demo / name / "CHGCAR.xz", None)
    structure, rho = in_conventional_cell(density)
    reference = cut(density.total, density.structure, pixels=pixels).image
    assert difference(cut(rho, structure, pixels=pixels).image, reference) < bound


@pytest.mark.parametrize("name", ["NaCl", "ZnS", "hcp", "quartz"])
def test_image_repeats_by_its_periods(name: str) -> None:
    """The value one period away is that of the pixel itself; a third of it away another."""
    structure = crystal(name)
    rho = gaussian_density(structure, 3.5)
    view = cut(rho, structure, window=Square(angstrom=16.0), pixels=256)
    assert abs(np.linalg.det(view.periods)) > 1
    y, x = np.mgrid[:256, :256] - 127.5
    image = spline_filter(view.image)

    def off_by(vector: Floats) -> float:
        dx, dy = vector / 16.0 * 256
        moved = map_coordinates(image, [y - dy + 127.5, x + dx + 127.5], prefilter=False)
        inside = (abs(x + dx) < 120) & (abs(y - dy) < 120)
        return float(abs(moved - view.image)[inside].max() / np.ptp(view.image))

    for period in (*view.periods, view.periods.sum(axis=0)):
        assert off_by(period) < 1e-3
        assert off_by(period / 3) > 0.1
