"""The spherical free atoms: electrons and form factors of their outer shells (origin: `form_factors.md`)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline

from rhoflow.errors import Reason, RejectedMaterialError

CORE_RADIUS = 0.5  # A; inside the core of every usual potential, H included
_Q_END = 160.0  # 1/A; no grid of densities has shorter waves
# The file's sha256: it makes other data other code, so that what was made of them is made anew.
_SHA256 = "b262fb361eaf4c22384e98b0bff407dcba895c599e05717a0895baeee5bc2200"

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


def smooth_form_factor(element: str, shells: Shells) -> FormFactor:
    """Fourier transform of the same density with a smooth core.

    Within 0.5 A of the nucleus the density is replaced by c0 + c1 r^2 + c2 r^4 of equal value and slope at 0.5 A and
    equal charge, as potentials smooth theirs: outside nothing changes, and the cusp is gone.
    Parameters and result are those of `form_factor`.
    """
    spline = _smooth(element, tuple(shells.items()))
    return lambda wave_numbers: np.asarray(spline(np.minimum(wave_numbers, _Q_END)))


@cache
def _smooth(element: str, shells: tuple[tuple[str, float], ...]) -> CubicSpline:
    """Spline of `smooth_form_factor` up to the end of the waves."""
    q = np.arange(0, _Q_END + 0.01, 0.05)
    f = form_factor(element, dict(shells))(q)
    x, weights = np.polynomial.legendre.leggauss(64)
    r, step = CORE_RADIUS * (x + 1) / 2, 1e-4 * CORE_RADIUS
    weights = weights * CORE_RADIUS / 2 * 4 * np.pi * r**2
    soft = f * np.exp(-10 * (q / _Q_END) ** 6)  # no ripples in r
    *density, before, edge, after = _density(np.append(r, CORE_RADIUS + step * np.array([-1, 0, 1])), q, soft)
    powers = np.array([0, 2, 4])
    terms = r[:, None] ** powers
    equations = [CORE_RADIUS**powers, powers * CORE_RADIUS ** (powers - 1.0), weights @ terms]
    wanted = [edge, (after - before) / (2 * step), weights @ density]
    removed = density - terms @ np.linalg.solve(equations, wanted)
    f -= np.sinc(np.outer(q, r) / np.pi) @ (weights * removed)
    return CubicSpline(q, f, bc_type=((1, 0.0), "not-a-knot"))


def _density(r: Floats, q: Floats, f: Floats) -> Floats:
    """Spherical density (m,) [e/A^3] at radii (m,) [A] from its transform `f` (n,) at wave numbers (n,) [1/A]."""
    return np.asarray(simpson(np.sinc(np.outer(r, q) / np.pi) * f * q**2, x=q) / (2 * np.pi**2))


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
    content = (files("rhoflow.density") / "form_factors.npz").read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != _SHA256:
        raise ValueError(f"form_factors.npz: sha256 {found}, expected {_SHA256}: install rhoflow again")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
