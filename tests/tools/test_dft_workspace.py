"""The output folder and the command line, without the DFT engine."""

import csv
import subprocess
import sys
from dataclasses import replace

import pytest

from tools.dft.crystals import read_crystals
from tools.dft.generate import complete_row, main, select
from tools.dft.settings import Settings
from tools.dft.workspace import Workspace

CRYSTALS = {crystal.id: crystal for crystal in read_crystals()}


def row(name, energy="-3.0", formation=""):
    return {
        "material_id": name,
        "energy_per_atom_eV": energy,
        "formation_energy_per_atom_eV": formation,
    }


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "data", Settings())


def write_one_file(folder):
    (folder / "dos.json").write_text("{}")


def test_published_crystal_is_done(workspace):
    workspace.publish(row("Al_fcc"), write_one_file)
    assert workspace.is_done("Al_fcc")
    assert (workspace.root / "Al_fcc" / "dos.json").read_text() == "{}"


def test_table_stays_sorted_and_keeps_other_rows(workspace):
    workspace.publish(row("MgO_rocksalt", "-5.0"), write_one_file)
    workspace.publish(row("Al_fcc"), write_one_file)
    with (workspace.root / "properties.csv").open() as file:
        assert [r["material_id"] for r in csv.DictReader(file)] == ["Al_fcc", "MgO_rocksalt"]
    assert workspace.table()["MgO_rocksalt"]["energy_per_atom_eV"] == "-5.0"


def test_kill_while_writing_leaves_nothing_in_place(workspace):
    def killed(folder):
        write_one_file(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.publish(row("Al_fcc"), killed)
    assert not (workspace.root / "Al_fcc").exists()
    assert not workspace.is_done("Al_fcc")


def test_folder_without_row_is_not_done(workspace):
    (workspace.root / "Al_fcc").mkdir()
    assert not workspace.is_done("Al_fcc")


def test_lock_is_held_once(workspace):
    with workspace.lock("Al_fcc") as first, workspace.lock("Al_fcc") as second:
        assert (first, second) == (True, False)


def test_lock_is_free_again(workspace):
    with workspace.lock("Al_fcc"):
        pass
    with workspace.lock("Al_fcc") as held:
        assert held


def test_folder_refuses_other_settings(workspace):
    with pytest.raises(ValueError, match="other settings"):
        Workspace(workspace.root, replace(Settings(), cutoff=300.0))


def test_failure_is_kept_until_forgotten(workspace):
    workspace.record_failure("Al_fcc", "no minimum")
    assert workspace.failure("Al_fcc") == "no minimum"
    workspace.forget_failure("Al_fcc")
    assert workspace.failure("Al_fcc") is None


def test_formation_energy_is_relative_to_the_elements_of_the_sites():
    # Co2MnSi: -7 - (-5 - 2 x 4 - 6) / 4 = -2.25
    energies = {"Mn": -5.0, "Co": -4.0, "Si": -6.0}
    got = complete_row(row("Co2MnSi_heusler", "-7.0"), CRYSTALS["Co2MnSi_heusler"], energies)
    assert got["formation_energy_per_atom_eV"] == "-2.25"


def test_formation_energy_of_an_element_is_zero():
    assert complete_row(row("Al_fcc"), CRYSTALS["Al_fcc"], {"Al": -3.0})["formation_energy_per_atom_eV"] == "0.0"


@pytest.mark.parametrize(
    ("before", "energies"),
    [(row("MgO_rocksalt"), {"Mg": -1.0}), (row("MgO_rocksalt", formation="-2.7"), {"Mg": -1.0, "O": -1.0})],
    ids=["unknown element", "value there"],
)
def test_formation_energy_is_left_alone(before, energies):
    assert complete_row(before, CRYSTALS["MgO_rocksalt"], energies) == before


def test_unknown_crystal_gets_near_names():
    with pytest.raises(ValueError, match="MgO_rocksalt"):
        select(list(CRYSTALS.values()), "MgO_rocksal")


def test_unknown_crystal_ends_the_command_line(capsys):
    assert main(["--only", "Unobtainium"]) == 2
    assert "see --list" in capsys.readouterr().err


def test_list_shows_flags(capsys):
    assert main(["--list", "--only", "MnO_rocksalt"]) == 0
    assert capsys.readouterr().out.split() == ["MnO_rocksalt", "4.45", "A", "spin", "hypothetical"]


def test_help_loads_neither_engine_nor_numpy(project):
    # numpy must not be loaded before the number of threads is set
    code = (
        "import sys, tools.dft.generate as g\n"
        "try: g.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('loaded:', [m for m in ('numpy', 'gpaw', 'ase') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert "--reverse" in done.stdout
    assert done.stdout.endswith("loaded: []\n")
