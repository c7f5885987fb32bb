"""The POSCAR at the head of a VASP density file: cell, sites and, from VASP 5 on, element symbols.

Written out here because pymatgen's `Poscar` invents elements (H, He, ...) for VASP 4 files and multiplies Cartesian
coordinates by a negative scale factor, which stands for a volume; on all other headers the two agree (tested).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.foreign import shown

MIN_VOLUME_PER_ATOM = 0.5  # A^3; diamond, the densest ordinary solid, has 5.7
MAX_LENGTH = 1000.0  # A; far beyond any cell, far below what overflows in a lattice reduction
_BYTES_PER_SITE = 6  # "0 0 0\n": the shortest line that can hold a coordinate


@dataclass(frozen=True)
class Header:
    """Cell and sites of a POSCAR.

    Attributes
    ----------
    lattice : (3, 3) float64 array
        Lattice vectors as rows [A].
    frac_coords : (n, 3) float64 array
        Fractional coordinates as written, not wrapped into the cell.
    counts : tuple of int
        Number of sites of each group of equal sites.
    symbols : tuple of str, or None
        Element of each site; None where the file (VASP 4) does not say.
    """

    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]
    counts: tuple[int, ...]
    symbols: tuple[str, ...] | None


class _Lines:
    """Lines of a file, numbered from 1, that are never missing without a reason."""

    def __init__(self, text: BinaryIO, path: Path) -> None:
        self.text, self.path, self.number = text, path, 0
        self.blank = True

    def next(self, expected: str) -> list[str]:
        """Words of the next line; rejects a file that ends instead of giving `expected`."""
        line = self.text.readline()
        if not line:
            if self.blank:
                raise RejectedMaterialError(Reason.EMPTY, f"{self.path}: no content; copy or compute it again")
            raise RejectedMaterialError(
                Reason.TRUNCATED,
                f"{self.path}: ends after line {self.number}, where {expected} should follow;"
                " it is no CHGCAR or was cut short: copy it again",
            )
        self.number += 1
        words = line.decode("utf-8", errors="replace").split()
        self.blank = self.blank and not words
        return words

    def floats(self, words: list[str], n: int, expected: str, reason: Reason = Reason.UNREADABLE) -> list[float]:
        """Return the first `n` words as finite numbers, or reject the file."""
        try:
            values = [float(word) for word in words[:n]]
        except ValueError:
            values = []
        if len(values) < n or not np.isfinite(values).all():
            raise self.error(reason, words, expected)
        return values

    def error(self, reason: Reason, words: list[str], expected: str) -> RejectedMaterialError:
        """Word the complaint about the line read last; what is wrong with a last line is that the file ends."""
        rest = self.text.read()
        if self.blank and not rest.strip():
            return RejectedMaterialError(Reason.EMPTY, f"{self.path}: no content; copy or compute it again")
        if not rest and reason is Reason.UNREADABLE:
            reason = Reason.TRUNCATED
        return RejectedMaterialError(
            reason, f"{self.path}: line {self.number} is {shown(words)}, expected {expected}; is this a CHGCAR?"
        )


def read_header(text: BinaryIO, path: Path) -> Header:
    """Read the POSCAR part of a density file (or a whole POSCAR), up to and including its last site.

    Parameters
    ----------
    text : binary file
        Stands at the start of the file; is left after the line of the last site.
    path : Path
        Named in messages.

    Raises
    ------
    RejectedMaterialError
        If the text is no POSCAR, ends early, names unknown elements or has no volume.
    """
    lines = _Lines(text, path)
    lines.next("a comment")
    scale_words = lines.next("the scale factor")
    n_factors = 3 if len(scale_words) >= 3 else 1
    factors = np.array(lines.floats(scale_words, n_factors, "the scale factor: one number, or three"))
    rows = [lines.floats(lines.next("a lattice vector"), 3, "a lattice vector: three numbers") for _ in range(3)]
    lattice, scale = _scaled(factors, np.array(rows), path)
    group_symbols, counts = _read_species(lines)
    check_cell(lattice, sum(counts), path)
    coords, line_symbols = _read_sites(lines, counts, lattice, scale)
    if group_symbols is not None:
        symbols: list[str] | None = [s for s, n in zip(group_symbols, counts, strict=True) for _ in range(n)]
    else:
        symbols = line_symbols
    return Header(lattice, coords, tuple(counts), None if symbols is None else tuple(symbols))


def _scaled(
    factors: NDArray[np.float64], lattice: NDArray[np.float64], path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lattice [A], and the factor (3,) of its Cartesian axes.

    VASP takes one positive factor, one negative number (minus the volume [A^3]) or three positive factors.
    """
    scale = factors
    with np.errstate(all="ignore"):  # absurd numbers overflow here and fail the check
        if len(factors) == 1 and factors[0] < 0:
            scale = np.cbrt(-factors / abs(np.linalg.det(lattice)))
        scale = np.broadcast_to(scale, (3,))
        scaled = lattice * scale
    if not (np.isfinite(scaled).all() and (scale > 0).all()):
        raise RejectedMaterialError(
            Reason.BAD_STRUCTURE,
            f"{path}: scale factor {factors.tolist()} on lattice {lattice.tolist()} gives no cell; allowed are one"
            " positive factor, minus a volume, or three positive factors",
        )
    return scaled, scale


def _read_species(lines: _Lines) -> tuple[list[str] | None, list[int]]:
    """Symbols (None in VASP 4) and counts of the groups; both may run over several lines."""
    words = lines.next("element symbols or numbers of atoms")
    symbols: list[str] = []
    while words and not words[0].isdecimal():
        symbols += [_element(lines, word) for word in words]
        words = lines.next("numbers of atoms")
    counts = _counts(lines, words)
    while len(counts) < len(symbols):
        counts += _counts(lines, lines.next("more numbers of atoms"))
    if not symbols:
        return None, counts
    if len(symbols) != len(counts):
        raise RejectedMaterialError(
            Reason.BAD_STRUCTURE,
            f"{lines.path}: {len(symbols)} element symbols ({' '.join(symbols)[:60]}) but {len(counts)} numbers of"
            " atoms; write one number for each symbol",
        )
    return symbols, counts


def _counts(lines: _Lines, words: list[str]) -> list[int]:
    # more than 9 digits is no number of atoms, and int() of thousands of digits is slow
    if not words or not all(word.isdecimal() and len(word) < 10 and int(word) > 0 for word in words):
        raise lines.error(Reason.UNREADABLE, words, "element symbols or numbers of atoms (positive integers)")
    return [int(word) for word in words]


def _element(lines: _Lines, symbol: str) -> str:
    """Element symbol of a potential's name: VASP 6 writes e.g. ``Mg_pv/f474ac0d``."""
    element = re.split("[/_]", symbol)[0]
    if not Element.is_valid_symbol(element):
        raise RejectedMaterialError(
            Reason.NO_ELEMENTS,
            f"{lines.path}: line {lines.number} names {shown([symbol])}, which is no element; correct the symbol",
        )
    return element


def _read_sites(
    lines: _Lines, counts: list[int], lattice: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[str] | None]:
    """Fractional coordinates (n, 3) and, where every line ends in an element symbol, those symbols."""
    mode = lines.next("'Direct' or 'Cartesian'")
    selective = bool(mode) and mode[0][0] in "sS"
    if selective:
        mode = lines.next("'Direct' or 'Cartesian'")
    if not mode or mode[0][0] not in "dDcCkK":
        raise lines.error(Reason.UNREADABLE, mode, "'Direct', 'Cartesian' or 'Selective dynamics'")
    n_sites = sum(counts)
    if n_sites * _BYTES_PER_SITE > bytes_left(lines.text):
        raise RejectedMaterialError(
            Reason.TRUNCATED, f"{lines.path}: announces {n_sites} atoms, more than the file can hold; copy it again"
        )
    words = [lines.next(f"the coordinates of {n_sites} atoms") for _ in range(n_sites)]
    coords = np.array([lines.floats(site, 3, f"coordinates of {n_sites} atoms") for site in words])
    if mode[0][0] in "cCkK":
        coords = (coords * scale) @ np.linalg.inv(lattice)
    k = 6 if selective else 3
    symbols = [site[k] for site in words if len(site) > k and Element.is_valid_symbol(site[k])]
    return coords, symbols if len(symbols) == n_sites else None


def check_cell(lattice: NDArray[np.float64], n_sites: int, path: Path) -> None:
    """Reject a cell that is flat, too small for its atoms, or absurdly long."""
    with np.errstate(all="ignore"):
        volume = abs(np.linalg.det(lattice))
        longest = np.linalg.norm(lattice, axis=1).max()
    if not (volume >= MIN_VOLUME_PER_ATOM * n_sites and longest <= MAX_LENGTH):
        raise RejectedMaterialError(
            Reason.BAD_STRUCTURE,
            f"{path}: the cell has {volume:.4g} A^3 for {n_sites} atoms and vectors up to {longest:.4g} A, expected"
            f" at least {MIN_VOLUME_PER_ATOM} A^3 an atom and at most {MAX_LENGTH:g} A; check scale factor and"
            " lattice (lines 2-5)",
        )


def bytes_left(text: BinaryIO) -> int:
    """How many bytes a seekable file holds after its present position."""
    here = text.tell()
    end = text.seek(0, 2)
    text.seek(here)
    return end - here
