"""Crystals and stock descriptions for the tests of the text room."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
from pymatgen.core import Lattice, Structure

from rhoflow.text.describe import Describer

# arXiv 2401.09301v1, Table 2 (mp-72), level all, byte for byte.
_PUBLISHED = (
    "Ti crystallizes in the hexagonal P6/mmm space group. There are two inequivalent Ti sites. In the first Ti site,"
    " Ti(1) is bonded in a 14-coordinate geometry to two equivalent Ti(1) and twelve equivalent Ti(2) atoms. Both"
    " Ti(1)-Ti(1) bond lengths are 2.83 Å. All Ti(1)-Ti(2) bond lengths are 2.99 Å. In the second Ti site, Ti(2) is"
    " bonded in a 11-coordinate geometry to five equivalent Ti(2) and six equivalent Ti(1) atoms. There are three"
    " shorter (2.64 Å) and two longer (2.83 Å) Ti(2)-Ti(2) bond lengths."
)


@pytest.fixture(scope="session")
def published() -> str:
    """The description of mp-72 that the paper prints."""
    return _PUBLISHED


def _crystals() -> dict[str, Structure]:
    """Few small crystals, primitive where that is how people keep them; lattice constants in A."""
    zero, quarter, half = [0.0] * 3, [0.25] * 3, [0.5] * 3
    return {
        "NaCl": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [zero, half]),
        "ZnS": Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [zero, quarter]),
        "TiNiSn": Structure.from_spacegroup("F-43m", Lattice.cubic(5.93), ["Ti", "Ni", "Sn"], [zero, quarter, half]),
        "omega-Ti": Structure.from_spacegroup(
            "P6/mmm", Lattice.hexagonal(4.565, 2.829), ["Ti", "Ti"], [[1 / 3, 2 / 3, 0.5], zero]
        ),
        "dry ice": Structure.from_spacegroup("Pa-3", Lattice.cubic(5.62), ["C", "O"], [zero, [0.1185] * 3]),
    }


@pytest.fixture(scope="session")
def crystals() -> dict[str, Structure]:
    return _crystals()


@pytest.fixture(scope="session")
def describer() -> Describer:
    return Describer(timeout_s=300.0)


@pytest.fixture(scope="session")
def stock() -> Callable[[Structure], str]:
    """Robocrystallographer as its own documentation calls it: new objects, default settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from robocrys import StructureCondenser, StructureDescriber

    def describe(structure: Structure) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return str(StructureDescriber().describe(StructureCondenser().condense_structure(structure)))

    return describe
