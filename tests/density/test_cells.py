"""The map from a file's cell onto the standard cells."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup
from slice_crystals import change_cell, crystal, random_rotation

from rhoflow.density.cells import standard_cell, to_primitive_indices
from rhoflow.errors import Reason, RejectedMaterialError

CRYSTALS = ("Al", "ZnS", "bcc", "sc", "hcp", "Al2O3", "FeSi", "quartz", "TiO2", "triclinic")
ATOL = 1e-6  # [A]


@pytest.mark.parametrize("matrix", [np.eye(3), [[2, 0, 0], [1, 1, 0], [0, 1, -1]]], ids=["as is", "left-handed pair"])
@pytest.mark.parametrize("name", CRYSTALS)
def test_primitive_lattice_and_sites_rebuild_the_file(name: str, matrix: object) -> None:
    structure = change_cell(crystal(name), matrix=matrix, shift=(0.2, 0.7, 0.1), rotation=random_rotation(7))
    cell = standard_cell(structure)
    # lattice: equal up to a rotation, so compare the metric
    lattice = cell.multiples @ cell.primitive
    assert np.allclose(lattice @ lattice.T, structure.lattice.matrix @ structure.lattice.matrix.T, atol=1e-4)
    n_cells = abs(np.linalg.det(cell.multiples))
    assert len(structure) == pytest.approx(n_cells * len(cell.numbers))
    # sites: x_primitive = x_file @ multiples, counted from the file's origin
    mapped = structure.frac_coords @ cell.multiples
    for site, specie in zip(mapped, structure.species, strict=True):
        apart = cell.frac_coords[cell.numbers == specie.Z] - site
        apart = (apart - np.round(apart)) @ cell.primitive
        assert np.linalg.norm(apart, axis=1).min() < ATOL


@pytest.mark.parametrize(
    ("name", "n_sites"), [("Al", 1), ("ZnS", 2), ("diamond", 2), ("bcc", 1), ("hcp", 2), ("Al2O3", 10), ("TiO2", 6)]
)
def test_primitive_cell_has_the_known_number_of_sites(name: str, n_sites: int) -> None:
    assert len(standard_cell(crystal(name)).numbers) == n_sites


ORDERS = {"Al": 48, "FeSi": 48, "hcp": 24, "quartz": 24, "Al2O3": 12, "TiO2": 16, "triclinic": 2}


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_holohedry_has_the_order_of_the_lattice(name: str, order: int) -> None:
    assert len(standard_cell(crystal(name)).holohedry) == order


def test_accidentally_equal_axes_are_no_symmetry() -> None:
    structure = Structure(Lattice.cubic(4), ["Ti", "O", "N"], [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]])
    assert len(standard_cell(structure).holohedry) == 8  # Pmmm in a cube: not the cube's 48


def test_supercell_waves_are_told_from_the_crystals_own() -> None:
    structure = change_cell(crystal("sc"), matrix=[[2, 0, 0], [0, 1, 0], [0, 0, 3]])
    indices = np.array([[0, 0, 0], [2, 0, 0], [-4, 1, 3], [1, 0, 0], [2, 0, 1]])
    found, whole = to_primitive_indices(indices, standard_cell(structure))
    assert whole.tolist() == [True, True, True, False, False]
    cell = standard_cell(structure)
    # the same wave in both bases: m_file = multiples @ m_primitive
    assert np.array_equal(found[whole] @ cell.multiples.T, indices[whole])


def test_two_sites_on_one_place_are_a_rejection() -> None:
    structure = Structure(Lattice.cubic(4), ["Na", "Na"], [[0, 0, 0], [0, 0, 1e-4]])
    with pytest.raises(RejectedMaterialError, match=r"spglib.*Na2") as caught:
        standard_cell(structure)
    assert caught.value.reason is Reason.BAD_STRUCTURE


def test_space_groups_of_the_test_crystals_are_what_they_say() -> None:
    names = {"ZnS": "F-43m", "Al2O3": "R-3c", "FeSi": "P2_13", "TiO2": "P4_2/mnm"}
    assert {name: standard_cell(crystal(name)).number for name in names} == {
        name: SpaceGroup(symbol).int_number for name, symbol in names.items()
    }
