"""The list of crystals (``crystals.csv``) and their names.

The order of the file is the order of computation; it mixes the prototypes, so that any beginning of the
list shows about the mix of the whole.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CRYSTALS = Path(__file__).with_name("crystals.csv")
SITE_COLUMNS = ("site_0", "site_1_4", "site_1_2", "site_3_4")

# Initial moments [mu_B] of atoms in spin-polarised crystals; every other element starts at 0.
MOMENTS = {"Cr": 2.5, "Mn": 3.5, "Fe": 2.8, "Co": 1.2, "Ni": 0.6}

# Binary formulae go by electronegativity. Pauling's value for P would put it before Rh and Ir; Rh2P is usage.
ELECTRONEGATIVITY = {"P": 2.35}


@dataclass(frozen=True)
class Crystal:
    """One crystal of the list.

    Attributes
    ----------
    prototype
        Structure type, the second half of the id.
    sites
        Elements at 0, 1/4, 1/2 and 3/4 of the cube diagonal, None where empty.
    lattice_constant
        First guess of the cubic edge [A].
    spin_polarised
        Whether to start from a magnetic state.
    hypothetical
        Whether the real ground state is another structure or antiferromagnetic.
    """

    prototype: str
    sites: tuple[str | None, str | None, str | None, str | None]
    lattice_constant: float
    spin_polarised: bool
    hypothetical: bool

    @property
    def id(self) -> str:
        """Formula and prototype, such as ``MgO_rocksalt``."""
        return f"{formula(self.sites)}_{self.prototype}"

    @property
    def symbols(self) -> list[str]:
        """Elements of the occupied sites, in the order of the sites."""
        return [symbol for symbol in self.sites if symbol]

    @property
    def elements(self) -> list[str]:
        """Distinct elements, in the order of the sites."""
        return list(dict.fromkeys(self.symbols))


def read_crystals(path: Path = CRYSTALS) -> list[Crystal]:
    """Read a list of crystals.

    Raises
    ------
    ValueError
        If a line is malformed or two lines have the same id.
    """
    with path.open(newline="") as file:
        crystals = [_crystal(row, f"{path}:{line}") for line, row in enumerate(csv.DictReader(file), start=2)]
    for name, count in Counter(crystal.id for crystal in crystals).items():
        if count > 1:
            raise ValueError(f"{path}: {name} stands {count} times in the list; keep one line")
    return crystals


def _crystal(row: dict[str, str], where: str) -> Crystal:
    flags = {"True": True, "False": False}
    try:
        site_0, site_1_4, site_1_2, site_3_4 = (row[column] or None for column in SITE_COLUMNS)
        crystal = Crystal(
            prototype=row["prototype"],
            sites=(site_0, site_1_4, site_1_2, site_3_4),
            lattice_constant=float(row["lattice_constant_A"]),
            spin_polarised=flags[row["spin_polarised"]],
            hypothetical=flags[row["hypothetical"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: {dict(row)}: {error!r}; a line needs prototype, {', '.join(SITE_COLUMNS)} (empty = no atom), "
            "lattice_constant_A, and True or False for spin_polarised and hypothetical"
        ) from error
    if not crystal.symbols or crystal.lattice_constant <= 0:
        raise ValueError(f"{where}: needs at least one element and a positive lattice_constant_A")
    return crystal


def formula(sites: tuple[str | None, ...]) -> str:
    """Write the formula in the customary order of its prototype, from the elements at the four sites."""
    counts = Counter(symbol for symbol in sites if symbol)
    kinds = list(counts)
    if len(kinds) == 2:
        kinds = _binary_order(*kinds, counts=counts)
    elif len(kinds) == 3 and sites[3] is None:  # half-Heusler: X at 1/2, Y at 1/4, Z at 0
        kinds = [symbol for symbol in (sites[2], sites[1], sites[0]) if symbol]
    elif len(kinds) == 3 and sites[1] == sites[3]:  # Heusler: X2 at 1/4 and 3/4, Y at 0, Z at 1/2
        kinds = [symbol for symbol in (sites[1], sites[0], sites[2]) if symbol]
    if len(kinds) == 1:
        return kinds[0]
    return "".join(symbol + (str(counts[symbol]) if _is_counted(counts, symbol) else "") for symbol in kinds)


def _binary_order(first: str, second: str, *, counts: Counter[str]) -> list[str]:
    if counts[first] == counts[second]:
        return [first, second]
    if counts[second] == 3:  # D0_3: the majority first
        return [second, first]
    return sorted((first, second), key=_electronegativity)


def _is_counted(counts: Counter[str], symbol: str) -> bool:
    """Whether the formula shows a number after `symbol`: equal counts reduce to 1:1."""
    return len(set(counts.values())) > 1 and counts[symbol] > 1


def _electronegativity(symbol: str) -> float:
    from pymatgen.core import Element  # slow to import, and few formulae need it

    return ELECTRONEGATIVITY.get(symbol, float(Element(symbol).X))


def initial_moments(crystal: Crystal) -> list[float] | None:
    """Choose starting moments [mu_B] of the atoms; None for a calculation without spin.

    Ferromagnetic, except that the inverse Heuslers of Mn and Cr and the Mn2 Heuslers of V start
    ferrimagnetic, as they are.
    """
    if not crystal.spin_polarised:
        return None
    symbols = crystal.symbols
    moments = [MOMENTS.get(symbol, 0.0) for symbol in symbols]
    if crystal.prototype == "inverse-heusler" and symbols[0] in ("Mn", "Cr"):
        moments[0] = -moments[0]
    if crystal.prototype == "heusler" and symbols[1] == "Mn":
        moments = [-0.5 if symbol == "V" else moment for symbol, moment in zip(symbols, moments, strict=True)]
    return moments
