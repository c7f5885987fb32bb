"""The elements that formation energies refer to: their structures (``references.csv``) and energies.

Columns of the file: a_A, c_A edges of the conventional cell, for a dimer the bond length; u the free
coordinate; moment_muB the starting moment of an atom. Where a row leaves them empty, the builder below
holds the experimental geometry.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.geometry import cellpar_to_cell
from ase.spacegroup import crystal as spacegroup_crystal

REFERENCES = Path(__file__).with_name("references.csv")
SMALL_MOLECULES = "HNOF"
S8_RADIUS, S8_HEIGHT = 2.35, 0.50  # A; crown of the S8 ring


@dataclass(frozen=True)
class Reference:
    """One row of ``references.csv``; lengths in A, the moment in mu_B; NaN where empty."""

    element: str
    structure: str
    a: float
    c: float
    u: float
    moment: float

    @property
    def relaxation(self) -> str:
        """``volume`` (series of volumes), ``bond`` (of a dimer) or ``fixed`` (experimental geometry)."""
        if self.structure == "dimer":
            return "bond"
        return "fixed" if self.structure in FIXED else "volume"

    @property
    def is_molecule(self) -> bool:
        """Whether it stands alone in a box."""
        return self.structure in ("dimer", "S8")

    def atoms(self) -> Atoms:
        """Build the structure, before any relaxation."""
        return BUILDERS[self.structure](self)

    def moments(self) -> list[float] | None:
        """Choose starting moments [mu_B]; the two layers of gamma-Mn are antiparallel."""
        if math.isnan(self.moment):
            return None
        if self.structure == "gamma-Mn":
            return [self.moment, -self.moment]
        return [self.moment] * len(self.atoms())


def read_references(path: Path = REFERENCES) -> dict[str, Reference]:
    """Read the table, by element."""

    def number(text: str) -> float:
        return float(text or "nan")

    with path.open(newline="") as file:
        return {
            row["element"]: Reference(
                row["element"],
                row["structure"],
                *(number(row[column]) for column in ("a_A", "c_A", "u", "moment_muB")),
            )
            for row in csv.DictReader(file)
        }


def _simple(ref: Reference) -> Atoms:
    shape = {"a": ref.a} if math.isnan(ref.c) else {"a": ref.a, "c": ref.c}
    return bulk(ref.element, ref.structure, **shape)


def _hexagonal_cell(a: float, c: float) -> list[list[float]]:
    return [[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]]


def _graphite(ref: Reference) -> Atoms:
    places = [[0, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 0.5], [2 / 3, 1 / 3, 0.5]]
    return Atoms("C4", scaled_positions=places, cell=_hexagonal_cell(ref.a, ref.c), pbc=True)


def _gamma_mn(ref: Reference) -> Atoms:
    edge = ref.a / 2**0.5  # a slightly tetragonal fcc cell, as antiferromagnetic (001) layers of two atoms
    return Atoms("Mn2", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[edge, edge, ref.c], pbc=True)


def _a7(ref: Reference) -> Atoms:
    a, c, u = ref.a, ref.c, ref.u
    height = a / 2 / 3**0.5
    cell = [[a / 2, height, c / 3], [-a / 2, height, c / 3], [0, -2 * height, c / 3]]
    return Atoms([ref.element] * 2, scaled_positions=[[u] * 3, [-u] * 3], cell=cell, pbc=True)


def _a8(ref: Reference) -> Atoms:
    u = ref.u
    places = [[u, 0, 1 / 3], [0, u, 2 / 3], [-u, -u, 0]]
    return Atoms([ref.element] * 3, scaled_positions=places, cell=_hexagonal_cell(ref.a, ref.c), pbc=True)


def _bct(ref: Reference) -> Atoms:
    a, c = ref.a, ref.c
    return Atoms(ref.element, cell=np.array([[-a, a, c], [a, -a, c], [a, a, -c]]) / 2, pbc=True)


def _a10(ref: Reference) -> Atoms:
    angle = 70.53  # degrees, Hg
    return Atoms(ref.element, cell=cellpar_to_cell([ref.a] * 3 + [angle] * 3), pbc=True)


def _black_p(ref: Reference) -> Atoms:
    y, z = 0.1017, 0.0806
    cell = np.diag([3.314, 10.478, 4.376])
    primitive = np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]) @ cell
    places = np.array([[0, y, z], [0, 0.5 - y, z + 0.5], [0, 0.5 + y, 0.5 - z], [0, -y, -z]])
    atoms = Atoms([ref.element] * 4, positions=places @ cell, cell=primitive, pbc=True)
    atoms.wrap()
    return atoms


def _from_spacegroup(
    ref: Reference, number: int, places: list[tuple[float, float, float]], cell: list[float]
) -> Atoms:
    symbols = [ref.element] * len(places)
    return spacegroup_crystal(symbols, places, spacegroup=number, cellpar=cell, primitive_cell=True)


def _s8(ref: Reference) -> Atoms:
    angles = np.pi / 4 * np.arange(8)
    heights = S8_HEIGHT * (-1.0) ** np.arange(8)
    positions = np.column_stack([S8_RADIUS * np.cos(angles), S8_RADIUS * np.sin(angles), heights])
    atoms = Atoms([ref.element] * 8, positions=positions, cell=[10.5, 10.5, 7.0], pbc=True)
    atoms.center()
    return atoms


def _dimer(ref: Reference) -> Atoms:
    edge = 7.0 if ref.element in SMALL_MOLECULES else 8.5
    atoms = Atoms([ref.element] * 2, positions=[[0, 0, 0], [0, 0, ref.a]], cell=[edge, edge, edge + 1], pbc=True)
    atoms.center()
    return atoms


BUILDERS: dict[str, Callable[[Reference], Atoms]] = {
    "fcc": _simple,
    "bcc": _simple,
    "hcp": _simple,
    "diamond": _simple,
    "graphite": _graphite,
    "gamma-Mn": _gamma_mn,
    "A7": _a7,
    "A8": _a8,
    "A10": _a10,
    "bct": _bct,
    "black-P": _black_p,
    "alpha-B12": partial(
        _from_spacegroup,
        number=166,
        places=[(0.1189, -0.1189, 0.8912), (0.1965, -0.1965, 0.0243)],
        cell=[4.908, 4.908, 12.567, 90, 90, 120],
    ),
    "alpha-Ga": partial(
        _from_spacegroup, number=64, places=[(0, 0.1549, 0.0810)], cell=[4.5192, 7.6586, 4.5258, 90, 90, 90]
    ),
    "S8": _s8,
    "dimer": _dimer,
}

FIXED = {"graphite", "A8", "A10", "black-P", "alpha-B12", "S8"}
