"""The stage grids: one grid for all, electrons kept, statistics of what is stored."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from vasp_text import NACL, waves

from rhoflow.density.fields import select_field
from rhoflow.density.grids import grid_shard, read_grids
from rhoflow.density.regrid import regrid
from rhoflow.errors import RejectedMaterialError, StudyError
from rhoflow.materials.archive import ArchiveWriter, read_record
from rhoflow.materials.digests import digest_arrays
from rhoflow.materials.shards import read_report

ELECTRONS_RTOL = 1e-6
SHAPE = (12, 12, 12)
ALUMINIUM = Structure(Lattice.cubic(4.0), ["Al"], [[0, 0, 0]])


@pytest.fixture
def archive(tmp_path):
    """Crystals on grids coarser and finer than the target, odd and even; two have spin, one of them is a magnet."""
    path = tmp_path / "0003.h5"
    with ArchiveWriter(path) as writer:
        writer.add("c", NACL, {"total": waves((9, 14, 12), 8) / NACL.volume})
        writer.add("a", ALUMINIUM, {"total": spiky((31, 30, 17), 3) / 64, "spin": np.full((31, 30, 17), 9e-4)})
        writer.add(
            "b", NACL, {"total": spiky((8, 7, 6), 16) / NACL.volume, "spin": waves((8, 7, 6), 1) / NACL.volume}
        )
    return path


def spiky(shape, electrons) -> np.ndarray:
    """A density with all the waves of its grid, and a nucleus' peak."""
    rho = np.random.default_rng(1).uniform(0, 1, shape)
    rho[0, 0, 0] = 500.0
    return rho * electrons / rho.mean()


def test_store_holds_every_material_in_order(archive, tmp_path):
    grid_shard(archive, tmp_path / "0003.zarr.zip", field="total", shape=SHAPE)
    ids, density = read_grids(tmp_path / "0003.zarr.zip")
    assert ids == ["a", "b", "c"]
    assert density.shape == (3, *SHAPE)
    assert density.dtype == np.float32
    assert density.chunks == (1, *SHAPE)
    for k, material_id in enumerate(ids):
        expected = regrid(read_record(archive, material_id).fields["total"], SHAPE)
        assert np.array_equal(density[k], expected.astype(np.float32))


@pytest.mark.parametrize("shape", [(60, 60, 60), (12, 12, 12), (9, 16, 11)], ids=str)
def test_stored_single_precision_keeps_the_electrons(archive, tmp_path, shape):
    grid_shard(archive, tmp_path / "0003.zarr.zip", field="total", shape=shape)
    ids, density = read_grids(tmp_path / "0003.zarr.zip")
    for k, material_id in enumerate(ids):
        volume = read_record(archive, material_id).structure.volume
        stored = density[k].astype(np.float64).mean() * volume
        assert stored == pytest.approx({"a": 3, "b": 16, "c": 8}[material_id], rel=ELECTRONS_RTOL)


def test_statistics_and_digest_are_of_the_stored_grid(archive, tmp_path):
    report = grid_shard(archive, tmp_path / "0003.zarr.zip", field="total", shape=SHAPE)
    ids, density = read_grids(tmp_path / "0003.zarr.zip")
    for k, material_id in enumerate(ids):
        stats, values = report.stats[material_id], np.sort(density[k].astype(np.float64).ravel())
        assert report.digests[material_id] == digest_arrays(density[k])
        assert (stats["min"], stats["max"]) == (values[0], values[-1])
        assert stats["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert len(stats["quantiles"]) == 21
        assert (stats["quantiles"][0], stats["quantiles"][20]) == (values[0], values[-1])
        assert stats["quantiles"][10] == pytest.approx(np.median(values), rel=1e-12)
        assert stats["quantiles"] == sorted(stats["quantiles"])
    assert read_report(tmp_path / "0003.zarr.zip") == report


def test_material_without_the_field_or_without_moment_is_rejected(archive, tmp_path):
    report = grid_shard(archive, tmp_path / "0003.zarr.zip", field="spin", shape=SHAPE)
    assert read_grids(tmp_path / "0003.zarr.zip")[0] == list(report.stats) == ["b"]
    assert {key: value["reason"] for key, value in report.rejected.items()} == {
        "a": "not magnetic",
        "c": "field not in file",
    }
    assert "max |spin| = 0.0009 e/A^3" in report.rejected["a"]["detail"]
    assert "no field 'spin', its density file holds total" in report.rejected["c"]["detail"]


def test_weak_magnet_is_kept(tmp_path):
    with ArchiveWriter(tmp_path / "0.h5") as writer:
        writer.add("x", NACL, {"spin": np.full((2, 2, 2), -1.001e-3)})
        writer.add("y", NACL, {"spin": np.full((2, 2, 2), -0.999e-3)})
    assert select_field(read_record(tmp_path / "0.h5", "x"), "spin").max() < 0
    with pytest.raises(RejectedMaterialError, match="not magnetic"):
        select_field(read_record(tmp_path / "0.h5", "y"), "spin")


def test_same_content_gives_the_same_digest(archive, tmp_path):
    one = grid_shard(archive, tmp_path / "1.zarr.zip", field="total", shape=SHAPE)
    other = grid_shard(archive, tmp_path / "2.zarr.zip", field="total", shape=SHAPE)
    assert one == other


def test_zip_holds_every_member_once(archive, tmp_path):
    grid_shard(archive, tmp_path / "0003.zarr.zip", field="total", shape=SHAPE)
    with zipfile.ZipFile(tmp_path / "0003.zarr.zip") as zipped:
        names = zipped.namelist()
    assert sorted(set(names)) == sorted(names)
    assert {"zarr.json", "density/zarr.json", "density/c/2/0/0/0"} <= set(names)


def test_broken_archive_leaves_the_old_store(archive, tmp_path):
    store = tmp_path / "0003.zarr.zip"
    grid_shard(archive, store, field="total", shape=SHAPE)
    before = store.read_bytes()
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(StudyError, match=r"0003.h5: cannot be read .*truncated file.* rm "):
        grid_shard(archive, store, field="total", shape=SHAPE)
    assert store.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_empty_shard_is_an_empty_store(tmp_path):
    with ArchiveWriter(tmp_path / "0003.h5"):
        pass
    grid_shard(tmp_path / "0003.h5", tmp_path / "0003.zarr.zip", field="total", shape=SHAPE)
    ids, density = read_grids(tmp_path / "0003.zarr.zip")
    assert ids == []
    assert density[:].shape == (0, *SHAPE)
