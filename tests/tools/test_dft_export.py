"""The published files: layout, units, exact electron counts."""

import json
import lzma

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp import Chgcar

from tools.dft.crystals import Crystal
from tools.dft.dos import DensityOfStates, Projection
from tools.dft.eos import Fit
from tools.dft.export import Result, property_row, write_files
from tools.dft.fcc import primitive_volume

A, N, ELECTRONS, MOMENT = 5.63, 14, 29.0, 5.0
# pymatgen still asks spglib in its old way
pytestmark = pytest.mark.filterwarnings("default:Set OLD_ERROR_HANDLING:DeprecationWarning")

DIGITS = 1e-6  # relative; the text holds seven digits
HEUSLER = Crystal("heusler", ("Mn", "Co", "Si", "Co"), 5.6, spin_polarised=True, hypothetical=False)


def field(mean, seed):
    """A field [e/A^3] of the grid with that mean, full of every symmetry-breaking detail, also negative."""
    noise = np.random.default_rng(seed).normal(size=(N,) * 3)
    return noise - noise.mean() + mean


@pytest.fixture(scope="module")
def result():
    energies = np.round(np.arange(-14, 6.01, 0.05), 6)
    volume = primitive_volume(A)
    return Result(
        crystal=HEUSLER,
        lattice_constant=A,
        fit=Fit(volume=volume, energy=-29.0, bulk_modulus=214.56789, bulk_modulus_derivative=4.5, rms=1e-4),
        energy=-28.0,
        efermi=8.5,
        band_gap=0.0,
        moment=MOMENT,
        total=field(ELECTRONS / volume, 0),
        spin=field(MOMENT / volume, 1),
        promolecule=None,
        dos=DensityOfStates(
            energies=energies,
            zero=8.5,
            zero_name="Fermi level",
            spins=np.stack([np.full(401, 1.0), np.full(401, 2.0)]),
            projections=[Projection(0, "Mn", "d", np.full(401, 0.25))],
            mesh=(8, 8, 8),
        ),
    )


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("export")
    write_files(result, path)
    return path


@pytest.fixture(scope="module")
def chgcar(folder):
    text = folder / "CHGCAR"
    text.write_bytes(lzma.decompress((folder / "CHGCAR.xz").read_bytes()))
    return Chgcar.from_file(text)


def test_pymatgen_counts_the_electrons(chgcar):
    assert chgcar.data["total"].mean() == pytest.approx(ELECTRONS, rel=DIGITS)


def test_pymatgen_counts_the_moment(chgcar):
    assert chgcar.data["diff"].mean() == pytest.approx(MOMENT, rel=DIGITS)


@pytest.mark.parametrize(("block", "attribute"), [("total", "total"), ("diff", "spin")])
def test_every_value_stands_at_its_grid_point(chgcar, result, block, attribute):
    expected = getattr(result, attribute) * result.volume
    np.testing.assert_allclose(chgcar.data[block], expected, rtol=DIGITS)


def test_atoms_are_grouped_and_in_their_places(chgcar, result):
    got = {tuple(np.round(site.frac_coords, 6)): site.specie.symbol for site in chgcar.structure}
    assert [site.specie.symbol for site in chgcar.structure] == ["Mn", "Co", "Co", "Si"]
    assert got == {tuple([x] * 3): symbol for x, symbol in zip((0, 0.25, 0.5, 0.75), HEUSLER.sites, strict=True)}


def test_cell_has_the_relaxed_edge(chgcar):
    assert chgcar.structure.volume == pytest.approx(A**3 / 4, rel=DIGITS)


def test_structure_file_is_the_conventional_cell(folder):
    structure = Structure.from_file(folder / "structure.cif")
    assert structure.lattice.abc == pytest.approx((A, A, A), rel=DIGITS)
    assert structure.composition.as_dict() == {"Mn": 4, "Co": 8, "Si": 4}


def test_files_are_those_of_a_shipped_crystal(folder, demo):
    shipped = {path.name for path in (demo / "Co2MnSi_heusler").iterdir()}
    assert {path.name for path in folder.iterdir()} - {"CHGCAR"} == shipped


def test_dos_file_has_the_shipped_layout(folder, demo):
    got = json.loads((folder / "dos.json").read_text())
    shipped = json.loads((demo / "Co2MnSi_heusler" / "dos.json").read_text())
    assert list(got) == list(shipped)
    assert got["energy_eV"] == shipped["energy_eV"]
    assert list(got["pdos"][0]) == list(shipped["pdos"][0])


def test_dos_file_adds_the_spins(folder):
    assert set(json.loads((folder / "dos.json").read_text())["total"]) == {3.0}


def test_row_has_the_shipped_columns(result, shipped_rows):
    assert list(property_row(result)) == list(shipped_rows["Al_fcc"])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("material_id", "Co2MnSi_heusler"),
        ("space_group_number", "225"),
        ("nsites", "4"),
        ("energy_per_atom_eV", "-7.0"),
        ("k_vrh_GPa", "214.568"),
        ("total_magnetization_muB", "5.0"),
        ("eos_rms_meV", "0.1"),
        ("formation_energy_per_atom_eV", ""),
        ("spin_polarised", "True"),
    ],
)
def test_row_holds(result, column, expected):
    assert property_row(result)[column] == expected


def test_mass_density_agrees_with_pymatgen(result):
    assert float(property_row(result)["density_g_cm3"]) == pytest.approx(result.structure().density, rel=1e-6)
