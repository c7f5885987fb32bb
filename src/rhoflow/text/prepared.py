"""Robocrystallographer's own classes with the parts that never change prepared once per process.

Stock robocrystallographer (0.2.13) spends most of a description on work that is the same for every crystal:

* it reduces its 180 mineral prototypes to Niggli primitive cells (and looks them up in pymatgen's cache of reduced
  structures, whose comparisons are slower than the reduction);
* it reads its table of 145,158 molecules from disk, for crystals without molecules too;
* it rebuilds the same bonds of the same site, as dicts, thousands of times.

The subclasses below do these once. The maths stays robocrystallographer's, so the strings are the same; the tests and
`benchmarks/bench_text.py` compare them. Importing this module takes about 10 s (pymatgen's library of prototypes and
inflect), so `Describer` does it when the first crystal comes.
"""

from __future__ import annotations

import copy
import functools
import warnings
from typing import Any, Self
from unittest.mock import patch

import pandas as pd
from pymatgen.analysis.graphs import StructureGraph
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pymatgen deprecates a class that robocrystallographer still derives from
    from pymatgen.analysis.local_env import CrystalNN
    from robocrys import StructureCondenser, StructureDescriber
    from robocrys.condense import condenser as condenser_module
    from robocrys.condense.mineral import MineralMatcher, ReducedAflowPrototypeMatcher
    from robocrys.condense.molecule import MoleculeNamer


class PreparedPrototypeMatcher(ReducedAflowPrototypeMatcher):  # type: ignore[misc]
    """Prototype matcher that is handed prototypes which are already reduced.

    Parameters
    ----------
    mineral_db : DataFrame
        Robocrystallographer's minerals, nearest first, with two more columns: ``number`` (of the row in its file,
        whose names are not unique) and ``anonymous_formula``.
    reduced : dict of int to Structure
        Niggli-reduced primitive prototypes by ``number``; filled when first needed.
    tolerances : dict of str to float
        ``initial_ltol``, ``initial_stol`` and ``initial_angle_tol`` of the parent class.
    """

    def __init__(self, mineral_db: pd.DataFrame, reduced: dict[int, Structure], tolerances: dict[str, float]) -> None:
        super().__init__(**tolerances, mineral_db=mineral_db)
        self._reduced = reduced

    def _match_prototype(self, structure_matcher: StructureMatcher, s: Structure) -> list[dict[str, Any]]:
        target = self._preprocess_structure(s)
        # An anonymous match maps species one to one, so the anonymous formulas agree: the others need no comparison.
        alike = self._mineral_db[self._mineral_db["anonymous_formula"] == target.composition.anonymized_formula]
        return [
            {"type": row["mineral"], "distance": row["distance"], "structure": row["structure"]}
            for _, row in alike.iterrows()
            if structure_matcher.fit_anonymous(
                self._prototype(row["number"], row["structure"]), target, skip_structure_reduction=True
            )
        ]

    def _prototype(self, number: int, structure: Structure) -> Structure:
        if number not in self._reduced:
            self._reduced[number] = self._preprocess_structure(structure)
        return self._reduced[number]


class PreparedMineralMatcher(MineralMatcher):  # type: ignore[misc]
    """Mineral matcher that keeps its reduced prototypes from one crystal to the next."""

    mineral_db: pd.DataFrame

    def __init__(self) -> None:
        super().__init__()
        formulas = [structure.composition.anonymized_formula for structure in self.mineral_db["structure"]]
        self.mineral_db = self.mineral_db.assign(number=range(len(formulas)), anonymous_formula=formulas)
        self._reduced: dict[int, Structure] = {}

    def fresh(self) -> Self:
        """Return a matcher that shares the prototypes but remembers nothing of the last crystal (or its time-out)."""
        twin = copy.copy(self)
        twin._structure = twin._mineral_db = None
        return twin

    def get_aflow_matches(self, structure: Structure) -> list[dict[str, Any]] | None:
        """Return the minerals whose prototype the structure has, nearest first, or None."""
        self._set_distance_matrix(structure)
        tolerances = {
            "initial_ltol": self.initial_ltol,
            "initial_stol": self.initial_stol,
            "initial_angle_tol": self.initial_angle_tol,
        }
        matcher = PreparedPrototypeMatcher(self._mineral_db, self._reduced, tolerances)
        matches: list[dict[str, Any]] | None = matcher.get_prototypes(structure)
        return matches


class RememberingCrystalNN(CrystalNN):  # type: ignore[misc]
    """CrystalNN whose bonded structure answers a repeated question about the bonds of a site from memory."""

    def get_bonded_structure(self, *args: Any, **kwargs: Any) -> StructureGraph:
        """Return the structure graph of CrystalNN."""
        graph = super().get_bonded_structure(*args, **kwargs)
        # Robocrystallographer only reads the graph. The answers live and die with this one.
        graph.get_connected_sites = functools.cache(graph.get_connected_sites)
        return graph


class PreparedCondenser(StructureCondenser):  # type: ignore[misc]
    """Condenser with prepared minerals and molecules that never goes online."""

    def __init__(self) -> None:
        self._minerals = PreparedMineralMatcher()
        self._molecule_namer = MoleculeNamer(use_online_pubchem=False)
        super().__init__(near_neighbors=RememberingCrystalNN(), mineral_matcher=self._minerals)

    def condense_structure(self, structure: Structure) -> dict[str, Any]:
        """Return robocrystallographer's condensed form of a structure."""
        self.mineral_matcher = self._minerals.fresh()
        condensed: dict[str, Any] = super().condense_structure(structure)
        return condensed

    def _condense_components(self, *args: Any) -> Any:
        # The parent makes its own namer here, which reads its table and may ask PubChem; it takes no other.
        with patch.object(condenser_module, "MoleculeNamer", lambda: self._molecule_namer):
            return super()._condense_components(*args)


class PreparedRobocrys:
    """Stock robocrystallographer with its default settings, prepared once and offline."""

    def __init__(self) -> None:
        self._condenser = PreparedCondenser()
        self._describer = StructureDescriber()

    def describe(self, structure: Structure) -> str:
        """Return robocrystallographer's text of a structure."""
        text: str = self._describer.describe(self._condenser.condense_structure(structure))
        return text
