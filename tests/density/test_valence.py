"""Which shells are valence: counts of real potentials, choice by count, by statement and by the density."""

from __future__ import annotations

import bz2
import json
import re
from importlib.resources import files

import numpy as np
import pytest
import yaml
from pymatgen.core import Element, Lattice, Structure

from rhoflow.density.promolecule import promolecule
from rhoflow.density.read import read_density
from rhoflow.density.valence import choose_valence, name_shells, valence_sets
from rhoflow.errors import Reason, RejectedMaterialError

# Potentials of VASP's PBE libraries that we know no reference for: deeper cores than is usual, fractional hydrogen.
UNKNOWN = {"O_sv", "Bi_pv"}
SHAPE = (24, 24, 24)


def rocksalt(cation: str, anion: str, a: float = 5.0) -> Structure:
    return Structure(
        Lattice(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * a / 2), [cation, anion], [[0] * 3, [0.5] * 3]
    )


def flat(structure: Structure, electrons: float) -> np.ndarray:
    """A density of which only the sum says something."""
    return np.full((4, 4, 4), electrons / structure.volume)


def n_electrons(structure: Structure, valence) -> float:
    return sum(sum(valence[site.specie.symbol].values()) for site in structure)


def counts(element: str) -> list[float]:
    return [sum(shells.values()) for shells in valence_sets(element)]


@pytest.fixture(scope="module")
def potentials() -> dict[str, float]:
    """Valence electrons of VASP's PBE potentials by their symbols (pymatgen's table of POTCAR headers)."""
    packed = (files("pymatgen.io.vasp") / "potcar-summary-stats.json.bz2").read_bytes()
    libraries = json.loads(bz2.decompress(packed))
    entries = [entry for name in ("PBE", "PBE_52", "PBE_54") for kind in libraries[name].values() for entry in kind]
    return {entry["symbol"]: entry["ZVAL"] for entry in entries}


def test_counts_are_those_of_vasp_potentials(potentials):
    usual = {
        symbol: electrons
        for symbol, electrons in potentials.items()
        if re.fullmatch(r"[A-Z][a-z]?(_[a-z0-9]+)?", symbol)
        and symbol not in UNKNOWN
        and symbol.split("_")[0] != "Cf"
    }
    assert len(usual) > 180
    missing = {symbol: n for symbol, n in usual.items() if not np.isclose(counts(symbol.split("_")[0]), n).any()}
    assert missing == {}


def test_counts_hold_every_potential_of_the_materials_project(potentials):
    chosen = yaml.safe_load((files("pymatgen.io.vasp") / "MPRelaxSet.yaml").read_text())["POTCAR"]
    found = {element: potentials[symbol] in counts(element) for element, symbol in chosen.items()}
    assert len(found) > 85
    assert all(found.values())


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("H", [1]),
        ("He", [2]),
        ("Li", [1, 3]),
        ("O", [6]),
        ("Na", [1, 7, 9]),
        ("Cl", [7]),
        ("Ti", [4, 10, 12]),
        ("Zn", [12, 18, 20]),
        ("Ga", [3, 13]),
        ("Kr", [8, 18]),
        ("La", [3, 9, 11]),
        ("Ce", [8, 9, 10, 11, 12]),
        ("Lu", [8, 9, 10, 11, 25]),
        ("Hf", [4, 10, 12]),
        ("U", [6, 12, 14]),
    ],
)
def test_sets_go_inwards(element, expected):
    assert counts(element) == expected


@pytest.mark.parametrize("number", range(1, 97))
def test_count_of_an_element_names_one_set(number):
    found = counts(Element.from_Z(number).symbol)
    assert len(set(found)) == len(found) >= 1


def test_shells_are_named():
    structure = rocksalt("Ti", "N")
    valence = choose_valence(flat(structure, 15), structure)
    assert name_shells(valence) == {"N": "2p3 2s2", "Ti": "3d2 3p6 4s2"}
    assert n_electrons(structure, valence) == 15


@pytest.mark.parametrize(("electrons", "is_fine"), [(14.951, True), (15.049, True), (14.949, False), (15.051, False)])
def test_count_may_be_off_by_a_twentieth(electrons, is_fine):
    structure = rocksalt("Ti", "N")
    if is_fine:
        assert n_electrons(structure, choose_valence(flat(structure, electrons), structure)) == 15
        return
    with pytest.raises(
        RejectedMaterialError, match=rf"holds {electrons} electrons, .* 1 N with 5; 1 Ti with 4 or 10 or 12"
    ):
        choose_valence(flat(structure, electrons), structure)


def test_misfit_is_a_rejection_of_its_own():
    structure = rocksalt("Na", "Cl")
    with pytest.raises(RejectedMaterialError) as caught:
        choose_valence(flat(structure, 13), structure)
    assert caught.value.reason is Reason.VALENCE
    assert "use field: total" in caught.value.detail


@pytest.mark.parametrize("stated", [{"Li": 1, "Mg": 10}, {"Li": 3, "Mg": 8}])
def test_statement_of_the_run_decides(stated):
    structure = rocksalt("Li", "Mg")
    valence = choose_valence(flat(structure, 11), structure, stated)
    assert {element: sum(shells.values()) for element, shells in valence.items()} == stated


@pytest.mark.parametrize("stated", [{"Li": 1, "Mg": 8}, {"Li": 2.5, "Mg": 8.5}, {"Li": 3}])
def test_statement_that_does_not_add_up_is_a_rejection(stated):
    structure = rocksalt("Li", "Mg")
    with pytest.raises(RejectedMaterialError, match="that its run states"):
        choose_valence(flat(structure, 11), structure, stated)


@pytest.mark.parametrize("stated", [{"Li": 1, "Mg": 10}, {"Li": 3, "Mg": 8}])
def test_density_decides_between_equal_counts(stated):
    structure = rocksalt("Li", "Mg")
    atoms = promolecule(structure, SHAPE, choose_valence(flat(structure, 11), structure, stated))
    found = choose_valence(atoms, structure)
    assert {element: sum(shells.values()) for element, shells in found.items()} == stated


def test_every_demo_crystal_finds_the_sets_it_was_computed_with(demo, project):
    # of 18 of them, e.g. LiMgN and PbTe, several combinations have the count
    with np.load(project / "src/rhoflow/density/form_factors.npz", allow_pickle=False) as table:
        paw = table["origin"] == "paw"
        used: dict[str, dict[str, float]] = {}
        for element, shell, n in zip(
            table["element"][paw], table["shell"][paw], table["occupation"][paw], strict=True
        ):
            used.setdefault(str(element), {})[str(shell)] = float(n)
    crystals = sorted(demo.glob("*/CHGCAR.xz"))
    assert len(crystals) > 100
    for path in crystals:
        density = read_density(path)
        assert choose_valence(density.total, density.structure) == {
            str(element): used[str(element)] for element in density.structure.composition
        }, path


def test_too_many_elements_are_a_rejection_unless_a_run_states_their_electrons():
    """Trying all would take longer than any job has."""
    elements = [Element.from_Z(z).symbol for z in (*range(22, 34), *range(40, 48))]
    alloy = Structure(Lattice.cubic(12), elements, np.random.default_rng(0).random((20, 3)))
    stated = {element: counts(element)[0] for element in elements}
    rho = flat(alloy, sum(stated.values()))
    with pytest.raises(
        RejectedMaterialError, match=r"combinations of valence shells of its 20 elements.*OUTCAR"
    ) as error:
        choose_valence(rho, alloy)
    assert error.value.reason is Reason.VALENCE
    assert n_electrons(alloy, choose_valence(rho, alloy, stated)) == pytest.approx(sum(stated.values()))
