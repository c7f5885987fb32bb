"""Geometry of crystals on the FCC lattice: cell, sites, k-point and density meshes.

The primitive vectors are the rows of ``a * PRIMITIVE``. Every crystal of the list has its atoms on the
cube diagonal at 0, 1/4, 1/2 or 3/4, which are also their three primitive fractional coordinates.
"""

import math
from collections.abc import Sequence

import numpy as np

from .arrays import Floats

PRIMITIVE = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
"""(3, 3) primitive lattice vectors as rows, in units of the cubic edge."""

RECIPROCAL = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
"""(3, 3) reciprocal vectors as rows, in units of 2 pi / cubic edge; PRIMITIVE @ RECIPROCAL.T = identity."""

DIAGONAL = (0.0, 0.25, 0.5, 0.75)
"""The four possible sites, as fractions of the cube diagonal."""


def primitive_volume(a: float) -> float:
    """Volume of the primitive cell [A^3] with cubic edge `a` [A]."""
    return a**3 / 4


def frac_coords(sites: Sequence[str | None]) -> Floats:
    """(n, 3) primitive fractional coordinates of the occupied sites among the four of DIAGONAL."""
    return np.array([[x] * 3 for x, symbol in zip(DIAGONAL, sites, strict=True) if symbol])


def monkhorst_size(edges: Sequence[float], k_length: float) -> tuple[int, int, int]:
    """Even numbers of k-points with number x edge [A] of at least `k_length` [A], and at least 2."""
    counts = (math.ceil(k_length / edge - 1e-9) for edge in edges)
    na, nb, nc = (max(2, n + n % 2) for n in counts)
    return na, nb, nc


def density_grid_size(a: float, spacing: float) -> int:
    """Smallest multiple of 4 that divides the primitive edge a / sqrt(2) [A] into steps of `spacing` [A]."""
    return 4 * math.ceil(a / math.sqrt(2) / spacing / 4 - 1e-9)
