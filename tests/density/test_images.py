"""The slice stage of a shard."""

from __future__ import annotations

import io
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from slice_crystals import change_cell, crystal, gaussian_density

from rhoflow.config import SliceOptions
from rhoflow.density.fourier import fourier_image
from rhoflow.density.images import slice_shard
from rhoflow.density.scaling import scale_image
from rhoflow.density.slices import slice_image, slice_image_as_published
from rhoflow.errors import Reason
from rhoflow.materials.archive import ArchiveWriter
from rhoflow.materials.shards import read_report

SHAPE = (20, 24, 28)  # no two alike, and not the papers' 60
NAMES = ("NaCl", "ZnS", "bcc")  # bcc has no window in cells


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "0000.h5"
    with ArchiveWriter(path) as writer:
        for name in NAMES:
            structure = crystal(name)
            rho = gaussian_density(structure, 4.0)
            fields = {"total": rho}
            if name != "bcc":
                fields["spin"] = rho * (1e-6 if name == "NaCl" else 0.1)
            writer.add(name, structure, fields, electrons=8.0)
    return path


def options(**changes: Any) -> SliceOptions:
    return SliceOptions(**({"pixels": 24} | changes))


@pytest.mark.parametrize("as_published", [False, True])
def test_store_holds_the_scaled_slices(archive: Path, tmp_path: Path, as_published: bool) -> None:
    chosen = options(transform="arcsinh", clip=99.0, fourier=True, as_published=as_published)
    slice_shard(archive, tmp_path / "0000.npz", field="total", options=chosen, shape=SHAPE)
    kernel = partial(slice_image_as_published, shape=SHAPE) if as_published else slice_image
    with np.load(tmp_path / "0000.npz", allow_pickle=False) as store:
        assert store["ids"].tolist() == ["NaCl", "ZnS"]
        for row, name in enumerate(("NaCl", "ZnS")):
            structure = crystal(name)
            cut = kernel(
                gaussian_density(structure, 4.0),
                structure,
                hkl=(1, 1, 1),
                through="heaviest",
                window=chosen.window,
                pixels=24,
            )
            scaled = scale_image(cut.image, transform="arcsinh", clip=99.0)
            assert np.abs(store["image"][row] - scaled.image).max() < 1e-5
            assert np.abs(store["fourier"][row] - fourier_image(scaled.image)).max() < 1e-5
            found = [store[key][row] for key in ("amplitude", "mean", "std", "lattice_constant", "side")]
            expected = [scaled.amplitude, scaled.mean, scaled.std, structure.lattice.a, cut.side]
            assert found == pytest.approx(expected, rel=1e-6)
        assert store["image"].dtype == np.float32


def test_material_without_a_plane_is_rejected_and_named(archive: Path, tmp_path: Path) -> None:
    slice_shard(archive, tmp_path / "0000.npz", field="total", options=options(), shape=SHAPE)
    report = read_report(tmp_path / "0000.npz")
    assert report.stage == "slices"
    assert sorted(report.digests) == sorted(report.stats) == ["NaCl", "ZnS"]
    assert report.rejected["bcc"]["reason"] == Reason.NO_PLANE.value
    assert report.rejected["bcc"]["detail"].startswith("bcc: ")
    assert report.stats["NaCl"]["lattice_constant"] == pytest.approx(5.65)


def test_spin_of_a_non_magnetic_crystal_or_without_spin_is_rejected(archive: Path, tmp_path: Path) -> None:
    report = slice_shard(archive, tmp_path / "0000.npz", field="spin", options=options(), shape=SHAPE)
    reasons = {name: why["reason"] for name, why in report.rejected.items()}
    assert reasons == {"NaCl": Reason.NOT_MAGNETIC.value, "bcc": Reason.NO_FIELD.value}
    assert list(report.digests) == ["ZnS"]


def test_pngs_show_the_image_and_have_the_same_bytes_every_time(archive: Path, tmp_path: Path) -> None:
    contents = []
    for run in ("first", "second"):
        store = tmp_path / run / "0000.npz"
        slice_shard(archive, store, field="total", options=options(), shape=SHAPE)
        contents.append((store.read_bytes(), store.with_suffix(".png.zip").read_bytes()))
    assert contents[0] == contents[1]
    with zipfile.ZipFile(io.BytesIO(contents[0][1])) as bundle:
        assert bundle.namelist() == ["NaCl.png", "ZnS.png"]
        picture = np.asarray(Image.open(io.BytesIO(bundle.read("NaCl.png"))))
    assert picture.shape == (24, 24, 3)
    with np.load(tmp_path / "first" / "0000.npz") as store:
        image = store["image"][0]
    # viridis runs from dark violet to yellow
    assert picture[np.unravel_index(image.argmax(), image.shape)].tolist() == [253, 231, 36]
    assert picture[np.unravel_index(image.argmin(), image.shape)].tolist() == [68, 1, 84]


def test_pngs_are_left_out_on_request(archive: Path, tmp_path: Path) -> None:
    slice_shard(archive, tmp_path / "0000.npz", field="total", options=options(png=False), shape=SHAPE)
    assert not (tmp_path / "0000.png.zip").exists()


def test_digest_changes_with_the_density_alone(archive: Path, tmp_path: Path) -> None:
    digests = []
    for factor, electrons in ((1.0, 8.0), (1.0, 9.0), (1.5, 8.0)):
        path = tmp_path / "raw.h5"
        structure = change_cell(crystal("NaCl"), shift=(0.1, 0.2, 0.3))
        with ArchiveWriter(path) as writer:
            writer.add("NaCl", structure, {"total": factor * gaussian_density(structure, 4.0)}, electrons=electrons)
        digests.append(
            slice_shard(path, tmp_path / "0.npz", field="total", options=options(), shape=SHAPE).digests["NaCl"]
        )
    assert digests[0] == digests[1] != digests[2]


def test_shard_without_materials_keeps_the_shapes(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "raw.h5"):
        pass
    slice_shard(tmp_path / "raw.h5", tmp_path / "0.npz", field="total", options=options(fourier=True), shape=SHAPE)
    with np.load(tmp_path / "0.npz", allow_pickle=False) as store:
        assert store["image"].shape == store["fourier"].shape == (0, 24, 24)
        assert store["ids"].shape == store["side"].shape == (0,)
