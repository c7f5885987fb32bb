"""Properties of VASP runs, against pymatgen's readers and by hand."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from pymatgen.electronic_structure.core import Spin
from pymatgen.io.vasp.outputs import Outcar, Vasprun

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.sources.runs import RUN_PROPERTIES, read_packed, read_run
from rhoflow.sources.vasprun import parse_total_dos

from .vasp_runs import VaspRun, outcar_text, vasprun_text

PRINTED = 1e-4  # eV: band energies have four digits
EIGHT_DIGITS = 1e-8
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}

UP = np.array([[[-3.0, 1.0, 2.0], [-3.2, 0.5, 2.5]], [[-2.0, 3.0, 4.0], [-2.2, 3.5, 4.5]]])
MAGNET = VaspRun(
    energies=UP,
    occupations=np.array([[[1.0, 0.9, 0.1], [1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0], [0.6, 0.0, 0.0]]]),
    moment=(-1.3,),  # 0.25 (2.0 - 1.0) + 0.75 (2.0 - 0.6)
)


@pytest.fixture(params=["vasprun.xml", "OUTCAR"])
def write(request: pytest.FixtureRequest, tmp_path: Path):
    """Write a run as one of its two files."""

    def make(run: VaspRun, **options: bool) -> Path:
        path = tmp_path / request.param
        text = vasprun_text if request.param == "vasprun.xml" else outcar_text
        path.write_bytes(text(run, **options))
        return path

    return make


def test_scalars_of_a_run(write) -> None:
    run = VaspRun()
    found = read_run(write(run)).properties
    assert found["energy_per_atom"] == pytest.approx(run.e_0 / 2, abs=EIGHT_DIGITS)
    assert found["uncorrected_energy_per_atom"] == found["energy_per_atom"]
    assert found["efermi"] == pytest.approx(0.7531, abs=PRINTED)
    assert found["volume"] == pytest.approx(run.volume, rel=1e-7)
    assert found["density_atomic"] == found["volume_per_atom"] == pytest.approx(run.volume / 2, rel=1e-7)
    assert (found["nsites"], found["nelements"]) == (2, 2)
    assert found["total_magnetization"] == 0.0


def test_all_that_a_run_can_give_is_named(write) -> None:
    assert sorted(read_run(write(replace(MAGNET, moment=(1.0,)))).properties) == sorted(RUN_PROPERTIES)


def test_mass_density_is_pymatgens(write) -> None:
    run = VaspRun()
    structure = Structure(run.vectors, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert read_run(write(run)).properties["density"] == pytest.approx(structure.density, rel=1e-5)


def test_valence_of_the_potentials(write) -> None:
    found = read_run(write(VaspRun()))
    assert found.valence == {"Na": 7.0, "Cl": 7.0}
    assert found.composition == {"Na": 1, "Cl": 1}


def test_two_potentials_of_one_element_have_no_common_valence(write) -> None:
    species = (("H", 2, 1.0, 1.0, "PAW_PBE H 15Jun2001"), ("H", 1, 1.0, 0.5, "PAW_PBE H.5 07Sep2000"))
    found = read_run(write(VaspRun(species=species)))
    assert found.valence is None
    assert found.composition == {"H": 3}


def test_gap_is_from_the_highest_filled_to_the_lowest_empty_state_of_any_k(write) -> None:
    assert read_run(write(VaspRun())).properties["band_gap"] == pytest.approx(4.0 - -1.0, abs=PRINTED)


def test_half_filled_tails_of_smearing_do_not_close_the_gap(write) -> None:
    """A tail of 1e-3 in the conduction band is smearing, which pymatgen's tolerance of 1e-8 takes for a metal."""
    run = VaspRun(occupations=np.array([[[1.0, 0.999, 0.001], [1.0, 1.0, 0.0]]]))
    assert read_run(write(run)).properties["band_gap"] == pytest.approx(5.0, abs=PRINTED)


def test_band_that_is_filled_at_some_k_only_is_a_metal(write) -> None:
    run = VaspRun(occupations=np.array([[[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]]))
    assert read_run(write(run)).properties["band_gap"] == 0.0


def test_overlapping_bands_are_a_metal(write) -> None:
    energies = np.array([[[-12.0, 1.0, 4.0], [-11.5, -1.5, 0.5]]])
    assert read_run(write(VaspRun(energies=energies))).properties["band_gap"] == 0.0


def test_gap_without_an_empty_band_is_unknown(write) -> None:
    assert "band_gap" not in read_run(write(VaspRun(occupations=np.ones((1, 2, 3))))).properties


def test_gap_of_a_magnet_is_over_both_spins(write) -> None:
    occupations = np.array([[[1.0, 1.0, 0.0]] * 2, [[1.0, 0.0, 0.0]] * 2])
    found = read_run(write(replace(MAGNET, occupations=occupations, moment=(1.0,)))).properties
    assert found["band_gap"] == pytest.approx(2.0 - 1.0, abs=PRINTED)
    assert found["total_magnetization"] == pytest.approx(1.0, abs=1e-6)


def test_moment_is_the_difference_of_the_spins_without_sign(write) -> None:
    found = read_run(write(MAGNET)).properties
    assert found["total_magnetization"] == pytest.approx(1.3, abs=1e-6)
    assert found["total_magnetization_normalized_vol"] == pytest.approx(1.3 / MAGNET.volume, rel=1e-6)


def test_moment_per_formula_unit(write) -> None:
    species = (("Na", 2, 22.99, 7.0, "PAW_PBE Na_pv 19Sep2006"), ("Cl", 2, 35.453, 7.0, "PAW_PBE Cl 06Sep2000"))
    found = read_run(write(replace(MAGNET, species=species))).properties
    assert found["total_magnetization_normalized_formula_units"] == pytest.approx(0.65, abs=1e-6)


def test_moment_of_a_non_collinear_run_is_a_vectors_length(tmp_path: Path) -> None:
    run = VaspRun(non_collinear=True, moment=(1.0, -2.0, 2.0))
    (tmp_path / "OUTCAR").write_bytes(outcar_text(run))
    (tmp_path / "vasprun.xml").write_bytes(vasprun_text(run))
    assert read_run(tmp_path / "OUTCAR").properties["total_magnetization"] == pytest.approx(3.0, abs=1e-6)
    assert "total_magnetization" not in read_run(tmp_path / "vasprun.xml").properties


def test_swapped_energies_of_vasp_5_are_put_right(tmp_path: Path) -> None:
    run = VaspRun()
    (tmp_path / "vasprun.xml").write_bytes(vasprun_text(run, vasp5=True))
    found = read_run(tmp_path / "vasprun.xml").properties
    assert found["energy_per_atom"] == pytest.approx(run.e_0 / 2, abs=EIGHT_DIGITS)


def test_both_files_of_a_run_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "OUTCAR").write_bytes(outcar_text(MAGNET))
    (tmp_path / "vasprun.xml").write_bytes(vasprun_text(MAGNET))
    one, other = read_run(tmp_path / "OUTCAR"), read_run(tmp_path / "vasprun.xml")
    assert one.properties == pytest.approx(other.properties, abs=1e-6)
    assert (one.valence, one.composition) == (other.valence, other.composition)


@pytest.mark.parametrize("vasp5", [False, True], ids=["vasp6", "vasp5"])
def test_vasprun_agrees_with_pymatgen(tmp_path: Path, vasp5: bool) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_bytes(vasprun_text(VaspRun(), projections=False, vasp5=vasp5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Vasprun(path, parse_potcar_file=False)
    ours = read_run(path).properties
    assert ours["energy_per_atom"] == pytest.approx(float(theirs.final_energy) / 2, abs=EIGHT_DIGITS)
    assert ours["efermi"] == pytest.approx(theirs.efermi, abs=EIGHT_DIGITS)
    assert ours["band_gap"] == pytest.approx(theirs.eigenvalue_band_properties[0], abs=EIGHT_DIGITS)
    assert ours["volume"] == pytest.approx(theirs.final_structure.volume, rel=1e-7)


def test_total_dos_agrees_with_pymatgen(tmp_path: Path) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_bytes(vasprun_text(MAGNET, projections=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Vasprun(path, parse_potcar_file=False, parse_eigen=False).tdos
    ours = read_packed(path, parse_total_dos)
    assert ours.efermi == theirs.efermi
    np.testing.assert_allclose(ours.energies, theirs.energies, rtol=0, atol=EIGHT_DIGITS)
    for k, spin in enumerate((Spin.up, Spin.down)):
        np.testing.assert_allclose(ours.densities[k], theirs.densities[spin], rtol=0, atol=EIGHT_DIGITS)


def test_outcar_agrees_with_pymatgen(tmp_path: Path) -> None:
    path = tmp_path / "OUTCAR"
    path.write_bytes(outcar_text(MAGNET))
    theirs, ours = Outcar(path), read_run(path).properties
    assert ours["energy_per_atom"] == pytest.approx(theirs.final_energy / 2, abs=EIGHT_DIGITS)
    assert ours["efermi"] == pytest.approx(theirs.efermi, abs=EIGHT_DIGITS)
    assert ours["total_magnetization"] == pytest.approx(abs(theirs.total_mag), abs=EIGHT_DIGITS)


@pytest.mark.parametrize("packed", PACK)
def test_packed_run(tmp_path: Path, packed: str) -> None:
    path = tmp_path / f"vasprun.xml{packed}"
    path.write_bytes(PACK[packed](vasprun_text(VaspRun())))
    assert read_run(path).properties["nsites"] == 2


def test_projections_change_nothing(tmp_path: Path) -> None:
    found = []
    for name, projections in (("with", True), ("without", False)):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "vasprun.xml"
        path.write_bytes(vasprun_text(MAGNET, projections=projections))
        found.append(read_run(path))
    assert found[0] == found[1]


@pytest.mark.parametrize("n_steps", [60, 61])
def test_unconverged_vasprun_is_refused(tmp_path: Path, n_steps: int) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_bytes(vasprun_text(VaspRun(n_steps=n_steps)))
    with pytest.raises(RejectedMaterialError, match="did not converge") as caught:
        read_run(path)
    assert caught.value.reason is Reason.NOT_CONVERGED


def test_unconverged_outcar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "OUTCAR"
    path.write_bytes(outcar_text(VaspRun(), converged=False))
    with pytest.raises(RejectedMaterialError, match="NELM"):
        read_run(path)


BOMB = b'<?xml version="1.0"?>\n<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>\n<modeling>&b;</modeling>'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<modeling>",
        b"<modeling></modeling>",
        vasprun_text(VaspRun())[:-3000],
        b"<html><body>404</body></html>",
        BOMB,
        b"<!-- <modeling> -->\n" + BOMB,
        vasprun_text(VaspRun()).replace(b'name="NELM"', b'name="MELN"'),
        vasprun_text(VaspRun()).replace(b"e_fr_energy", b"e_freak"),
    ],
    ids=["empty", "open", "no-run", "killed", "html", "bomb", "hidden-bomb", "no-nelm", "no-energy"],
)
def test_file_that_is_no_vasprun_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_bytes(content)
    with pytest.raises(RejectedMaterialError, match=r"vasprun.xml: not what a finished VASP run writes"):
        read_run(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"some text\n", outcar_text(VaspRun(), finished=False), outcar_text(VaspRun()).replace(b"ZVAL", b"XVAL")],
    ids=["empty", "prose", "killed", "no-valence"],
)
def test_file_that_is_no_outcar_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "OUTCAR"
    path.write_bytes(content)
    with pytest.raises(RejectedMaterialError, match=r"OUTCAR: not what a finished VASP run writes"):
        read_run(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vasprun.xml.gz", gzip.compress(vasprun_text(VaspRun()))[:-200]),
        ("vasprun.xml.gz", b"no gzip"),
        ("OUTCAR.xz", lzma.compress(outcar_text(VaspRun()))[:-50]),
        ("OUTCAR.bz2", bz2.compress(outcar_text(VaspRun()))[:-50]),
        ("OUTCAR.bz2", b"no bzip2"),
    ],
)
def test_damaged_packed_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RejectedMaterialError, match=rf"{name}: "):
        read_run(tmp_path / name)


def test_missing_run_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(RejectedMaterialError, match="OUTCAR: No such file"):
        read_run(tmp_path / "OUTCAR")


def test_number_that_fortran_could_not_print_leaves_its_property_out(tmp_path: Path) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_bytes(vasprun_text(VaspRun()).replace(b"      0.75310000 ", b"**************** "))
    found = read_run(path).properties
    assert "efermi" not in found
    assert "band_gap" in found


TEXTS = {"vasprun.xml": vasprun_text(MAGNET), "OUTCAR": outcar_text(MAGNET)}


@given(name=st.sampled_from(sorted(TEXTS)), data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_does_worse_than_a_rejection(tmp_path_factory: pytest.TempPathFactory, name: str, data) -> None:
    """A piece cut out, or overwritten, anywhere: a run comes out, or the reason why not."""
    text = TEXTS[name]
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + data.draw(st.sampled_from([1, 20, 10**6])))))
    patch = data.draw(st.sampled_from([b"", b"0", b"-", b"*", b" ", b"nan", b"Xx", b"\xff", b"1e999"]))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(text[:start] + patch + text[stop:])
    try:
        found, detail = read_run(path).properties, ""
    except RejectedMaterialError as error:
        found, detail = {}, error.detail
    assert bool(found) != (str(path) in detail)
    assert all(np.isfinite(value) for value in found.values())
