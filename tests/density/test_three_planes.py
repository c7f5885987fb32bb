"""Three parallel planes as the channels of one image: at the heights they say, in any cell, scaled together."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from slice_crystals import (
    Floats,
    Square,
    brute_force,
    change_cell,
    crystal,
    cubic_frames,
    difference,
    gaussian_density,
    on_grid,
    pixel_points,
    random_rotation,
)

from rhoflow.config import SliceOptions
from rhoflow.density.fourier import fourier_image
from rhoflow.density.images import png_bytes, site_plane, slice_shard
from rhoflow.density.scaling import scale_image
from rhoflow.density.slices import slice_image, slice_image_as_published
from rhoflow.materials.archive import ArchiveWriter

ROUNDING = 1e-9  # of the image's range: two exact evaluations of one field
INVARIANCE = 1e-5  # of the image's range: two cells of one crystal
VISIBLE = 1e-2  # of the image's range: images that are really different
PIXELS, BAND = 24, 3.5  # the band [1/A] is inside the pixel pitch
PRIMITIVE_F = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
SHAPE = (20, 24, 28)


def cut(structure: Any, rho: Floats | None = None, **changes: Any) -> Floats:
    options: dict[str, Any] = {"hkl": (1, 1, 1), "through": "heaviest", "window": Square(cells=8), "pixels": PIXELS}
    rho = gaussian_density(structure, BAND) if rho is None else rho
    return slice_image(rho, structure, **{**options, "planes": 3, **changes}).image


@pytest.mark.parametrize("name", ["ZnS", "TiNiSn"])
def test_planes_are_a_third_of_the_spacing_below_and_above_the_site(name: str) -> None:
    """Against the sum over all waves at every pixel, in one frame for all three planes."""
    structure = change_cell(crystal(name), shift=(0.21, 0.34, 0.05))
    a = crystal(name).lattice.a
    site = max(structure, key=lambda one: one.specie.Z).coords
    side, third = (3 - np.sqrt(3)) * 4 * a / np.sqrt(2), a / np.sqrt(3) / 3
    images = cut(structure)
    away = []
    for axes in cubic_frames():
        views = [
            brute_force(structure, BAND, pixel_points(site + k * third * axes[2], axes, side, PIXELS))
            for k in (-1, 0, 1)
        ]
        away.append(difference(images, np.array(views)))
    assert min(away) < ROUNDING
    assert difference(images[::-1], images) > VISIBLE  # these crystals differ above and below a site


@pytest.mark.parametrize("through", ["heaviest", "mean", 0.4])
def test_the_middle_plane_is_the_image_of_one_plane(through: str | float) -> None:
    structure = crystal("TiNiSn")
    images = cut(structure, through=through)
    assert images.shape == (3, PIXELS, PIXELS)
    assert np.array_equal(images[1], cut(structure, through=through, planes=1))
    if isinstance(through, float):
        assert difference(images[2], cut(structure, through=through + 1 / 3, planes=1)) < ROUNDING
        assert difference(images[0], cut(structure, through=through - 1 / 3, planes=1)) < ROUNDING


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["ZnS", "TiNiSn", "FeSi", "quartz", "Al2O3", "triclinic"]),
    shear=st.tuples(*[st.integers(-1, 1)] * 3),
    shift=st.tuples(*[st.floats(0, 1)] * 3),
    seed=st.integers(0, 99),
)
def test_planes_do_not_depend_on_the_cell(
    name: str, shear: tuple[int, int, int], shift: tuple[float, float, float], seed: int
) -> None:
    options: dict[str, Any] = {"hkl": (1, 1, 2), "window": Square(angstrom=12)}
    structure = crystal(name)
    matrix = [[1, shear[0], shear[1]], [0, 1, shear[2]], [0, 0, 1]]
    other = change_cell(structure, matrix=matrix, shift=shift, rotation=random_rotation(seed))
    assert difference(cut(other, **options), cut(structure, **options)) < INVARIANCE


def test_planes_of_a_primitive_cell_and_a_supercell_are_those_of_the_conventional_cell() -> None:
    images = cut(crystal("ZnS"))
    for matrix in (PRIMITIVE_F, 2 * np.array(PRIMITIVE_F), [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]):
        assert difference(cut(change_cell(crystal("ZnS"), matrix=matrix)), images) < INVARIANCE


def test_wave_along_the_normal_turns_by_a_third_from_plane_to_plane() -> None:
    """cos(2 pi (z + h)) at the height h, in plane spacings, above the site at z, whichever way is up."""
    structure = crystal("triclinic")  # (001) is one plane, of one heaviest site
    rho = on_grid(np.array([[0, 0, 1], [0, 0, -1]]), np.array([0.5, 0.5]), (12, 12, 12))
    images = cut(structure, rho, hkl=(0, 0, 1), window=Square(angstrom=10))
    assert np.ptp(images, axis=(1, 2)).max() < ROUNDING
    waves = np.cos(2 * np.pi * (0.3 + np.array([-1, 0, 1]) / 3))
    seen = images[:, 0, 0]
    assert min(np.abs(seen - waves).max(), np.abs(seen[::-1] - waves).max()) < ROUNDING


def test_as_published_cuts_the_same_planes() -> None:
    structure = change_cell(crystal("TiNiSn"), shift=(0.1, 0.3, 0.2))
    rho = gaussian_density(structure, BAND)
    options: dict[str, Any] = {"hkl": (1, 1, 1), "through": "heaviest", "window": Square(cells=8), "pixels": PIXELS}
    published = slice_image_as_published(rho, structure, **options, shape=(60, 60, 60), planes=3).image
    exact = cut(structure, rho)
    assert 1e-5 < difference(published, exact) < VISIBLE < difference(published, exact[::-1])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "0000.h5"
    with ArchiveWriter(path) as writer:
        for name in ("NaCl", "ZnS"):
            writer.add(name, crystal(name), {"total": gaussian_density(crystal(name), 4.0)}, electrons=8.0)
    return path


def store(archive: Path, path: Path, **changes: Any) -> dict[str, Any]:
    options = SliceOptions(**({"pixels": PIXELS, "png": False} | changes))
    slice_shard(archive, path, field="total", options=options, shape=SHAPE)
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_planes_are_scaled_as_one(archive: Path, tmp_path: Path) -> None:
    made = store(archive, tmp_path / "0.npz", planes=3)
    structure = crystal("ZnS")
    scaled = scale_image(cut(structure, gaussian_density(structure, 4.0)))
    assert made["image"].shape == (2, 3, PIXELS, PIXELS)
    assert made["image"].dtype == np.float32
    np.testing.assert_allclose(made["image"][1], scaled.image, rtol=0, atol=1e-5)
    assert made["amplitude"][1] == pytest.approx(scaled.amplitude, rel=1e-6)
    assert abs(made["image"].astype(float).mean(axis=(1, 2, 3))).max() < 1e-6
    assert abs(made["image"].astype(float).mean(axis=(2, 3))).max() > VISIBLE


def test_site_plane_is_the_middle_one(archive: Path, tmp_path: Path) -> None:
    one, three = (store(archive, tmp_path / f"{n}.npz", planes=n)["image"] for n in (1, 3))
    assert site_plane(one) is one
    assert np.array_equal(site_plane(three), three[:, 1])
    # the same plane on another scale
    for plane, image in zip(site_plane(three), one, strict=True):
        assert np.corrcoef(plane.ravel(), image.ravel())[0, 1] == pytest.approx(1, abs=1e-5)


def test_empty_shard_keeps_the_shape(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "raw.h5"):
        pass
    assert store(tmp_path / "raw.h5", tmp_path / "0.npz", planes=3)["image"].shape == (0, 3, PIXELS, PIXELS)


def test_png_of_three_planes_has_them_as_colours_on_one_scale() -> None:
    image = np.full((3, 4, 5), 0.0, dtype=np.float32)
    image[0, 0, 0], image[2, 3, 4] = 1.0, -1.0
    picture = np.asarray(Image.open(io.BytesIO(png_bytes(image))))
    assert picture.shape == (4, 5, 3)
    assert picture[0, 0].tolist() == [255, 128, 128]
    assert picture[3, 4].tolist() == [128, 128, 0]


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
def test_content_fourier_is_the_magnitude_from_minus_one_to_one(
    archive: Path, tmp_path: Path, planes: int, beside: bool
) -> None:
    plain = store(archive, tmp_path / "plain.npz", planes=planes)
    made = store(archive, tmp_path / "fourier.npz", planes=planes, content="fourier", fourier=beside)
    for image, density in zip(made["image"], plain["image"], strict=True):
        np.testing.assert_allclose(image, 2 * fourier_image(density) - 1, rtol=0, atol=1e-6)
        assert image.max() == 1
        assert image.min() >= -1
    assert made["image"].dtype == np.float32
    assert ("fourier" in made) == beside
    assert np.array_equal(made["amplitude"], plain["amplitude"])


def test_planes_are_transformed_one_by_one_with_one_maximum() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8)).astype(np.float32)
    image[1] *= 0.1
    waves = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(image), axes=(1, 2))))
    np.testing.assert_allclose(fourier_image(image), waves / waves.max(), rtol=0, atol=1e-6)
