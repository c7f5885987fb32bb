"""The structure prototype of a crystal as a label, for splits by prototype."""

from __future__ import annotations

import gzip
import json
import warnings
from collections import Counter
from functools import cache
from importlib.resources import files

import spglib
from pymatgen.core import Composition, Structure

from rhoflow.errors import Reason, RejectedMaterialError

SYMPREC = 0.01  # A; VASP writes the coordinates of a CHGCAR with six digits


def prototype_of(structure: Structure) -> tuple[str, int]:
    """Label and space-group number of the prototype of a crystal.

    The label is the AFLOW one without its Pearson symbol: anonymous formula, space-group number and the occupied
    Wyckoff letters of each species, e.g. ``AB_225_a_b`` for rock salt.

    Raises
    ------
    RejectedMaterialError
        If the symmetry cannot be determined, e.g. because two atoms sit on one place.
    """
    cell = (structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # spglib announces that it will raise one day
        dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    if dataset is None:
        raise RejectedMaterialError(
            Reason.BAD_STRUCTURE,
            f"{structure.formula}: no symmetry found within {SYMPREC} A; check that no two atoms overlap and that the"
            " cell is right",
        )
    letters: dict[str, list[str]] = {}
    for site in sorted(set(dataset.crystallographic_orbits)):
        letters.setdefault(structure[int(site)].specie.symbol, []).append(dataset.wyckoffs[site])
    return _label(structure.composition, letters, int(dataset.number)), int(dataset.number)


def _label(composition: Composition, letters: dict[str, list[str]], number: int) -> str:
    """Canonical label of the Wyckoff letters of each element.

    Which letters an orbit gets depends on the choice of origin and axes, so of all equivalent choices the one with
    the earliest letters is taken; species that are equally frequent stand in the order of their letters. Same rule
    and same table as pymatgen.analysis.prototypes (Goodall et al., Sci. Adv. 8, eabn4117 (2022)), whose import reads
    the whole AFLOW encyclopedia and takes seconds.
    """
    choices = []
    for relabeling in _relabelings(number):
        species = []
        for element, old in letters.items():
            counts = sorted(Counter(relabeling[letter] for letter in old).items())
            occupied = "".join(f"{n if n > 1 else ''}{letter}" for letter, n in counts)
            species.append((composition[element], occupied, sum(ord(letter) for letter, _ in counts)))
        species.sort()
        choices.append((sum(score for *_, score in species), "_".join(occupied for _, occupied, _ in species)))
    return f"{composition.anonymized_formula}_{number}_{min(choices)[1]}"


@cache
def _relabelings(number: int) -> tuple[dict[str, str], ...]:
    """Permutations of the Wyckoff letters of a space group that another choice of origin or axes brings about."""
    table = files("pymatgen.analysis") / "prototypes" / "wyckoff-position-relabelings.json.gz"
    choices = json.loads(gzip.decompress(table.read_bytes()))[str(number)]
    return tuple({chr(int(code)): letter for code, letter in choice.items()} for choice in choices)
