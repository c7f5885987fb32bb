"""One crystal end to end, where the DFT engine is installed: it must give the shipped aluminium back."""

import csv
import json
import lzma

import numpy as np
import pytest
from pymatgen.io.vasp import Chgcar

from tools.dft.generate import main

pytest.importorskip("gpaw", reason="the DFT engine is not installed; see tools/dft/README.md")
pytestmark = pytest.mark.filterwarnings("default")  # warnings of the engine are not ours

# Same code, same settings; another compiler or library moves the last digits of the energies (1e-5 eV)
EDGE = 1e-4  # A
BULK_MODULUS = 0.2  # GPa
DENSITY = 1e-4  # e/A^3; the largest value is 1.16
DOS = 0.02  # states/eV/cell; the largest value is 0.69


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dft")
    assert main(["--only", "Al_fcc", "--out", str(folder), "--promolecule"]) == 0
    return folder


@pytest.fixture(scope="module")
def row(out):
    with (out / "properties.csv").open(newline="") as file:
        return next(csv.DictReader(file))


def density(path, scratch):
    scratch.write_bytes(lzma.decompress(path.read_bytes()))
    chgcar = Chgcar.from_file(scratch)
    return chgcar.data["total"] / chgcar.structure.volume


def test_lattice_constant_is_the_shipped_one(row, shipped_rows):
    expected = float(shipped_rows["Al_fcc"]["lattice_constant_A"])
    assert float(row["lattice_constant_A"]) == pytest.approx(expected, abs=EDGE)


def test_bulk_modulus_is_the_shipped_one(row, shipped_rows):
    assert float(row["k_vrh_GPa"]) == pytest.approx(float(shipped_rows["Al_fcc"]["k_vrh_GPa"]), abs=BULK_MODULUS)


def test_element_is_its_own_reference(row):
    assert float(row["formation_energy_per_atom_eV"]) == 0


def test_density_is_the_shipped_one(out, demo, tmp_path):
    got = density(out / "Al_fcc" / "CHGCAR.xz", tmp_path / "got")
    shipped = density(demo / "Al_fcc" / "CHGCAR.xz", tmp_path / "shipped")
    np.testing.assert_allclose(got, shipped, atol=DENSITY)


def test_deformation_density_integrates_to_zero(out, tmp_path):
    solid = density(out / "Al_fcc" / "CHGCAR.xz", tmp_path / "solid")
    atoms = density(out / "Al_fcc" / "promolecule.xz", tmp_path / "atoms")
    assert (solid - atoms).mean() == pytest.approx(0, abs=1e-7)
    assert abs(solid - atoms).max() > 0.01


def test_dos_is_the_shipped_one(out, demo):
    got, shipped = (json.loads((f / "Al_fcc" / "dos.json").read_text()) for f in (out, demo))
    np.testing.assert_allclose(got["total"], shipped["total"], atol=DOS)


def test_second_run_computes_nothing(out, monkeypatch):
    import tools.dft.compute as compute

    before = (out / "Al_fcc" / "CHGCAR.xz").stat().st_mtime_ns
    monkeypatch.setattr(compute, "compute_crystal", lambda *_, **__: pytest.fail("computed again"))
    assert main(["--only", "Al_fcc", "--out", str(out)]) == 0
    assert (out / "Al_fcc" / "CHGCAR.xz").stat().st_mtime_ns == before
