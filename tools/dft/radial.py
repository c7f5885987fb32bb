"""Functions of the distance to a nucleus: resampling and Fourier-Bessel transforms."""

import numpy as np
from scipy.interpolate import CubicSpline, interp1d
from scipy.special import spherical_jn

from .arrays import Floats

CHUNK = 200  # wave numbers at once, against large temporary arrays
DENSITY_CUTOFF = 2e-12  # e/A; r^2 rho below this is taken as the end of an atom
R_MAX = 21.0  # A
SPACING = 0.0026  # A


def resample(r: Floats, f: Floats, *, r_max: float, spacing: float) -> tuple[Floats, Floats]:
    """Carry functions from an atomic grid, dense at the nucleus, to an equidistant one.

    Splines run over the index of the atomic grid, in which the functions are smooth.

    Parameters
    ----------
    r : (n,) float64 array
        Atomic grid [A], from 0 upwards.
    f : (..., n) float64 array
        Functions on that grid.
    r_max, spacing
        End and step of the equidistant grid [A].

    Returns
    -------
    (m,) float64 array, (..., m) float64 array
        Grid [A] and functions.
    """
    index = np.arange(len(r))
    fine = np.arange(int(r_max / spacing) + 1) * spacing
    position = interp1d(r, index, kind="cubic")(np.minimum(fine, r[-1]))
    return fine, CubicSpline(index, f, axis=-1)(position)


def bessel_transform(r: Floats, f: Floats, *, l: int, q: Floats) -> Floats:  # noqa: E741
    """Integrate r^2 f(r) j_l(q r) over r.

    Parameters
    ----------
    r : (n,) float64 array
        Equidistant grid [A] from 0.
    f : (..., n) float64 array
        Functions [e/A^3].
    l
        Order of the spherical Bessel function.
    q : (m,) float64 array
        Wave numbers [1/A].

    Returns
    -------
    (..., m) float64 array
        [e]
    """
    weights = np.full(len(r), r[1] - r[0])
    weights[[0, -1]] /= 2
    integrand = f * weights * r**2
    parts = [integrand @ spherical_jn(l, np.outer(r, q[i : i + CHUNK])) for i in range(0, len(q), CHUNK)]
    return np.concatenate(parts, axis=-1)


def form_factor(r: Floats, density: Floats, *, q: Floats) -> Floats:
    """Fourier transform of a spherical density, normalised to 1 at q = 0.

    Parameters
    ----------
    r : (n,) float64 array
        Atomic grid [A].
    density : (n,) float64 array
        Density [e/A^3].
    q : (m,) float64 array
        Wave numbers [1/A]; the first must be 0.

    Returns
    -------
    (m,) float64 array
        Dimensionless.
    """
    assert q[0] == 0, "the first wave number normalises"
    end = np.flatnonzero(density * r**2 > DENSITY_CUTOFF)[-1] + 1
    fine, values = resample(r[:end], density[:end], r_max=min(r[end - 1], R_MAX), spacing=SPACING)
    transform = bessel_transform(fine, values, l=0, q=q)
    return np.asarray(transform / transform[0])
