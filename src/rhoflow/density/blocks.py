"""The numbers of a VASP density file: grid line, values, and what may stand between two blocks."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.fast_parser import parse_n_doubles

from rhoflow.density.header import bytes_left
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.foreign import shown


def read_blocks(text: BinaryIO, n_sites: int, path: Path) -> list[NDArray[np.float64]]:
    """Read all density blocks of a file that stands after its header.

    Returns
    -------
    list of (na, nb, nc) float64 array
        Density times volume [e], in Fortran order as in the file.

    Raises
    ------
    RejectedMaterialError
        If a number is missing, left over or no number, or anything else than VASP writes stands between blocks.
    """
    words = _next_words(text)
    if words is None:
        raise RejectedMaterialError(Reason.TRUNCATED, f"{path}: ends before the grid line; copy it again")
    shape = _grid_shape(words)
    if shape is None:
        _fail_grid(path, f"found {shown(words)} where the grid line, three positive integers, should stand")
    blocks = [_read_block(text, shape, path)]
    n_moments = 0  # between blocks VASP writes one moment a site, or three, and the grid line again
    while (words := _next_words(text)) is not None:
        if words[:2] == [b"augmentation", b"occupancies"] and not n_moments:
            _skip_augmentation(text, words, path)
        elif _grid_shape(words) is not None:
            if _grid_shape(words) != shape or n_moments not in (0, n_sites, 3 * n_sites):
                _fail_grid(
                    path, f"grid line {shown(words)} after {n_moments} moments of {n_sites} sites and a {shape} block"
                )
            blocks.append(_read_block(text, shape, path))
            n_moments = 0
        else:
            n_moments += _count_numbers(words, path)
            if n_moments > 3 * n_sites:
                _fail_grid(path, f"more numbers follow than the grid {shape} has points")
    if n_moments:
        raise RejectedMaterialError(
            Reason.TRUNCATED,
            f"{path}: ends after {n_moments} numbers behind block {len(blocks)}: its second grid is missing, or its"
            f" grid line {shape} is too small; copy it again",
        )
    return blocks


def _read_block(text: BinaryIO, shape: tuple[int, ...], path: Path) -> NDArray[np.float64]:
    """Read the block rho*V [e] whose grid line was just read, in Fortran order."""
    n = int(np.prod(shape, dtype=object))
    what = f"grid {shape[0]} x {shape[1]} x {shape[2]}"
    values = read_numbers(text, n, what, path)
    rest = text.readline().split()
    if rest and _count_numbers(rest, path):
        _fail_grid(path, f"{shown(rest)} follows on the line of the last value of {what}")
    return values.reshape(shape, order="F")


def read_numbers(text: BinaryIO, n: int, what: str, path: Path) -> NDArray[np.float64]:
    """Read the next `n` numbers of a file, wherever its lines break."""
    left = bytes_left(text)
    if 2 * n - 1 > left:  # a digit and a blank each
        _fail_short(path, what, f"only {left} bytes follow for {n} values")
    values = np.empty(n)
    n_read = parse_n_doubles(text, values, n)
    if n_read < n:
        found = (text.read(200).split() or [b""])[0]
        if not found or found == b"augmentation":
            _fail_short(path, what, f"{n_read} of {n} values are there")
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"{path}: value {n_read + 1} of {n} of {what} is {shown([found])}, no number; recompute or copy it again",
        )
    return values


def _skip_augmentation(text: BinaryIO, words: list[bytes], path: Path) -> None:
    """Skip the PAW occupancies of one atom: ``augmentation occupancies  <atom> <n>`` and n numbers."""
    # VASP writes both integers four wide, so large ones touch: the last four digits are n
    n = words[-1][-4:]
    if not n.isdigit() or len(words) < 3:
        raise RejectedMaterialError(
            Reason.UNREADABLE, f"{path}: {shown(words)} lacks the number of augmentation occupancies; copy it again"
        )
    read_numbers(text, int(n), f"augmentation occupancies {shown(words[2:])}", path)


def _next_words(text: BinaryIO) -> list[bytes] | None:
    """Words of the next line that is not blank; None at the end of the file."""
    for line in text:
        if words := line.split():
            return words
    return None


def _grid_shape(words: list[bytes]) -> tuple[int, ...] | None:
    """Read a line of three positive integers; None if it is not one."""
    if len(words) == 3 and all(word.isdigit() and len(word) < 10 and int(word) > 0 for word in words):
        return tuple(int(word) for word in words)
    return None


def _count_numbers(words: list[bytes], path: Path) -> int:
    """How many words a line of numbers has; rejects a line of anything else."""
    try:
        return len([float(word) for word in words])
    except ValueError as error:
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"{path}: unexpected {shown(words)} after a density block; expected augmentation occupancies, moments, a"
            " grid line or the end: copy it again",
        ) from error


def _fail_grid(path: Path, found: str) -> NoReturn:
    raise RejectedMaterialError(
        Reason.UNREADABLE, f"{path}: wrong grid line: {found}; restore the file that VASP wrote"
    )


def _fail_short(path: Path, what: str, found: str) -> NoReturn:
    raise RejectedMaterialError(
        Reason.TRUNCATED,
        f"{path}: {what} is cut short: {found}; copy the file again, or correct its grid line",
    )
