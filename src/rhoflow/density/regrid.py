"""Fourier resampling of a periodic density onto another grid of the same cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample


def regrid(rho: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Resample a periodic density on another grid of the same cell.

    Exact for a field without waves at or above the Nyquist frequency of either grid; otherwise the finest waves are
    cut off (low-pass). On a grid with an even number n of points the waves +n/2 and -n/2 are one: going down, both
    add up in it; going up, it is split half and half. So a real, symmetric field stays real and symmetric (pyrho's
    `interpolate_fourier` keeps one of the two).

    Parameters
    ----------
    rho : (na, nb, nc) float64 array
        Density [e/A^3], axes along a, b, c, end point not repeated.
    shape : tuple of int
        Numbers of points along a, b, c, odd or even, more or fewer than before.

    Returns
    -------
    (shape) float64 array
        Density [e/A^3]; its mean, hence the electron count, is kept to rounding.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape = {shape}: must be three positive numbers of points, e.g. (60, 60, 60)")
    # the resampling is separable; axes that shrink most come first, so that the others have less to do
    for axis in sorted(range(3), key=lambda k: shape[k] / rho.shape[k]):
        if rho.shape[axis] != shape[axis]:
            rho = resample(rho, shape[axis], axis=axis)
    return rho
