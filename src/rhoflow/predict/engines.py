"""Marks that an engine and its potentials leave on a density: electrons an element, and how high a core stands.

Densities of other engines or potentials are pictures of another kind, though the crystal is the same. What the files
say of their origin is little and easily lost, so the density itself is asked (docs/predict.md has the measurements).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition

from rhoflow.predict.card import Seen

# Electrons a cell. Densities integrate to whole numbers within 1e-3, so a count that differs, differs by 1.
COUNT_TOLERANCE = 0.05
CLEARLY_BELOW = 0.8  # of a maximum: it cannot be of this element
PEAK_FACTOR = 1.5  # cores of one element and potential agree within a few per cent, other potentials' hardly ever
_NULL = 1e-6  # of a composition's norm, outside of what the training compositions span


class ElectronCounts:
    """Electrons that the training densities hold for each element, where they agree on that.

    A potential treats a fixed number of electrons of an element as valence, so all training densities together are a
    linear system, counts = atoms x electrons an element. Its solution tells what the same potentials would give for
    a new composition, if that is a combination of the training ones; elements need not occur alone.

    Parameters
    ----------
    seen : sequence of Seen
        Training compositions and their electrons.
    """

    def __init__(self, seen: tuple[Seen, ...]) -> None:
        compositions = [Composition(one.formula).get_el_amt_dict() for one in seen]
        self.elements = sorted({element for atoms in compositions for element in atoms})
        atoms = np.array([self._row(one) for one in compositions])
        electrons = np.array([one.electrons for one in seen])
        # The triangle of QR has the same singular values and directions, and as many rows as there are elements.
        _, sizes, directions = np.linalg.svd(np.linalg.qr(atoms, mode="r"))
        rank = int((sizes > _NULL * sizes.max()).sum())
        self._open = directions[rank:]  # combinations of elements of which the training set says nothing
        self._of_element = np.linalg.lstsq(atoms, electrons, rcond=None)[0]
        self.misfit = float(np.abs(atoms @ self._of_element - electrons).max())

    def expected(self, composition: dict[str, float]) -> float | None:
        """Electrons in a cell of these atoms; None if the training compositions do not say."""
        row = self._row(composition)
        decided = np.linalg.norm(self._open @ row) <= _NULL * np.linalg.norm(row)
        return float(self._of_element @ row) if decided and self.misfit <= COUNT_TOLERANCE else None

    def _row(self, composition: dict[str, float]) -> NDArray[np.float64]:
        return np.array([composition.get(element, 0.0) for element in self.elements])


class Peaks:
    """How high the density stands in the core of each element, as far as the training densities tell.

    The maximum of a density lies in the core of one of its atoms and hardly feels the bonds. An element's core is at
    most as high as the lowest maximum of all crystals with that element. Where this rules out all other elements of
    a crystal, its maximum is the core of the one that is left.
    """

    def __init__(self, seen: tuple[Seen, ...]) -> None:
        crystals = [(set(Composition(one.formula).get_el_amt_dict()), one.maximum) for one in seen]
        self._highest: dict[str, float] = {}
        for elements, maximum in crystals:
            for element in elements:
                self._highest[element] = min(maximum, self._highest.get(element, math.inf))
        known: dict[str, list[float]] = {}
        for elements, maximum in crystals:
            owners = [one for one in elements if self._others(elements, one) < CLEARLY_BELOW * maximum]
            for owner in owners:
                known.setdefault(owner, []).append(maximum)
        self._known = {element: (min(values), max(values)) for element, values in known.items()}

    def expected(self, elements: Iterable[str]) -> tuple[float, float]:
        """Lowest and highest plausible maximum [e/A^3] of a density of these elements, which are known."""
        elements = list(elements)
        low = max((self._known[one][0] for one in elements if one in self._known), default=0.0)
        high = max(self._known.get(one, (0.0, self._highest[one]))[1] for one in elements)
        return low / PEAK_FACTOR, high * PEAK_FACTOR

    def _others(self, elements: Iterable[str], owner: str) -> float:
        """Highest core that the other elements can have [e/A^3]."""
        return max((self._highest[one] for one in elements if one != owner), default=0.0)
