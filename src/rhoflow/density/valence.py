"""Which shells of each element a calculation treats as valence.

A potential keeps the open shells of an atom and, from there inwards, none, one or two closed ones: Ti 3d 4s
(4 electrons), with 3p (10), with 3s too (12). A density holds only the sum over all atoms, so that sum chooses, and
where several choices have it, the density itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pymatgen.core import Element, Structure

from rhoflow.density.cells import Ints
from rhoflow.density.free_atoms import Floats, Shells, form_factor, occupied_shells
from rhoflow.density.spectra import Complexes, long_waves
from rhoflow.errors import Reason, RejectedMaterialError

COUNT_TOLERANCE = 0.05  # electrons in the cell
# Waves of at least this length [A] compare a density with free atoms: they count the electrons of an atom but do not
# see how they sit inside its core, where VASP's densities are not the all-electron ones.
_COMPARED_WAVELENGTH = 1.0
_MOST_COMBINATIONS = 20_000  # 3^9; nine elements with three sets each take some seconds

Valence = Mapping[str, Shells]
"""Valence shells by element."""


def valence_sets(element: str) -> list[Shells]:
    """List the sets of shells that potentials treat as valence, fewest electrons first.

    From the outside inwards, each set with all of the one before, of an atom of period n:

    * s and d elements: ns and (n-1)d; then (n-1)p; then (n-1)s. Li and Be: 2s; then 1s.
    * p elements: ns and np; then, from period 4 on, (n-1)d.
    * lanthanides: 4f 5d 6s with 5p and 5s; or a frozen 4f shell and 5p 6s (divalent) or 5p 5d1 6s (trivalent), both
      with or without 5s. Actinides: 5f 6d 7s; then 6p; then 6s.

    Their electrons are those of VASP's PBE potentials (without the ones for GW) and of GPAW's sets.

    Raises
    ------
    RejectedMaterialError
        NO_FREE_ATOM, if the table of free atoms lacks the element.
    """
    atom = occupied_shells(element)
    n = Element(element).row
    s, p, d, f = f"{n}s", f"{n}p", f"{n - 1}d", f"{n - 2}f"
    inner_p, inner_s = f"{n - 1}p", f"{n - 1}s"
    if atom.get(p):
        return list(_inwards(atom, [(s, p), (d,)]))
    if f in atom and n == 6:
        divalent = {s: atom[s], inner_p: atom[inner_p]}
        trivalent = {**divalent, d: 1.0}
        frozen = [{**shells, **extra} for extra in ({}, {inner_s: atom[inner_s]}) for shells in (divalent, trivalent)]
        return [*frozen, *_inwards(atom, [(s, d, f, inner_p, inner_s)])]
    return list(_inwards(atom, [(s, d, f), (inner_p,), (inner_s,)]))


def choose_valence(rho: Floats, structure: Structure, stated: Mapping[str, float] | None = None) -> Valence:
    """Find the valence shells of each element of a crystal.

    They are those that hold the `stated` electrons; without statement those whose electrons add up to the density's
    within 0.05 e. Where several combinations do, as 1 + 10 and 3 + 8 in LiMg, the one whose free atoms are closest to
    the density in the waves longer than 1 A (least squares) is taken: an electron pair too many on one atom and too
    few on another outweighs any bond.

    Parameters
    ----------
    rho : (na, nb, nc) float64 array
        Valence density [e/A^3].
    stated : mapping of str to float, or None
        Valence electrons of each element, where the run's files say so.

    Returns
    -------
    mapping of str to mapping of str to float
        Electrons by element and shell, elements in alphabetical order.

    Raises
    ------
    RejectedMaterialError
        NO_FREE_ATOM for an element without table; VALENCE if no combination fits, or there are too many to try.
    """
    counts = {str(element): round(n) for element, n in sorted(structure.composition.get_el_amt_dict().items())}
    electrons = float(rho.mean()) * structure.volume
    sets = {element: _stated_sets(element, stated) for element in counts}
    if (n := math.prod(map(len, sets.values()))) > _MOST_COMBINATIONS:
        raise RejectedMaterialError(
            Reason.VALENCE,
            f"{n} combinations of valence shells of its {len(sets)} elements, at most {_MOST_COMBINATIONS} are tried;"
            " put its vasprun.xml or OUTCAR, which states them, beside the density, or use field: total",
        )
    fitting = _fitting(sets, counts, electrons)
    if not fitting:
        raise RejectedMaterialError(Reason.VALENCE, _misfit(sets, counts, electrons, stated is not None))
    if len(fitting) == 1:
        return fitting[0]
    return _closest(rho, structure, fitting)


def name_shells(valence: Valence) -> dict[str, str]:
    """Text of the shells by element, e.g. ``{"Ti": "3d2 4s2 3p6"}``."""
    return {
        element: " ".join(f"{shell}{electrons:g}" for shell, electrons in sorted(shells.items()))
        for element, shells in valence.items()
    }


def _inwards(atom: Shells, layers: Sequence[Sequence[str]]) -> Iterator[Shells]:
    """Yield the first layer, the first two, ...; without shells that the atom lacks and layers that add nothing."""
    shells: dict[str, float] = {}
    for layer in layers:
        added = {shell: atom[shell] for shell in layer if atom.get(shell)}
        if added:
            shells = {**shells, **added}
            yield shells


def _stated_sets(element: str, stated: Mapping[str, float] | None) -> list[Shells]:
    """All sets of an element, or those with the stated number of electrons."""
    sets = valence_sets(element)
    if stated is None:
        return sets
    return [shells for shells in sets if abs(sum(shells.values()) - stated.get(element, 0)) < COUNT_TOLERANCE]


def _fitting(sets: Mapping[str, Sequence[Shells]], counts: Mapping[str, int], electrons: float) -> list[Valence]:
    """List the combinations of one set an element that add up to the electrons of the cell."""
    combinations = itertools.product(*sets.values())
    sized = ((dict(zip(sets, chosen, strict=True)), chosen) for chosen in combinations)
    totals = ((valence, _total(chosen, counts)) for valence, chosen in sized)
    return [valence for valence, total in totals if abs(total - electrons) <= COUNT_TOLERANCE]


def _total(chosen: Sequence[Shells], counts: Mapping[str, int]) -> float:
    return sum(n * sum(shells.values()) for n, shells in zip(counts.values(), chosen, strict=True))


def _misfit(
    sets: Mapping[str, Sequence[Shells]], counts: Mapping[str, int], electrons: float, is_stated: bool
) -> str:
    """Say what came, what is allowed, what to do."""
    allowed = "; ".join(
        f"{n} {element} with {' or '.join(f'{sum(shells.values()):g}' for shells in sets[element]) or 'no known set'}"
        for element, n in counts.items()
    )
    source = "the valence electrons that its run states" if is_stated else "any choice of valence shells"
    return (
        f"the density holds {electrons:.3f} electrons, which is not within {COUNT_TOLERANCE} of {source}: {allowed}."
        " A charged cell, a fractional hydrogen or a potential with deeper shells has no free-atom reference here;"
        " use field: total"
    )


def _closest(rho: Floats, structure: Structure, candidates: Sequence[Valence]) -> Valence:
    """Find the candidate whose free atoms differ least from the density in the long waves."""
    lattice = structure.lattice.matrix
    indices, coefficients = long_waves(rho, lattice, 2 * np.pi / _COMPARED_WAVELENGTH)
    lengths = 2 * np.pi * np.linalg.norm(indices @ np.linalg.inv(lattice).T, axis=1)
    weights = np.where(indices[:, 2] > 0, 2, 1)  # of those with a third index above 0, -G is left out
    sums = _structure_factors(structure, indices)

    def residual(valence: Valence) -> float:
        atoms = sum(form_factor(element, shells)(lengths) * sums[element] for element, shells in valence.items())
        return float(weights @ np.abs(coefficients * structure.volume - atoms) ** 2)

    return min(candidates, key=residual)


def _structure_factors(structure: Structure, indices: Ints) -> dict[str, Complexes]:
    """Sum exp(-i G . r) over the atoms of each element, (k,) complex128, for reciprocal vectors (k, 3)."""
    phases = np.exp(-2j * np.pi * (indices @ structure.frac_coords.T))
    symbols = np.array([site.specie.symbol for site in structure])
    return {str(element): phases[:, symbols == element].sum(axis=1) for element in np.unique(symbols)}
