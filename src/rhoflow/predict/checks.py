"""Whether a new crystal is of the kind that the networks have seen: its elements, its electrons, its extremes."""

from __future__ import annotations

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.predict.card import Card
from rhoflow.predict.crystals import NewCrystal
from rhoflow.predict.engines import COUNT_TOLERANCE, ElectronCounts, Peaks

_PEAKED = ("total", "all_electron")  # fields whose maximum lies in the core of an atom


class Checks:
    """What makes an ensemble refuse a crystal.

    Parameters
    ----------
    card : Card
        The ensemble's.
    densities : bool
        Whether its networks look at densities; else elements alone count.
    """

    def __init__(self, card: Card, *, densities: bool) -> None:
        self._counts = ElectronCounts(card.seen)
        self._peaks = Peaks(card.seen) if card.study["field"] in _PEAKED else None
        self._fences = card.fences
        self._densities = densities

    def look(self, crystal: NewCrystal) -> tuple[list[RejectedMaterialError], list[str]]:
        """Reasons to refuse a crystal that has been read, and what could not be checked."""
        assert crystal.composition is not None
        known = self._counts.elements
        unseen = sorted(set(crystal.composition) - set(known))
        if unseen:
            detail = (
                f"{crystal.file}: {', '.join(unseen)} stood in no training crystal; those held {', '.join(known)}"
            )
            return [RejectedMaterialError(Reason.UNSEEN_ELEMENT, detail)], []
        if not self._densities:
            return [], []
        found = [self._outlier(crystal), self._other_count(crystal), self._other_peak(crystal)]
        return [one for one in found if one], self._unchecked(crystal.composition)

    def _other_count(self, crystal: NewCrystal) -> RejectedMaterialError | None:
        """Doubt a density whose electrons are not those of the training densities' potentials."""
        assert crystal.composition is not None
        assert crystal.electrons is not None
        expected = self._counts.expected(crystal.composition)
        if expected is None or abs(crystal.electrons - expected) <= COUNT_TOLERANCE:
            return None
        detail = (
            f"{crystal.file}: {crystal.electrons:.3f} electrons for {crystal.formula}, where the potentials of the"
            f" training densities give {expected:.3f} in this cell: another engine or other potentials; recompute it"
            " with those of the study"
        )
        return RejectedMaterialError(Reason.OTHER_ENGINE, detail)

    def _other_peak(self, crystal: NewCrystal) -> RejectedMaterialError | None:
        """Doubt a density whose maximum is not that of its atoms' cores in the training densities."""
        assert crystal.composition is not None
        if self._peaks is None or crystal.extremes is None:
            return None
        low, high = self._peaks.expected(crystal.composition)
        if low <= crystal.extremes[1] <= high:
            return None
        detail = (
            f"{crystal.file}: the density's maximum is {crystal.extremes[1]:.4g} e/A^3, with the atoms of the"
            f" training densities it is {low:.4g} to {high:.4g}: another engine or other potentials; recompute it"
            " with those of the study"
        )
        return RejectedMaterialError(Reason.OTHER_ENGINE, detail)

    def _outlier(self, crystal: NewCrystal) -> RejectedMaterialError | None:
        """Doubt a density that the study itself would have taken for an outlier."""
        if self._fences is None or crystal.extremes is None:
            return None
        beyond = [
            f"{name} {value:.6g} e/A^3, the study allows {low:.6g} to {high:.6g}"
            for name, value, (low, high) in zip(
                ("minimum", "maximum"), crystal.extremes, (self._fences.minimum, self._fences.maximum), strict=True
            )
            if not low <= value <= high
        ]
        detail = f"{crystal.file}: {'; '.join(beyond)}: denser or emptier than what the networks were trained on"
        return RejectedMaterialError(Reason.OUTLIER, detail) if beyond else None

    def _unchecked(self, composition: dict[str, float]) -> list[str]:
        """Say why the electrons of this crystal could not be compared."""
        if self._counts.misfit > COUNT_TOLERANCE:
            return ["electron count not checked: the training densities are of more than one set of potentials"]
        if self._counts.expected(composition) is None:
            return ["electron count not checked: the training compositions do not tell its elements apart"]
        return []
