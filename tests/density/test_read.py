"""Reading densities: every format gives the density that was written, in e/A^3."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp.outputs import Chgcar
from vasp_text import NACL, chgcar_text, poscar_text, waves

from rhoflow.density.read import read_density, read_mp_object

CHGCAR_RTOL = 1e-10  # 11 digits
CHG_RTOL = 5e-5  # 5 digits
GRID = (6, 5, 7)  # 210 values: 42 full lines of 5; CHG's 10 columns fit too
RAGGED = (3, 7, 4)  # 84 values: a last line of 4


def write(path, content: bytes):
    path.write_bytes(content)
    return path


def assert_density(rho, rho_times_volume, rtol):
    expected = rho_times_volume / NACL.volume
    assert rho.flags.c_contiguous
    np.testing.assert_allclose(rho, expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize("grid", [GRID, RAGGED], ids=["full lines", "padded last line"])
@pytest.mark.parametrize("occupancies", [7, 10], ids=["ragged augmentation", "full augmentation"])
def test_total_is_divided_by_the_volume(tmp_path, grid, occupancies):
    total = waves(grid, 8)
    read = read_density(write(tmp_path / "CHGCAR", chgcar_text(NACL, [total], occupancies=occupancies)))
    assert_density(read.total, total, CHGCAR_RTOL)
    assert read.spin == {}
    assert read.electrons == pytest.approx(8, abs=1e-9)


def test_spin_file_has_total_and_spin(tmp_path):
    total, spin = waves(GRID, 8), waves(GRID, 1.5, seed=1)
    read = read_density(write(tmp_path / "CHGCAR", chgcar_text(NACL, [total, spin])))
    assert list(read.spin) == ["spin"]
    assert_density(read.spin["spin"], spin, CHGCAR_RTOL)
    assert_density(read.total, total, CHGCAR_RTOL)


def test_non_collinear_file_has_three_components_in_order(tmp_path):
    blocks = [waves(GRID, 8)] + [waves(GRID, 1 + k, seed=k) for k in range(3)]
    read = read_density(write(tmp_path / "CHGCAR", chgcar_text(NACL, blocks)))
    assert list(read.spin) == ["spin_x", "spin_y", "spin_z"]
    for field, block in zip(read.spin.values(), blocks[1:], strict=True):
        assert_density(field, block, CHGCAR_RTOL)


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_chg_with_ten_columns(tmp_path, n_blocks):
    blocks = [waves(RAGGED, 8), waves(RAGGED, 1.5, seed=1)][:n_blocks]
    read = read_density(write(tmp_path / "CHG", chgcar_text(NACL, blocks, columns=10)))
    assert_density(read.total, blocks[0], CHG_RTOL)
    assert len(read.spin) == n_blocks - 1


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress], ids=["gz", "xz", "bz2"])
def test_compressed_file_reads_as_the_plain_one(tmp_path, compress):
    text = chgcar_text(NACL, [waves(GRID, 8), waves(GRID, 1.5)])
    plain = read_density(write(tmp_path / "CHGCAR", text))
    packed = read_density(write(tmp_path / "CHGCAR.any", compress(text)))
    assert np.array_equal(plain.total, packed.total)
    assert np.array_equal(plain.spin["spin"], packed.spin["spin"])


@pytest.mark.parametrize("selective", [False, True], ids=["", "selective"])
@pytest.mark.parametrize("cartesian", [False, True], ids=["direct", "cartesian"])
@pytest.mark.parametrize("scale", [1.0, 5.43, -40.0], ids=["1", "factor", "volume"])
def test_header_forms_give_the_same_crystal_and_density(tmp_path, scale, cartesian, selective):
    crystal = NACL.copy()
    crystal.scale_lattice(40.0)
    total = waves(GRID, 8)
    text = chgcar_text(crystal, [total], scale=scale, cartesian=cartesian, selective=selective)
    read = read_density(write(tmp_path / "CHGCAR", text))
    np.testing.assert_allclose(read.structure.lattice.matrix, crystal.lattice.matrix, atol=1e-10)
    np.testing.assert_allclose(read.structure.frac_coords, crystal.frac_coords, atol=1e-10)
    assert [site.specie.symbol for site in read.structure] == ["Na", "Cl"]
    assert read.total.mean() * 40.0 == pytest.approx(8, abs=1e-8)


def test_left_handed_cell_has_a_positive_density(tmp_path):
    crystal = Structure(NACL.lattice.matrix[[1, 0, 2]], NACL.species, NACL.frac_coords)
    assert np.linalg.det(crystal.lattice.matrix) * np.linalg.det(NACL.lattice.matrix) < 0
    total = waves(GRID, 8)
    assert_density(read_density(write(tmp_path / "CHGCAR", chgcar_text(crystal, [total]))).total, total, CHGCAR_RTOL)


def test_three_digit_exponents_without_e_are_read(tmp_path):
    total = waves(GRID, 8)
    total[0, :4, 0] = [1e-120, -1e-101, 2.5e-99, 0.0]
    total *= 8 / total.mean()
    text = chgcar_text(NACL, [total, total])
    assert b"-119 " in text
    assert b"-.1" in text
    read = read_density(write(tmp_path / "CHGCAR", text))
    assert_density(read.total, total, CHGCAR_RTOL)
    assert read.total[0, 0, 0] == pytest.approx(total[0, 0, 0] / NACL.volume, rel=1e-9)


def test_windows_line_ends_are_read(tmp_path):
    total = waves(GRID, 8)
    text = chgcar_text(NACL, [total]).replace(b"\n", b"\r\n")
    assert_density(read_density(write(tmp_path / "CHGCAR", text)).total, total, CHGCAR_RTOL)


@pytest.mark.parametrize("columns", [5, 10], ids=["CHGCAR", "CHG"])
def test_agrees_with_pymatgen(tmp_path, columns):
    path = write(
        tmp_path / "CHGCAR", chgcar_text(NACL, [waves(RAGGED, 8), waves(RAGGED, 2, seed=4)], columns=columns)
    )
    ours, theirs = read_density(path), Chgcar.from_file(path)
    np.testing.assert_allclose(ours.total * NACL.volume, theirs.data["total"], rtol=1e-14)
    np.testing.assert_allclose(ours.spin["spin"] * NACL.volume, theirs.data["diff"], rtol=1e-14)
    assert ours.structure == theirs.structure


def test_file_that_pymatgen_wrote_is_read(tmp_path):
    source = write(tmp_path / "CHGCAR", chgcar_text(NACL, [waves(RAGGED, 8), waves(RAGGED, 2, seed=4)]))
    Chgcar.from_file(source).write_file(tmp_path / "CHGCAR.pymatgen")
    one, other = read_density(source), read_density(tmp_path / "CHGCAR.pymatgen")
    np.testing.assert_allclose(one.total, other.total, rtol=1e-9)
    np.testing.assert_allclose(one.spin["spin"], other.spin["spin"], rtol=1e-9)


# --- VASP 4: elements come from a file beside, or not at all


def vasp4(tmp_path, crystal=NACL):
    folder = tmp_path / "calculation"
    folder.mkdir()
    return write(folder / "CHGCAR", chgcar_text(crystal, [waves(GRID, 8)], symbols=False))


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR"])
def test_vasp4_takes_elements_from_the_poscar_beside_it(tmp_path, name):
    path = vasp4(tmp_path)
    path.with_name(name).write_text(poscar_text(NACL))
    assert [site.specie.symbol for site in read_density(path).structure] == ["Na", "Cl"]


def test_vasp4_takes_elements_from_the_cif_that_is_named(tmp_path):
    path = vasp4(tmp_path)
    NACL.to(filename=tmp_path / "any.cif")
    assert read_density(path, tmp_path / "any.cif").structure.formula == "Na1 Cl1"


def test_vasp4_takes_elements_from_the_ends_of_its_lines(tmp_path):
    text = chgcar_text(NACL, [waves(GRID, 8)], symbols=False).decode().splitlines()
    text[7:9] = [text[7] + " Na", text[8] + " Cl"]
    path = write(tmp_path / "CHGCAR", "\n".join(text).encode())
    assert read_density(path).structure.formula == "Na1 Cl1"


def test_vasp4_accepts_the_unrelaxed_poscar(tmp_path):
    path = vasp4(tmp_path)
    unrelaxed = NACL.copy()
    unrelaxed.scale_lattice(NACL.volume * 1.06)
    unrelaxed.translate_sites([1], [0.03, 0.0, 0.96])
    path.with_name("POSCAR").write_text(poscar_text(unrelaxed))
    structure = read_density(path).structure
    assert [site.specie.symbol for site in structure] == ["Na", "Cl"]
    np.testing.assert_allclose(structure.lattice.matrix, NACL.lattice.matrix, atol=1e-9)


def test_potential_names_are_elements(tmp_path):
    path = write(tmp_path / "CHGCAR", chgcar_text(NACL, [waves(GRID, 8)], suffix="_pv/f474ac0d"))
    assert read_density(path).structure.formula == "Na1 Cl1"


# --- the Materials Project's objects


def mp_object(blocks) -> dict:
    data = {key: {"@class": "array", "dtype": "float64", "data": block.tolist()} for key, block in blocks.items()}
    return {"fs_id": "1", "data": {"poscar": {"structure": NACL.as_dict()}, "data": data, "data_aug": {}}}


@pytest.mark.parametrize("name", ["mp-1.json", "mp-1.json.gz"])
def test_mp_object_is_read(tmp_path, name):
    total, diff = waves(GRID, 8), waves(GRID, 1, seed=2)
    content = json.dumps(mp_object({"total": total, "diff": diff})).encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    read = read_density(path)
    assert_density(read.total, total, 1e-14)
    assert_density(read.spin["spin"], diff, 1e-14)
    assert read.structure == NACL


def test_mp_object_without_spin_is_read(tmp_path):
    path = write(tmp_path / "mp-1.json", json.dumps(mp_object({"total": waves(GRID, 8)})).encode())
    assert read_mp_object(path).spin == {}


def test_mp_object_with_three_components_ignores_their_norm(tmp_path):
    keys = ["total", "diff", "diff_x", "diff_y", "diff_z"]
    blocks = {key: waves(GRID, 8 - k, seed=k) for k, key in enumerate(keys)}
    read = read_mp_object(write(tmp_path / "mp-1.json", json.dumps(mp_object(blocks)).encode()))
    assert list(read.spin) == ["spin_x", "spin_y", "spin_z"]
    assert_density(read.spin["spin_z"], blocks["diff_z"], 1e-14)


# --- real files

REAL = {  # electrons as stated in DATA.md, blocks, formula, integral of the spin [mu_B]
    "Al.CHGCAR.gz": ((48, 48, 48), 3, "Al1", 0.0),
    "LiH.CHGCAR.gz": ((48, 48, 48), 4, "Li1 H1", 0.0),
    "NaCl.CHGCAR.gz": ((56, 56, 56), 8, "Na1 Cl1", None),
    "Si_static.CHGCAR.gz": ((60, 60, 60), 8, "Si2", 0.0),
    "Si_static.CHG.gz": ((60, 60, 60), 8, "Si2", 0.0),
    "Si_scaled.CHGCAR.gz": ((56, 56, 56), 8, "Si2", None),
    "Li_nospin.CHGCAR.gz": ((32, 32, 32), 1, "Li1", None),
    "Li_spin.CHGCAR.gz": ((48, 48, 48), 1, "Li1", -0.0203),
    "Fe3O4.CHGCAR.gz": ((72, 72, 72), 96, "Fe6 O8", 14.1),
    "Ga.CHGCAR.gz": ((40, 40, 40), 12, "Ga4", 0.0),
    "Li.CHG": ((10, 10, 10), 1, "Li1", None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_file_has_its_electrons(shared_data, name):
    shape, electrons, formula, moment = REAL[name]
    read = read_density(shared_data / "chgcar" / name)
    assert read.total.shape == shape
    assert read.structure.formula == formula
    assert read.electrons == pytest.approx(electrons, abs=2e-5)
    assert read.total.mean() * read.structure.volume == pytest.approx(electrons, abs=2e-5)
    assert (moment is None) == (read.spin == {})
    if moment is not None:
        assert read.spin["spin"].mean() * read.structure.volume == pytest.approx(moment, abs=0.05)


def test_real_chg_is_the_rounded_chgcar(shared_data):
    fine, coarse = (read_density(shared_data / "chgcar" / f"Si_static.{kind}.gz") for kind in ("CHGCAR", "CHG"))
    np.testing.assert_allclose(coarse.total, fine.total, rtol=CHG_RTOL, atol=0)


def test_real_materials_project_object_has_its_electrons(shared_data):
    read = read_mp_object(shared_data / "materials_project" / "mp-2680643.json.gz")
    assert read.total.shape == read.spin["spin"].shape == (60, 60, 60)
    assert read.structure.formula == "Sc1 N1"
    assert read.electrons == pytest.approx(16, abs=1e-4)  # Sc_sv 11 and N 5
