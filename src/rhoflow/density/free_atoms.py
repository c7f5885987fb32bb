"""The spherical free atoms: electrons and form factors of their outer shells (origin: `form_factors.md`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from rhoflow.errors import Reason, RejectedMaterialError

Floats = NDArray[np.float64]
FormFactor = Callable[[Floats], Floats]
Shells = Mapping[str, float]
"""Electrons by the name of their shell, e.g. ``{"3s": 2.0, "3p": 2.0}``."""


def occupied_shells(element: str) -> Shells:
    """Electrons of the outer shells of a neutral free atom.

    A shell with 0 electrons is one of another configuration (5d of a trivalent lanthanide).

    Raises
    ------
    RejectedMaterialError
        NO_FREE_ATOM, if the table lacks the element.
    """
    rows = _rows(element)
    return {shell: electrons for shell, (electrons, _) in rows.items()}


def form_factor(element: str, shells: Shells) -> FormFactor:
    """Fourier transform of the density of some shells of a free atom.

    It is

        f(q) = sum_shells N_shell f_shell(q),        f(0) = sum_shells N_shell.

    Between the wave numbers of the table f is a cubic spline; above the last one (80 / A) it falls as q^-4, as
    that of any density with a cusp.

    Parameters
    ----------
    shells : mapping of str to float
        Electrons by shell.

    Returns
    -------
    callable
        From wave numbers (...) float64 [1/A] to f (...) float64 [electrons].
    """
    q, rows = _wave_numbers(), _rows(element)
    total = sum((electrons * rows[shell][1] for shell, electrons in shells.items()), np.zeros_like(q))
    spline = CubicSpline(q, total, bc_type=((1, 0.0), "not-a-knot"))  # f is even in q

    def evaluate(wave_numbers: Floats) -> Floats:
        f = spline(np.minimum(wave_numbers, q[-1]))
        f *= np.minimum(1.0, q[-1] / np.maximum(wave_numbers, q[-1])) ** 4
        return np.asarray(f)

    return evaluate


def _rows(element: str) -> dict[str, tuple[float, Floats]]:
    table = _table()
    if element not in table:
        raise RejectedMaterialError(
            Reason.NO_FREE_ATOM,
            f"no free atom of {element} in the table of form factors, which holds {len(table)} elements from H to"
            f" {list(table)[-1]}; use field: total, or files with AECCAR1 and AECCAR2",
        )
    return table[element]


@cache
def _table() -> dict[str, dict[str, tuple[float, Floats]]]:
    """Electrons and form factor (m,), 1 at q = 0, by element (in the order of atomic numbers) and shell."""
    table: dict[str, dict[str, tuple[float, Floats]]] = {}
    file = _load()
    for element, shell, electrons, f in zip(
        file["element"], file["shell"], file["occupation"], file["f"], strict=True
    ):
        table.setdefault(str(element), {})[str(shell)] = (float(electrons), f.astype(np.float64))
    return table


@cache
def _wave_numbers() -> Floats:
    """Wave numbers (m,) of the table [1/A]."""
    return np.asarray(_load()["q_inv_A"], dtype=np.float64)


@cache
def _load() -> dict[str, NDArray[np.generic]]:
    with as_file(files("rhoflow.density") / "form_factors.npz") as path, np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
