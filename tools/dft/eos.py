"""Equation of state: energies at several volumes, their Birch-Murnaghan fit, and the basis correction."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .series import Point

GPA_PER_EV_A3 = 160.21766208
MAX_POINTS = 40
SCALE_LIMITS = (0.75, 1.35)  # a minimum outside this range of the guessed edge is refused
BOHR = 0.529177210903  # A
HARTREE = 27.211386245988  # eV


@dataclass(frozen=True)
class Fit:
    """Minimum of an equation of state.

    Attributes
    ----------
    volume
        Volume of the cell [A^3].
    energy
        Energy of the cell [eV].
    bulk_modulus
        [GPa]
    bulk_modulus_derivative
        Derivative with respect to pressure.
    rms
        Root of the mean squared residual of the energies [eV].
    """

    volume: float
    energy: float
    bulk_modulus: float
    bulk_modulus_derivative: float
    rms: float


def fit_birch_murnaghan(volumes: Sequence[float], energies: Sequence[float]) -> Fit:
    """Fit the third-order Birch-Murnaghan equation.

    In x = V^(-2/3) that equation (Birch, Phys. Rev. 71, 809 (1947)) is a cubic polynomial, so that the
    fit is linear and unique.

    Parameters
    ----------
    volumes : (n,) sequence
        Cell volumes [A^3], at least four.
    energies : (n,) sequence
        Cell energies [eV].

    Raises
    ------
    ValueError
        If the polynomial has no minimum.
    """
    x, e = np.asarray(volumes, float) ** (-2 / 3), np.asarray(energies, float)
    middle, span = x.mean(), np.ptp(x)
    u = (x - middle) / span  # a well-conditioned variable
    poly = np.poly1d(np.polyfit(u, e, 3))
    second, third = poly.deriv(2), poly.deriv(3)
    minima = [r.real for r in poly.deriv().roots if abs(r.imag) < 1e-8 and second(r.real) > 0]
    if not minima:
        raise ValueError(f"equation of state: no minimum among the energies {e.tolist()} eV")
    u0 = min(minima, key=abs)
    v0 = (u0 * span + middle) ** -1.5
    # chain rule from x to V at the minimum, where dE/dx = 0
    x1, x2 = -2 / 3 * v0 ** (-5 / 3), 10 / 9 * v0 ** (-8 / 3)
    e_vv = second(u0) / span**2 * x1**2
    e_vvv = third(u0) / span**3 * x1**3 + 3 * second(u0) / span**2 * x1 * x2
    return Fit(
        volume=float(v0),
        energy=float(poly(u0)),
        bulk_modulus=float(v0 * e_vv * GPA_PER_EV_A3),
        bulk_modulus_derivative=float(-1 - v0 * e_vvv / e_vv),
        rms=float(np.sqrt(np.mean((poly(u) - e) ** 2))),
    )


def francis_payne(energy: float, *, n_waves: float, volume: float, cutoff: float, slope: float) -> float:
    """Energy [eV] freed of the jumps in the number of plane waves.

    A cell with `n_waves` plane waves a k-point has the effective cutoff whose sphere holds just that
    many; the energy is carried from there to the nominal cutoff (Francis and Payne, J. Phys.: Condens.
    Matter 2, 4395 (1990)).

    Parameters
    ----------
    energy
        Computed energy of the cell [eV].
    n_waves
        Plane waves, averaged over the k-points.
    volume
        Cell volume [A^3].
    cutoff
        Nominal cutoff [eV].
    slope
        dE/d(cutoff), dimensionless.
    """
    effective = 0.5 * (6 * math.pi**2 * n_waves / (volume / BOHR**3)) ** (2 / 3) * HARTREE
    return float(energy + slope * (cutoff - effective))


def scan(
    energy_at: Callable[[float], Point], scales: Sequence[float], known: dict[float, Point]
) -> tuple[Fit, list[Point]]:
    """Compute a volume series and fit it, moving the window until its minimum is well inside.

    Parameters
    ----------
    energy_at
        Computes the point of one scale.
    scales
        First window of equidistant relative edges, 1 among them; the fit takes as many points.
    known
        Points of an earlier, interrupted run.

    Returns
    -------
    Fit, list of Point
        The fit and the points it used.

    Raises
    ------
    ValueError
        If there is no minimum near the guess.
    """
    points = dict(known)
    step = round(scales[1] - scales[0], 4)
    # centre, then downwards, then upwards: a calculation starts best from a near one
    todo = sorted((s for s in scales if s not in points), key=lambda s: (s > 1.0, abs(s - 1)))
    while True:
        for scale in todo:
            points[scale] = energy_at(scale)
        todo = _missing(points, step)
        if not todo:
            return _fit_nearest(points, len(scales))
        if not SCALE_LIMITS[0] < todo[0] < SCALE_LIMITS[1] or len(points) >= MAX_POINTS:
            raise ValueError(
                f"equation of state: no minimum with edges between {min(points)} and {max(points)} of the guess; "
                "correct lattice_constant_A in the list"
            )


def _missing(points: dict[float, Point], step: float) -> list[float]:
    """Find the next scale to compute until two points lie on either side of the lowest; empty if they do."""
    scales = sorted(points)
    lowest = min(range(len(scales)), key=lambda i: points[scales[i]].energy)
    if lowest < 2:
        return [round(scales[0] - step, 4)]
    if lowest > len(scales) - 3:
        return [round(scales[-1] + step, 4)]
    return []


def _fit_nearest(points: dict[float, Point], n: int) -> tuple[Fit, list[Point]]:
    lowest = min(points.values(), key=lambda point: point.energy)
    nearest = sorted(sorted(points), key=lambda scale: abs(scale - lowest.scale))[:n]
    used = [points[scale] for scale in sorted(nearest)]
    fit = fit_birch_murnaghan([p.volume for p in used], [p.energy for p in used])
    if not used[0].volume < fit.volume < used[-1].volume:
        raise ValueError(f"equation of state: fitted volume {fit.volume:.3f} A^3 lies outside the computed ones")
    return fit, used
