"""Descriptions of crystals by robocrystallographer: warm, offline, within a time limit, the same for every cell."""

from __future__ import annotations

import re
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

if TYPE_CHECKING:
    from rhoflow.text.prepared import PreparedRobocrys

SYMPREC = 0.01  # [A]; robocrystallographer's own default


@dataclass(frozen=True)
class Description:
    """What is said about a crystal.

    Attributes
    ----------
    text : str
        The description, level ``all``.
    origin : str
        ``"robocrystallographer"``, ``"fallback"`` where that failed or ran out of time, or ``"materials_project"``
        for a text that came with the material.
    note : str or None
        Why it is not the better text.
    """

    text: str
    origin: Literal["robocrystallographer", "fallback", "materials_project"]
    note: str | None = None


class Describer:
    """Describes crystals; one a process, because the first description prepares what the others use.

    Descriptions are in the words of stock robocrystallographer, whose defaults it uses: no oxidation states are
    guessed, sites wear symmetry labels ("Ti(1)"), molecules go unnamed (their names would come from PubChem).

    Parameters
    ----------
    timeout_s : float
        Time for one crystal. Kept by SIGALRM, so `describe` belongs in the main thread.
    """

    def __init__(self, timeout_s: float) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s = {timeout_s}: must be above 0 s; a description takes about 1 s")
        self.timeout_s = timeout_s

    @cached_property
    def _robocrys(self) -> PreparedRobocrys:
        # Its import takes 10 s: only who describes pays for it.
        from rhoflow.text.prepared import PreparedRobocrys

        return PreparedRobocrys()

    def describe(self, structure: Structure) -> Description:
        """Describe the conventional standard cell of a crystal; the cell, origin and axes given do not matter.

        Whatever robocrystallographer raises, and running out of time, leads to the fall-back text with a note.
        """
        robocrys = self._robocrys  # prepared outside of the time limit
        try:
            with _quiet(), _time_limit(self.timeout_s):
                text = robocrys.describe(standard_cell(structure))
        except _OutOfTimeError:
            note = f"no description within {self.timeout_s:g} s"
        except Exception as error:
            # Not ours to foresee: CrystalNN, spglib and robocrystallographer have many ways to refuse a crystal.
            note = f"{type(error).__name__}: {error}"
        else:
            return Description(settle_order(text), "robocrystallographer")
        return Description(fallback_text(structure), "fallback", note)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop the warnings of robocrystallographer, pymatgen and spglib (deprecations, radii guessed) in the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@_quiet()
def standard_cell(structure: Structure) -> Structure:
    """Conventional standard cell with origin and order of sites that follow from the crystal, not from its input.

    Robocrystallographer numbers sites in the order it meets them, and prints lengths with two decimals. So sites come
    with the least crowded first (which numbers the papers' example, mp-72, as published), the first one at the
    origin, and numerical noise of the input is rounded away (else a bond of 2.845 A is 2.84 in one cell and 2.85 in
    another).
    """
    plain = Structure(structure.lattice, structure.species, structure.frac_coords)
    cell = SpacegroupAnalyzer(plain, symprec=SYMPREC).get_conventional_standard_structure()
    matrix = np.round(cell.lattice.matrix, 5)
    crowding = np.round(_crowding(cell), 6)
    frac_coords = cell.frac_coords - cell.frac_coords[np.argmin(crowding)]
    frac_coords = np.round(frac_coords, 6) % 1.0
    order = np.lexsort((*frac_coords.T[::-1], crowding))
    return Structure(matrix, [cell.species[i] for i in order], frac_coords[order])


def _crowding(cell: Structure, width: float = 2.0) -> NDArray[np.float64]:
    """How crowded each site is, sum over neighbours of Z exp(-(d / width)^2), shape (n,).

    Equal for equivalent sites, and independent of the cell. Neighbours count up to 5 widths [A] (e^-25).
    """
    centres, neighbours, _, distances = cell.get_neighbor_list(r=5 * width)
    weights = np.asarray(cell.atomic_numbers)[neighbours] * np.exp(-((distances / width) ** 2))
    return np.bincount(centres, weights=weights, minlength=len(cell)).astype(np.float64)


def settle_order(text: str) -> str:
    """Sort the two lists whose order robocrystallographer leaves to Python's hash seed.

    It prints a set of strings for the ways polyhedra connect and for the directions of chains and sheets, so that
    stock texts of one crystal differ between processes.
    """
    text = _CONNECTIVITIES.sub(lambda match: _sorted_list(match[0], ","), text)
    return _DIRECTIONS.sub(lambda match: _sorted_list(match[0], ";"), text)


_CONNECTIVITIES = re.compile(r"(?<=a mixture of )(?:(?!-sharing).)+(?=-sharing)")
_DIRECTIONS = re.compile(r"(?<=oriented in the )(?:(?! directions).)+(?= directions)")


def _sorted_list(words: str, comma: str) -> str:
    """``edge, face, and corner`` -> ``corner, edge, and face``; a leading ``distorted`` stays in front."""
    adjective = "distorted " if words.startswith("distorted ") else ""
    first, *others = sorted(re.split(rf"{comma} and | and |{comma} ", words.removeprefix(adjective)))
    if len(others) < 2:
        return adjective + " and ".join([first, *others])
    return adjective + f"{comma} ".join([first, *others[:-1], f"and {others[-1]}"])


@_quiet()
def fallback_text(structure: Structure) -> str:
    """Say formula, space group and sites of the conventional cell in a few sentences, without bond lengths."""
    formula = structure.composition.reduced_formula
    try:
        cell = standard_cell(structure)
        analyzer = SpacegroupAnalyzer(cell, symprec=SYMPREC)
        sites = analyzer.get_symmetry_dataset()
    except Exception:  # a structure that spglib refuses, e.g. a disordered one, still has its formula
        return f"{formula} crystallizes in an unknown space group."
    system, symbol = analyzer.get_crystal_system(), analyzer.get_space_group_symbol()
    sentences = [f"{formula} crystallizes in the {system} {symbol} space group."]
    # Site symmetries, not Wyckoff letters: those change with the origin.
    for first, count in zip(*np.unique(sites.equivalent_atoms, return_counts=True), strict=True):
        symmetry = sites.site_symmetry_symbols[first].replace(".", "")
        plural = "s" if count > 1 else ""
        sentences.append(f"{cell[int(first)].species_string} sits on {count} site{plural} of symmetry {symmetry}.")
    return " ".join(sentences)


class _OutOfTimeError(BaseException):
    """The time of a crystal is up; no Exception, so that no `except Exception` on the way can swallow it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _OutOfTimeError in the block after `seconds`; an alarm that somebody else had set goes on afterwards."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise _OutOfTimeError

    start = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    # It rings again every second, should the first exception be lost in a callback that cannot raise.
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - start), 1e-3), interval)
