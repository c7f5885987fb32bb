"""The HDF5 raw archive: lossless, lazy, whole or not there."""

from __future__ import annotations

import multiprocessing
import resource
import signal

import h5py
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from rhoflow.errors import RejectedMaterialError
from rhoflow.materials.archive import ArchiveWriter, read_archive, read_ids, read_record


@pytest.fixture
def crystal() -> Structure:
    lattice = Lattice([[0.0, 2.8, 2.8], [2.8, 0.1, 2.8], [2.8, 2.8, 0.0]])
    return Structure(lattice, ["Cl", "Na"], [[0.5, 0.5, 0.5], [1.0, -0.25, 0.0]])


def rho_of(seed: int, shape=(3, 4, 5)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) * 10.0 ** np.random.default_rng(seed).integers(-9, 5)


def write(path, crystal, ids=("b", "a")):
    with ArchiveWriter(path) as archive:
        for k, material_id in enumerate(ids):
            archive.add(material_id, crystal, {"total": rho_of(k), "spin": rho_of(k + 10)}, electrons=8.0, key="xyz")


def test_densities_come_back_bit_by_bit(tmp_path, crystal):
    path = tmp_path / "raw" / "0000.h5"
    write(path, crystal)
    record = read_record(path, "b")
    assert record.fields["total"].tobytes() == rho_of(0).tobytes()
    assert record.fields["spin"].tobytes() == rho_of(10).tobytes()
    assert record.fields["total"].dtype == np.float64


def test_large_grid_in_many_chunks_comes_back(tmp_path, crystal):
    path = tmp_path / "0000.h5"
    rho = rho_of(3, shape=(50, 70, 61))  # 1.7 MB: more than one chunk, a last one that is not full
    with ArchiveWriter(path) as archive:
        archive.add("x", crystal, {"total": rho})
    assert np.array_equal(read_record(path, "x").fields["total"], rho)


def test_structure_keeps_cell_origin_and_order(tmp_path, crystal):
    path = tmp_path / "0000.h5"
    write(path, crystal)
    back = read_record(path, "a").structure
    assert [str(site.specie) for site in back] == ["Cl", "Na"]
    assert np.array_equal(back.lattice.matrix, crystal.lattice.matrix)
    assert np.array_equal(back.frac_coords, crystal.frac_coords)  # 1.0 and -0.25 are not wrapped into the cell


def test_records_come_in_order_of_id_with_python_attributes(tmp_path, crystal):
    path = tmp_path / "0000.h5"
    write(path, crystal, ids=("mp-9", "mp-10", "Al_fcc"))
    records = list(read_archive(path))
    assert [record.material_id for record in records] == ["Al_fcc", "mp-10", "mp-9"] == read_ids(path)
    assert records[0].attrs == {"electrons": 8.0, "key": "xyz"}
    assert type(records[0].attrs["electrons"]) is float
    assert type(records[0].attrs["key"]) is str


def test_fields_can_be_read_after_the_iteration(tmp_path, crystal):
    path = tmp_path / "0000.h5"
    write(path, crystal)
    first, _ = read_archive(path)
    assert list(first.fields) == ["spin", "total"]
    assert first.fields["total"].shape == (3, 4, 5)
    with pytest.raises(KeyError, match="deformation"):
        first.fields["deformation"]


def test_structure_arrays_are_not_fields(tmp_path, crystal):
    path = tmp_path / "0000.h5"
    write(path, crystal)
    with pytest.raises(KeyError, match="lattice"):
        read_record(path, "a").fields["lattice"]


def test_same_content_gives_same_bytes(tmp_path, crystal):
    for name in ("1.h5", "2.h5"):
        write(tmp_path / name, crystal)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_interrupted_writing_leaves_the_old_archive_and_no_part(tmp_path, crystal):
    path = tmp_path / "0000.h5"
    write(path, crystal)
    before = path.read_bytes()
    with pytest.raises(RejectedMaterialError), ArchiveWriter(path) as archive:
        archive.add("../new", crystal, {"total": rho_of(1)})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["0000.h5"]


def test_empty_shard_is_an_empty_archive(tmp_path):
    path = tmp_path / "0000.h5"
    with ArchiveWriter(path):
        pass
    assert list(read_archive(path)) == []


@pytest.mark.parametrize("bad", ["a/b", "../a", "", ".a"])
def test_unsafe_id_is_rejected(tmp_path, crystal, bad):
    with ArchiveWriter(tmp_path / "0000.h5") as archive, pytest.raises(RejectedMaterialError, match="bad id"):
        archive.add(bad, crystal, {"total": rho_of(1)})


def test_single_precision_stays_on_disk_and_comes_back_as_double(tmp_path, crystal):
    path = tmp_path / "0000.h5"
    single = rho_of(1).astype(np.float32)
    with ArchiveWriter(path) as archive:
        archive.add("x", crystal, {"total": single})
    with h5py.File(path) as file:
        assert file["x/total"].dtype == np.float32
    back = read_record(path, "x").fields["total"]
    assert back.dtype == np.float64
    assert np.array_equal(back, single)


def test_other_precision_is_our_own_mistake(tmp_path, crystal):
    with pytest.raises(AssertionError, match="float16"), ArchiveWriter(tmp_path / "0000.h5") as archive:
        archive.add("x", crystal, {"total": rho_of(1).astype(np.float16)})


def test_copied_material_is_the_same_to_a_reader(tmp_path, crystal):
    write(tmp_path / "one.h5", crystal)
    with ArchiveWriter(tmp_path / "two.h5") as archive:
        archive.copy(tmp_path / "one.h5", "a")
    one, two = (read_record(tmp_path / name, "a") for name in ("one.h5", "two.h5"))
    assert read_ids(tmp_path / "two.h5") == ["a"]
    assert (two.structure, two.attrs) == (one.structure, one.attrs)
    assert {name: rho.tobytes() for name, rho in two.fields.items()} == {
        name: rho.tobytes() for name, rho in one.fields.items()
    }


def test_size_is_what_is_on_disk_so_far(tmp_path, crystal):
    with ArchiveWriter(tmp_path / "0000.h5") as archive:
        archive.add("a", crystal, {"total": rho_of(1, shape=(40, 40, 40))})
        first = archive.size
        archive.add("b", crystal, {"total": rho_of(2, shape=(40, 40, 40))})
        second = archive.size
    assert 0.9 * 40**3 * 8 < first < 1.1 * 40**3 * 8  # noise does not compress
    assert 1.8 < second / first < 2.2
    assert second <= (tmp_path / "0000.h5").stat().st_size


def test_error_of_the_disk_is_an_oserror_at_once_and_leaves_nothing(tmp_path, crystal):
    """The HDF5 library would go on, lose data without a word, and crash when it closes the file."""

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
        added = []
        with pytest.raises(OSError, match="File too large"), ArchiveWriter(tmp_path / "0000.h5") as archive:  # noqa: PT012
            for k in range(9):
                archive.add(f"{k}", crystal, {"total": rho_of(k, shape=(40, 40, 40))})
                added.append(k)
        assert 1 <= len(added) <= 2

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert list(tmp_path.iterdir()) == []
