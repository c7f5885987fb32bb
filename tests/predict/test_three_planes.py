"""A new crystal is cut as the study's crystals were, also on three planes and as Fourier magnitudes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rhoflow.config import Study
from rhoflow.density.fourier import fourier_image
from rhoflow.density.read import read_density
from rhoflow.density.scaling import scale_image
from rhoflow.density.slices import slice_image
from rhoflow.predict.crystals import read_crystals


@pytest.mark.parametrize("content", ["density", "fourier"])
def test_new_crystal_has_the_planes_of_the_study(demo: Path, content: str) -> None:
    study = Study.model_validate(
        {"grid": {"shape": [8, 8, 8]}, "slices": {"planes": 3, "pixels": 16, "content": content, "png": False}}
    )
    file = demo / "NaCl_rocksalt/CHGCAR.xz"
    (crystal,) = read_crystals([file], study, structures=[], images=True, level=None)
    density = read_density(file, None)
    cut = slice_image(
        density.total,
        density.structure,
        hkl=(1, 1, 1),
        through="heaviest",
        window=study.slices.window,
        pixels=16,
        planes=3,
    )
    image = scale_image(cut.image).image
    expected = image if content == "density" else 2 * fourier_image(image) - 1
    assert crystal.image is not None
    assert crystal.image.shape == (3, 16, 16)
    np.testing.assert_allclose(crystal.image, expected, rtol=0, atol=1e-6)
