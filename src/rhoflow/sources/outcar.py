"""The OUTCAR of VASP: the facts of a run that kept no vasprun.xml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

import numpy as np
from numpy.typing import NDArray

from rhoflow.sources.runs import Facts

_NUMBER = rb"(-?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?)"
_ELEMENT = re.compile(rb"VRHFIN\s*=\s*([A-Z][a-z]?)\s*:")
_POTENTIAL = re.compile(rb"POMASS\s*=\s*" + _NUMBER + rb"\s*;\s*ZVAL\s*=\s*" + _NUMBER)
_FIXED = re.compile(rb"-?\d*\.\d+")  # neighbours may touch where the second is negative
_EFERMI = re.compile(rb"E-fermi\s*:\s*" + _NUMBER)
_ENERGY = re.compile(rb"energy  without entropy\s*=.*energy\(sigma->0\)\s*=\s*" + _NUMBER)
_MOMENT = re.compile(rb"number of electron\s+\S+\s+magnetization(.*)")
_KPOINT = re.compile(rb"\s*k-point\s*\d+\s*:(?:\s*-?\d+\.\d+){3}\s*$")


@dataclass
class _Log:
    """What has been read so far; of what VASP repeats, the last."""

    elements: list[str] = field(default_factory=list)
    masses: list[float] = field(default_factory=list)
    valences: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    lattice: list[list[float]] = field(default_factory=list)  # rows [A]
    moments: list[float] = field(default_factory=list)
    bands: list[list[list[float]]] = field(default_factory=list)
    converged: bool = False
    finished: bool = False


def parse_outcar(file: IO[bytes]) -> Facts:
    """Read the facts of a run; raises ValueError or KeyError if it is none or did not end."""
    log = _Log()
    lines = iter(file)
    for line in lines:
        _take(log, line, lines)
    if not log.finished:
        raise ValueError("it ends before VASP's timing table")
    n_species = len(log.counts)
    if not n_species or len(log.elements) < n_species or len(log.valences) < n_species:
        raise ValueError("it lacks the potentials or the numbers of ions")
    n_spins = int(log.flags["ISPIN"])
    collinear = not log.flags.get("LNONCOLLINEAR", "F").startswith("T")
    table = _bands(log, n_spins)
    if table is not None and n_spins == 1 and collinear:
        table[..., 1] /= 2  # here, unlike in vasprun.xml, both spins of a band count
    return Facts(
        elements=log.elements[:n_species],
        counts=log.counts,
        masses=log.masses[:n_species],
        valences=log.valences[:n_species],
        volume=abs(float(np.linalg.det(log.lattice))),
        energy=log.numbers["energy"],
        efermi=log.numbers.get("efermi"),
        eigenvalues=None if table is None else table[..., 0],
        occupations=None if table is None else table[..., 1],
        moment=_moment(log, n_spins, collinear=collinear),
        collinear=collinear,
        converged=log.converged,
    )


def _take(log: _Log, line: bytes, lines: Iterator[bytes]) -> None:
    """Note what a line says; of a k-point, its bands are taken from the lines that follow."""
    if line.lstrip().startswith(b"k-point") and _KPOINT.match(line):
        log.bands.append(_read_bands(lines))
    elif b"VRHFIN" in line and (match := _ELEMENT.search(line)):
        log.elements.append(match[1].decode())
    elif b"ZVAL" in line and (match := _POTENTIAL.search(line)):
        log.masses.append(float(match[1]))
        log.valences.append(float(match[2]))
    elif b"direct lattice vectors" in line:
        log.lattice = [[float(word) for word in _FIXED.findall(row)[:3]] for row in islice(lines, 3)]
    elif b"ions per type" in line:
        log.counts = [int(word) for word in line.split(b"=")[1].split()]
    elif b"magnetization" in line and (match := _MOMENT.search(line)):
        log.moments = [float(word) for word in match[1].split()]
    elif b"ISPIN  =" in line or b"LNONCOLLINEAR =" in line:
        name, value = line.decode("latin-1").split("=")
        log.flags[name.strip()] = value.split()[0]
    elif b"- Iteration" in line:
        log.converged = False
    elif b"aborting loop because EDIFF is reached" in line:
        log.converged = True
    elif b"General timing and accounting" in line:
        log.finished = True
    else:
        _take_number(log, line)


def _take_number(log: _Log, line: bytes) -> None:
    """Note a number of the last ionic step."""
    for name, mark, pattern in (
        ("efermi", b"E-fermi", _EFERMI),
        ("energy", b"energy  without", _ENERGY),
    ):
        if mark in line and (match := pattern.search(line)):
            log.numbers[name] = float(match[1])
            if name == "efermi":
                log.bands = []  # those of this Fermi level follow


def _read_bands(lines: Iterator[bytes]) -> list[list[float]]:
    """Energy [eV] and occupation of each band of a k-point."""
    bands: list[list[float]] = []
    for line in lines:
        words = line.split()
        if words[:1] == [b"band"]:
            continue
        if len(words) != 3:
            break
        bands.append([float(word) if b"*" not in word else np.nan for word in words[1:]])
    return bands


def _bands(log: _Log, n_spins: int) -> NDArray[np.float64] | None:
    """Energies and occupations, (n_spins, n_kpoints, n_bands, 2)."""
    if not log.bands or len(log.bands) % n_spins or len({len(bands) for bands in log.bands}) > 1:
        return None
    table = np.array(log.bands, dtype=np.float64)
    return table.reshape(n_spins, -1, *table.shape[1:])


def _moment(log: _Log, n_spins: int, *, collinear: bool) -> float | None:
    """Size of the moment that was printed last [mu_B]."""
    if collinear and n_spins == 1:
        return 0.0
    return float(np.linalg.norm(log.moments)) if log.moments else None
