"""The files of one crystal, in the layout of ``resources/demo``."""

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pymatgen.core import Element, Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from .arrays import Floats
from .crystals import Crystal, formula
from .dos import DensityOfStates
from .eos import Fit
from .fcc import PRIMITIVE, frac_coords, primitive_volume

SYMMETRY_PRECISION = 1e-3  # A
VALUES_A_LINE = 5
AMU = 1.66053907  # g/cm^3 for one atomic mass unit a cubic angstrom

Row = dict[str, str]


@dataclass(frozen=True)
class Result:
    """What is published of one crystal; quantities of the primitive cell.

    Attributes
    ----------
    crystal
        Its line in the list.
    lattice_constant
        Relaxed cubic edge [A].
    fit
        Equation of state.
    energy
        Final energy [eV].
    efermi
        [eV], relative to the cell-averaged electrostatic potential.
    band_gap
        [eV], 0 for a metal.
    moment
        Spin moment [mu_B].
    total : (n, n, n) float64 array
        Valence density [e/A^3].
    spin : (n, n, n) float64 array or None
        Up - down [e/A^3].
    promolecule : (n, n, n) float64 array or None
        Superposed free atoms [e/A^3].
    dos
        Densities of states.
    """

    crystal: Crystal
    lattice_constant: float
    fit: Fit
    energy: float
    efermi: float
    band_gap: float
    moment: float
    total: Floats
    spin: Floats | None
    promolecule: Floats | None
    dos: DensityOfStates

    @property
    def volume(self) -> float:
        """Volume of the primitive cell [A^3]."""
        return primitive_volume(self.lattice_constant)

    def structure(self) -> Structure:
        """Primitive cell."""
        lattice = Lattice(PRIMITIVE * self.lattice_constant)
        return Structure(lattice, self.crystal.symbols, frac_coords(self.crystal.sites))


def write_files(result: Result, folder: Path) -> None:
    """Write ``CHGCAR.xz``, ``structure.cif`` and ``dos.json``; ``promolecule.xz`` if it was computed."""
    structure, name = result.structure(), formula(result.crystal.sites)
    fields = [field for field in (result.total, result.spin) if field is not None]
    write_chgcar(folder / "CHGCAR.xz", structure, fields, comment=name)
    if result.promolecule is not None:
        write_chgcar(folder / "promolecule.xz", structure, [result.promolecule], comment=f"{name} free atoms")
    conventional = SpacegroupAnalyzer(structure, SYMMETRY_PRECISION).get_conventional_standard_structure()
    CifWriter(conventional, symprec=SYMMETRY_PRECISION).write_file(folder / "structure.cif")
    (folder / "dos.json").write_text(json.dumps(dos_document(result)))


def write_chgcar(path: Path, structure: Structure, fields: list[Floats], *, comment: str) -> None:
    """Write densities as xz-compressed VASP-5 text.

    Parameters
    ----------
    path
        The file to write.
    structure
        Cell and atoms; they are grouped by element, in the order of first appearance.
    fields : list of (na, nb, nc) float64 arrays
        Total density [e/A^3], then up - down if there is one.
    comment
        First line.
    """
    with lzma.open(path, "wt", preset=9 | lzma.PRESET_EXTREME, encoding="ascii") as file:
        file.writelines(_header(structure, comment))
        for field in fields:
            file.write("  {}  {}  {}\n".format(*field.shape))
            file.writelines(_values(field * structure.volume))


def _header(structure: Structure, comment: str) -> Iterator[str]:
    symbols = [site.specie.symbol for site in structure]
    kinds = list(dict.fromkeys(symbols))
    yield f"{comment}\n   1.00000000000000\n"
    for vector in structure.lattice.matrix:
        yield "".join(f" {x:12.8f}" for x in vector) + "\n"
    yield "".join(f"{kind:>5}" for kind in kinds) + "\n"
    yield "".join(f"{symbols.count(kind):5d}" for kind in kinds) + "\nDirect\n"
    for kind in kinds:
        for site in structure:
            if site.specie.symbol == kind:
                yield "".join(f" {x:9.6f}" for x in site.frac_coords) + "\n"
    yield "\n"


def _values(rho_times_volume: Floats) -> Iterator[str]:
    """Lines of numbers, the first axis fastest."""
    flat = rho_times_volume.ravel(order="F")
    line = "% .6E" * VALUES_A_LINE + "\n"
    whole = len(flat) - len(flat) % VALUES_A_LINE
    for row in flat[:whole].reshape(-1, VALUES_A_LINE):
        yield line % tuple(row)
    if whole < len(flat):
        yield "% .6E" * (len(flat) - whole) % tuple(flat[whole:]) + "\n"


def dos_document(result: Result) -> dict[str, object]:
    """Content of ``dos.json``: energies [eV], densities [states/eV/cell], and what they are."""
    dos = result.dos
    mesh = "x".join(str(n) for n in dos.mesh)
    width = dos.energies[1] - dos.energies[0]
    document: dict[str, object] = {
        "energy_eV": dos.energies.tolist(),
        "zero": dos.zero_name,
        "fermi_level_eV": result.efermi,
        "zero_eV": dos.zero,
        "unit": "states/eV/cell",
        "method": f"linear tetrahedra, {mesh} mesh, average over each {width:.2f} eV bin",
        "total": _rounded(dos.total),
    }
    if len(dos.spins) == 2:
        document |= {"up": _rounded(dos.spins[0]), "down": _rounded(dos.spins[1])}
    document["pdos_note"] = "squared projections on the bound PAW partial waves, not normalised; spins summed"
    document["pdos"] = [
        {"atom": p.atom, "element": p.element, "l": p.letter, "dos": _rounded(p.dos)} for p in dos.projections
    ]
    return document


def _rounded(values: Floats) -> list[float]:
    return [significant(value, 4) for value in values]


def significant(value: float, digits: int) -> float:
    """Round to so many significant digits."""
    return float(f"{value:.{digits}g}")


def property_row(result: Result) -> Row:
    """Row of ``properties.csv``, by column; the formation energy stays empty until the elements are known."""
    structure, n_sites = result.structure(), len(result.crystal.symbols)
    mass = sum(float(Element(symbol).atomic_mass) for symbol in result.crystal.symbols)
    values = {
        "material_id": result.crystal.id,
        "formula": formula(result.crystal.sites),
        "prototype": result.crystal.prototype,
        "space_group_number": SpacegroupAnalyzer(structure, SYMMETRY_PRECISION).get_space_group_number(),
        "nsites": n_sites,
        "lattice_constant_A": significant(result.lattice_constant, 8),
        "volume_per_atom_A3": significant(result.volume / n_sites, 8),
        "density_g_cm3": significant(mass * AMU / result.volume, 8),
        "formation_energy_per_atom_eV": "",
        "efermi_eV": significant(result.efermi, 8),
        "band_gap_eV": significant(result.band_gap, 8),
        "k_vrh_GPa": significant(result.fit.bulk_modulus, 6),
        "total_magnetization_muB": round(result.moment, 5) + 0.0,  # no negative zero
        "energy_per_atom_eV": significant(result.energy / n_sites, 10),
        "eos_rms_meV": significant(result.fit.rms * 1000, 4),
        "spin_polarised": result.crystal.spin_polarised,
        "hypothetical": result.crystal.hypothetical,
    }
    return {column: str(value) for column, value in values.items()}
