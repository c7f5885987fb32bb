"""Prototype labels: the same for one prototype whatever the cell, the origin, the axes and the elements."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from rhoflow.density.prototype import prototype_of
from rhoflow.errors import Reason, RejectedMaterialError

ON_DIAGONAL = {"a": 0.0, "b": 0.5, "c": 0.25, "d": 0.75}


def cubic(number, species, fractions) -> Structure:
    """Crystal with sites on the body diagonal of a cubic cell."""
    return Structure.from_spacegroup(number, Lattice.cubic(5.9), species, [[x] * 3 for x in fractions])


ROCKSALT = cubic(225, ["Na", "Cl"], [0.0, 0.5])
RUTILE = Structure.from_spacegroup(136, Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]])


@pytest.mark.parametrize(
    ("crystal", "label"),
    [
        (ROCKSALT, "AB_225_a_b"),
        (cubic(225, ["Cu"], [0.0]), "A_225_a"),
        (cubic(227, ["Si"], [0.0]), "A_227_a"),
        (cubic(216, ["Zn", "S"], [0.0, 0.25]), "AB_216_a_c"),
        (cubic(225, ["Ca", "F"], [0.0, 0.25]), "AB2_225_a_c"),
        (cubic(225, ["Al", "Mn", "Cu"], [0.0, 0.5, 0.25]), "ABC2_225_a_b_c"),
        (cubic(225, ["Al", "Fe", "Fe"], [0.0, 0.5, 0.25]), "AB3_225_a_bc"),
        (RUTILE, "AB2_136_a_f"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_label_of_known_prototype(crystal, label):
    assert prototype_of(crystal) == (label, int(label.split("_")[1]))


def moved(crystal, shift):
    return crystal.copy().translate_sites(range(len(crystal)), shift)


def turned(crystal):
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    return Structure(crystal.lattice.matrix @ rotation, crystal.species, crystal.frac_coords)


VARIANTS = {
    "elements exchanged": cubic(225, ["Cl", "Na"], [0.0, 0.5]),
    "other elements": cubic(225, ["Mg", "O"], [0.0, 0.5]),
    "order of elements": cubic(225, ["O", "Mg"], [0.5, 0.0]),
    "primitive cell": ROCKSALT.get_primitive_structure(),
    "supercell": ROCKSALT.get_primitive_structure() * (2, 1, 3),
    "origin on the other site": moved(ROCKSALT, [0.5, 0.5, 0.5]),
    "origin anywhere": moved(ROCKSALT, [0.13, 0.29, 0.41]),
    "rotated": turned(ROCKSALT),
    "sheared cell": ROCKSALT.get_primitive_structure().make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_rock_salt_is_rock_salt(variant):
    assert prototype_of(VARIANTS[variant]) == ("AB_225_a_b", 225)


@pytest.mark.parametrize("sites", ["".join(sites) for sites in permutations("abcd", 3)])
def test_half_heusler_in_every_setting_is_one_prototype(sites):
    crystal = cubic(216, ["Ti", "Ni", "Sn"], [ON_DIAGONAL[site] for site in sites])
    assert prototype_of(crystal) == ("ABC_216_a_b_c", 216)


def test_inverse_heusler_is_not_the_full_one():
    inverse = cubic(216, ["Al", "Mn", "Mn", "Co"], [0.0, 0.5, 0.25, 0.75])
    full = cubic(225, ["Al", "Co", "Mn"], [0.0, 0.5, 0.25])
    assert prototype_of(inverse)[0] == "ABC2_216_a_c_bd"
    assert prototype_of(full)[0] == "ABC2_225_a_b_c"


CRYSTALS = [
    *VARIANTS.values(),
    RUTILE,
    moved(RUTILE, [0.5, 0.5, 0.0]),
    cubic(216, ["Ni", "Ti", "Sn"], [0.0, 0.25, 0.75]),
    Structure.from_spacegroup(221, Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]),
    Structure.from_spacegroup(221, Lattice.cubic(3.9), ["Ti", "Sr", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0, 0]]),
    Structure.from_spacegroup(194, Lattice.hexagonal(3.2, 5.2), ["Mg"], [[1 / 3, 2 / 3, 0.25]]),
    Structure.from_spacegroup(47, Lattice.orthorhombic(3, 4, 5), ["K", "O"], [[0, 0, 0.2], [0.5, 0.31, 0.13]]),
    Structure.from_spacegroup(
        2, Lattice.from_parameters(4, 5, 6, 80, 95, 100), ["K", "O"], [[0, 0.5, 0], [0.5, 0, 0]]
    ),
]


@pytest.mark.slow  # importing pymatgen's reads the AFLOW encyclopedia
@pytest.mark.parametrize("crystal", CRYSTALS, ids=lambda crystal: crystal.composition.reduced_formula)
def test_label_is_pymatgens_without_the_pearson_symbol(crystal):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its AFLOW library warns while it is read
        from pymatgen.analysis.prototypes import (
            get_protostructure_label_from_spglib,
            get_prototype_from_protostructure,
        )

        theirs = get_prototype_from_protostructure(
            get_protostructure_label_from_spglib(crystal, raise_errors=True, init_symprec=0.01)
        )
    anonymous, _pearson, *rest = theirs.split("_")
    assert prototype_of(crystal)[0] == "_".join([anonymous, *rest])


def test_rounded_coordinates_keep_their_symmetry():
    rounded = Structure(ROCKSALT.lattice, ROCKSALT.species, ROCKSALT.frac_coords + 1e-6 * np.arange(8)[:, None])
    assert prototype_of(rounded)[0] == "AB_225_a_b"


def test_atoms_on_one_place_are_rejected():
    with pytest.raises(RejectedMaterialError, match=r"no symmetry found within 0\.01 A; check that no two") as caught:
        prototype_of(Structure(Lattice.cubic(4), ["Na", "Na"], [[0, 0, 0], [0, 0, 0]]))
    assert caught.value.reason is Reason.BAD_STRUCTURE
