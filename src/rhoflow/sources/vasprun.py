"""The vasprun.xml of VASP, read as a stream.

pymatgen's Vasprun keeps the whole tree in memory, projections included (gigabytes where LORBIT is set), and gives the
Fermi level only together with all projected densities of states. Here everything heavy is dropped while it passes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any
from xml.etree.ElementTree import Element, iterparse

import numpy as np
from numpy.typing import NDArray

from rhoflow.sources.runs import Facts

# A document type could define entities that grow without end. VASP writes none, so nothing may stand before the root.
_PROLOG = re.compile(rb"\s*(<\?xml[^<>]*\?>)?\s*<modeling[\s>]")
# What is not read: projections, response functions, and the bands along the lines of KPOINTS_OPT.
_SKIPPED = {
    "projected",
    "partial",
    "dynmat",
    "dielectricfunction",
    "eigenvalues_kpoints_opt",
    "projected_kpoints_opt",
}
_OLD_SYMBOLS = {"X": "Xe", "r": "Zr"}  # as some versions of VASP write them


@dataclass(frozen=True)
class TotalDos:
    """Density of states of a cell.

    Attributes
    ----------
    energies : (m,) float64 array
        [eV], on the calculation's own scale.
    densities : (n, m) float64 array
        [states/eV/cell], of each spin, or of both together in an unpolarised run.
    efermi : float
        Fermi level [eV], on the same scale.
    """

    energies: NDArray[np.float64]
    densities: NDArray[np.float64]
    efermi: float


def parse_vasprun(file: IO[bytes]) -> Facts:
    """Read the facts of a run; raises ValueError, KeyError or ParseError if it is none or not whole."""
    species: list[tuple[str, ...]] = []
    parameters: dict[str, str] = {}
    weights, step, n_steps, last = None, None, 0, None
    for element in _elements(file):
        if element.tag == "atominfo":
            rows = element.iterfind("array[@name='atomtypes']/set/rc")
            species = [tuple((column.text or "").strip() for column in row) for row in rows]
        elif element.tag == "parameters":
            for entry in element.iter("i"):  # the first of a name: the response functions have an NELM too
                parameters.setdefault(entry.get("name", ""), (entry.text or "").strip())
        elif element.tag == "kpoints" and weights is None:
            weights = _numbers(element.iterfind("varray[@name='weights']/v")).ravel()
        elif element.tag == "scstep":
            step, n_steps = _energies(element), n_steps + 1
            element.clear()
        elif element.tag == "calculation":
            last = _calculation(element, step or {}) | {"converged": n_steps < max(2, int(parameters["NELM"]))}
            n_steps = 0
            element.clear()
    if last is None or not species:
        raise ValueError("no ionic step in it")
    counts, elements, masses, valences = zip(*(row[:4] for row in species), strict=True)
    return Facts(
        elements=[_OLD_SYMBOLS.get(symbol, symbol) for symbol in elements],
        counts=[int(count) for count in counts],
        masses=[_float(mass) for mass in masses],
        valences=[_float(valence) for valence in valences],
        weights=weights,
        collinear=not parameters.get("LNONCOLLINEAR", "F").startswith("T"),
        **last,
    )


def parse_total_dos(file: IO[bytes]) -> TotalDos:
    """Read the total density of states of a run's last ionic step; raises ValueError if it has none."""
    found = None
    for element in _elements(file):
        if element.tag == "dos":
            efermi = _float(element.findtext("i[@name='efermi']") or "nan")
            spins = [_numbers(spin.iterfind("r")) for spin in element.iterfind("total/array/set/set")]
            found = TotalDos(spins[0][:, 0], np.array([spin[:, 1] for spin in spins]), efermi)
        elif element.tag == "calculation":
            element.clear()
    if found is None:
        raise ValueError("no density of states in it")
    return found


def _elements(file: IO[bytes]) -> Iterator[Element]:
    """Yield every element when it is complete, without those that are not read."""
    if not _PROLOG.match(file.read(4096)):
        raise ValueError("the file does not begin with <modeling>, perhaps after an XML declaration")
    file.seek(0)
    depth = 0
    for event, element in iterparse(file, ("start", "end")):  # noqa: S314 - a document type was refused above
        skipped = element.tag in _SKIPPED or element.get("comment") == "kpoints_opt"
        if event == "start":
            depth += skipped
        elif depth:
            depth -= skipped
            element.clear()
        else:
            yield element


def _calculation(element: Element, step: dict[str, float]) -> dict[str, Any]:
    """Facts of one ionic step, whose last electronic step had the energies `step` [eV]."""
    final = _energies(element)
    bands = [
        [_numbers(kpoint.iterfind("r")) for kpoint in spin.iterfind("set")]
        for spin in element.iterfind("eigenvalues/array/set/set")
    ]
    table = np.array(bands) if bands else None
    efermi = element.findtext("dos/i[@name='efermi']")
    return {
        # The step's own e_0_energy is wrong in VASP 5 (it is the entropy): https://www.vasp.at/forum, topic 16942
        "energy": final["e_fr_energy"] + step["e_0_energy"] - step["e_fr_energy"],
        "volume": _float(element.findtext("structure/crystal/i[@name='volume']") or ""),
        "efermi": None if efermi is None else _float(efermi),
        "eigenvalues": None if table is None else table[..., 0],
        "occupations": None if table is None else table[..., 1],
    }


def _energies(element: Element) -> dict[str, float]:
    return {entry.get("name", ""): _float(entry.text or "") for entry in element.iterfind("energy/i")}


def _numbers(rows: Iterable[Element]) -> NDArray[np.float64]:
    """Numbers of the text of some elements, a row each."""
    return np.array([[_float(word) for word in (row.text or "").split()] for row in rows], dtype=np.float64)


def _float(word: str) -> float:
    """Read a number; Fortran writes asterisks for one that is too wide."""
    return math.nan if "*" in word else float(word)
