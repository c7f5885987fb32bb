"""What a VASP run says of its crystal beside the density, from its vasprun.xml or its OUTCAR.

Energies are those extrapolated to zero smearing (``energy(sigma->0)``), as the Materials Project keeps them. The band
gap is 0 where a band is filled at some k-points only, whatever the smearing. The moment is what VASP prints as
``mag=``: the difference of the occupations of the spins, summed over bands and k-points; its sign means nothing, so
it is given without. All values belong to the last ionic step, whose density the CHGCAR holds.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import ParseError

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.foreign import kind_of
from rhoflow.materials.unpack import capped

_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
_G_PER_CM3 = 1.66053906660  # of one unified atomic mass unit per A^3 (CODATA 2018)


@dataclass
class Facts:
    """What a run's files say, before anything is derived from it.

    Attributes
    ----------
    elements, counts, masses, valences : list
        Of each species of the run: symbol, number of atoms, mass [u], electrons of its potential.
    volume : float
        Of the cell [A^3], in the last ionic step.
    energy : float
        Of the cell [eV], extrapolated to zero smearing, in the last ionic step.
    efermi : float or None
        Fermi level [eV].
    eigenvalues, occupations : (n_spins, n_kpoints, n_bands) float64 array or None
        Energies [eV] and occupations from 0 to 1.
    weights : (n_kpoints,) float64 array or None
        Weights of the k-points.
    moment : float or None
        Magnetisation of the cell [mu_B], where the file prints it.
    collinear : bool
        Whether the spin channels are up and down.
    converged : bool
        Whether the last electronic loop converged.
    """

    elements: list[str]
    counts: list[int]
    masses: list[float]
    valences: list[float]
    volume: float
    energy: float
    efermi: float | None = None
    eigenvalues: NDArray[np.float64] | None = None
    occupations: NDArray[np.float64] | None = None
    weights: NDArray[np.float64] | None = None
    moment: float | None = None
    collinear: bool = True
    converged: bool = True


@dataclass(frozen=True)
class Run:
    """A run's scalars.

    Attributes
    ----------
    properties : dict of str to float
        By property key, in house units; what the run does not say is absent.
    valence : dict of str to float or None
        Electrons that the potential of each element treats; None where two potentials of one element differ.
    composition : dict of str to int
        Atoms of each element in the cell.
    """

    properties: dict[str, float]
    valence: dict[str, float] | None
    composition: dict[str, int]


def read_run(path: Path) -> Run:
    """Read the properties of a run.

    Parameters
    ----------
    path : Path
        ``vasprun.xml`` or ``OUTCAR``, plain or packed (.gz, .xz, .bz2).

    Raises
    ------
    RejectedMaterialError
        If the file cannot be read whole, or its last electronic loop did not converge.
    """
    from rhoflow.sources.outcar import parse_outcar
    from rhoflow.sources.vasprun import parse_vasprun

    parse: Callable[[IO[bytes]], Facts] = parse_vasprun if is_vasprun(path) else parse_outcar
    run: Run = read_packed(path, lambda file: _run(parse(file), path))
    return run


def _run(facts: Facts, path: Path) -> Run:
    if not facts.converged:
        raise RejectedMaterialError(
            Reason.NOT_CONVERGED,
            f"{path}: the last electronic loop did not converge, so its energies mean little; run it again with more"
            " steps (NELM), or give the properties in a table",
        )
    return Run(_properties(facts), _valence(facts), _composition(facts))


def is_vasprun(path: Path) -> bool:
    """Whether a run's file is its vasprun.xml."""
    return "vasprun" in path.name


def read_packed(path: Path, parse: Callable[[IO[bytes]], Any]) -> Any:
    """Parse a file that may be packed; whatever is wrong with its content is a rejection."""
    try:
        with _OPENERS.get(path.suffix, Path.open)(path, "rb") as file:
            return parse(capped(file, path) if path.suffix in _OPENERS else file)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise RejectedMaterialError(
            Reason.UNREADABLE, f"{path}: {error.strerror}; check the file and its permissions"
        ) from error
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk fails, not this file
        raise RejectedMaterialError(
            Reason.TRUNCATED, f"{path}: the packed file is damaged ({error}); copy it again"
        ) from error
    except (ParseError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError) as error:
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"{path}: not what a finished VASP run writes ({kind_of(error)}); was the run"
            " killed? Run it again, or remove the file",
        ) from error


RUN_PROPERTIES = (
    *("energy_per_atom", "uncorrected_energy_per_atom", "efermi", "band_gap", "nsites", "nelements", "volume"),
    *("density", "density_atomic", "volume_per_atom", "total_magnetization", "total_magnetization_normalized_vol"),
    "total_magnetization_normalized_formula_units",
)
"""What a finished run can give."""


def _properties(facts: Facts) -> dict[str, float]:
    """Derive all properties that the facts allow; what is not finite is left out."""
    n_sites, volume = sum(facts.counts), facts.volume
    mass = sum(count * mass for count, mass in zip(facts.counts, facts.masses, strict=True))
    found: dict[str, float | None] = {
        "energy_per_atom": facts.energy / n_sites,
        "uncorrected_energy_per_atom": facts.energy / n_sites,
        "efermi": facts.efermi,
        "band_gap": _band_gap(facts),
        "nsites": float(n_sites),
        "nelements": float(len(set(facts.elements))),
        "volume": volume,
        "density": _G_PER_CM3 * mass / volume,
        "density_atomic": volume / n_sites,
        "volume_per_atom": volume / n_sites,
    }
    moment = _moment(facts)
    if moment is not None:
        formula_units = Composition(_composition(facts)).get_reduced_composition_and_factor()[1]
        found["total_magnetization"] = moment
        found["total_magnetization_normalized_vol"] = moment / volume
        found["total_magnetization_normalized_formula_units"] = moment / formula_units
    return {key: float(value) for key, value in found.items() if value is not None and math.isfinite(value)}


def _band_gap(facts: Facts) -> float | None:
    """Smallest distance [eV] from a filled to an empty state; 0 in a metal, None where it cannot be told."""
    energies, occupations = facts.eigenvalues, facts.occupations
    if energies is None or occupations is None:
        return None
    filled, empty = np.all(occupations > 0.5, axis=1), np.all(occupations < 0.5, axis=1)  # of each spin and band
    if not (filled | empty).all():
        return 0.0
    if not filled.any() or not np.any(empty, axis=1).all():
        return None  # too few bands: the lowest empty one was not calculated
    by_band = energies.swapaxes(1, 2)
    gap = float(by_band[empty].min() - by_band[filled].max())
    return 0.0 if gap < 0 else gap


def _moment(facts: Facts) -> float | None:
    """Size of the cell's moment [mu_B]; None where it cannot be told."""
    if facts.moment is not None:
        return abs(facts.moment)
    if facts.occupations is None or facts.weights is None or not facts.collinear:
        return None
    if len(facts.occupations) == 1:
        return 0.0
    up, down = facts.occupations.sum(axis=2)
    return abs(float(facts.weights @ (up - down) / facts.weights.sum()))


def _valence(facts: Facts) -> dict[str, float] | None:
    """Electrons of each element's potential; None if two potentials of one element differ."""
    valence: dict[str, float] = {}
    for element, electrons in zip(facts.elements, facts.valences, strict=True):
        if valence.setdefault(element, electrons) != electrons:
            return None
    return valence


def _composition(facts: Facts) -> dict[str, int]:
    composition: dict[str, int] = {}
    for element, count in zip(facts.elements, facts.counts, strict=True):
        composition[element] = composition.get(element, 0) + count
    return composition
