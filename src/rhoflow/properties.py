"""Properties of materials: key, label, house unit, and how a table's columns name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rhoflow.errors import StudyError


@dataclass(frozen=True)
class Property:
    """A scalar property.

    Attributes
    ----------
    key : str
        Name in configs, columns and paths; the Materials Project's name where it has one.
    label : str
        Name in tables and figures.
    unit : str
        House unit; empty for dimensionless.
    units : dict of str to float
        Accepted units and what one of them is in the house unit.
    """

    key: str
    label: str
    unit: str
    units: dict[str, float]


ENERGY = {"eV": 1.0, "meV": 1e-3, "Ry": 13.605693122994, "Ha": 27.211386245988}
PRESSURE = {"GPa": 1.0, "kbar": 0.1, "Mbar": 100.0, "eV_A3": 160.2176634}
VOLUME = {"A3": 1.0, "nm3": 1000.0}
MOMENT = {"muB": 1.0, "mu_B": 1.0}
NONE: dict[str, float] = {"": 1.0}


def _per_atom(units: dict[str, float]) -> dict[str, float]:
    return units | {f"{unit}_atom": factor for unit, factor in units.items()}


# Massa et al. 2024 (arXiv 2401.09301v1), Table 11: the 25 properties of the Materials Project; then our own.
_TABLE: tuple[tuple[str, str, str, dict[str, float]], ...] = (
    ("nsites", "sites", "", NONE),
    ("nelements", "elements", "", NONE),
    ("volume", "cell volume", "A^3", VOLUME),
    ("density", "mass density", "g/cm^3", {"g_cm3": 1.0, "kg_m3": 1e-3}),
    ("density_atomic", "volume per atom", "A^3", VOLUME),
    ("uncorrected_energy_per_atom", "uncorrected energy", "eV/atom", _per_atom(ENERGY)),
    ("energy_per_atom", "energy", "eV/atom", _per_atom(ENERGY)),
    ("formation_energy_per_atom", "formation energy", "eV/atom", _per_atom(ENERGY)),
    ("energy_above_hull", "energy above hull", "eV/atom", _per_atom(ENERGY)),
    ("equilibrium_reaction_energy_per_atom", "equilibrium reaction energy", "eV/atom", _per_atom(ENERGY)),
    ("band_gap", "band gap", "eV", ENERGY),
    ("efermi", "Fermi energy", "eV", ENERGY),
    ("total_magnetization", "magnetisation", "mu_B", MOMENT),
    ("total_magnetization_normalized_vol", "magnetisation per volume", "mu_B/A^3", {"muB_A3": 1.0}),
    ("total_magnetization_normalized_formula_units", "magnetisation per formula unit", "mu_B", MOMENT),
    ("num_magnetic_sites", "magnetic sites", "", NONE),
    ("num_unique_magnetic_sites", "unique magnetic sites", "", NONE),
    ("k_voigt", "bulk modulus (Voigt)", "GPa", PRESSURE),
    ("k_reuss", "bulk modulus (Reuss)", "GPa", PRESSURE),
    ("k_vrh", "bulk modulus", "GPa", PRESSURE),
    ("g_voigt", "shear modulus (Voigt)", "GPa", PRESSURE),
    ("g_reuss", "shear modulus (Reuss)", "GPa", PRESSURE),
    ("g_vrh", "shear modulus", "GPa", PRESSURE),
    ("universal_anisotropy", "universal anisotropy", "", NONE),
    ("homogeneous_poisson", "Poisson ratio", "", NONE),
    ("volume_per_atom", "volume per atom", "A^3", VOLUME),
    ("lattice_constant", "lattice constant", "A", {"A": 1.0, "nm": 10.0, "bohr": 0.529177210903}),
)
BUILT_IN: Mapping[str, Property] = {row[0]: Property(*row) for row in _TABLE}
# These, and what the studies of this process bring along (section `properties`).
PROPERTIES: dict[str, Property] = dict(BUILT_IN)
# Properties that are zero for many materials: the largest magnitude that counts as zero in the house unit, below what
# a calculation resolves.
ZERO_UP_TO = {"band_gap": 1e-3, "total_magnetization": 1e-2}


def add_property(own: Property, zero_limit: float | None) -> None:
    """Make a study's own property known, in place of another study's of the same name.

    Parameters
    ----------
    zero_limit : float or None
        Largest magnitude that counts as zero, in its unit; None if it is not zero for many materials.
    """
    PROPERTIES[own.key] = own
    ZERO_UP_TO.pop(own.key, None)
    if zero_limit is not None:
        ZERO_UP_TO[own.key] = zero_limit


def zero_up_to(key: str) -> float:
    """Return the largest magnitude of a property that counts as zero, in its house unit.

    Raises
    ------
    StudyError
        If the property is not known to be zero for many materials.
    """
    if key not in ZERO_UP_TO:
        raise StudyError(
            f"two_part: {key!r} is not known to be zero for many crystals; known: {', '.join(ZERO_UP_TO)}"
        )
    return ZERO_UP_TO[key]


def parse_column(column: str) -> tuple[Property, float] | None:
    """Read a table's column name such as ``k_vrh_GPa`` or ``band_gap_meV``.

    Returns
    -------
    (Property, float) or None
        The property and the factor into its house unit; None if the name is no property with a known unit.
        A dimensionless property is named by its key alone.
    """
    # Longest key first: "density_atomic_A3" is no "density" with the unit "atomic_A3".
    for key in sorted(PROPERTIES, key=len, reverse=True):
        prop = PROPERTIES[key]
        for unit, factor in prop.units.items():
            if column == (f"{key}_{unit}" if unit else key):
                return prop, factor
    return None
