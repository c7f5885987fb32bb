"""Which materials a study wants: the section `source` of its config as questions to the Materials Project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rhoflow.config import MaterialsProjectSource
from rhoflow.errors import StudyError
from rhoflow.sources.materials_project.documents import KEYS, shown_id

# Space groups of the cubic system whose lattice is face-centred (International Tables A): F23, Fm-3, Fd-3, F432,
# F4_132, F-43m, F-43c, Fm-3m, Fm-3c, Fd-3m, Fd-3c.
FCC = (196, 202, 203, 209, 210, 216, 219, 225, 226, 227, 228)
CUBIC = range(195, 231)
LATTICES = {
    "any": "no restriction to a lattice",
    "fcc": f"FCC as a lattice: the cubic space groups with an F lattice ({', '.join(map(str, FCC))})",
    "fcc_loose": "FCC in the papers' looser sense: every cubic space group (195-230), P and I lattices too",
}
IDS_AT_ONCE = 400  # an URL of about 5 kB; servers take 8 kB
# What the client's `search` calls a property that it can filter by; the others go by their own names.
_SEARCH_NAMES = {
    "nsites": "num_sites",
    "nelements": "num_elements",
    "uncorrected_energy_per_atom": "uncorrected_energy",
    "energy_per_atom": "total_energy",
    "formation_energy_per_atom": "formation_energy",
    "equilibrium_reaction_energy_per_atom": "equilibrium_reaction_energy",
    "universal_anisotropy": "elastic_anisotropy",
    "homogeneous_poisson": "poisson_ratio",
}
LONGEST_ELEMENTS = 60  # characters of a list of elements (emmet-api: max_length)
_NOT_SEARCHABLE = {"density_atomic"}
_ID = re.compile(r"[a-z]+-[0-9a-z]+")
Search = dict[str, Any]


def searches(source: MaterialsProjectSource, ids: tuple[str, ...]) -> list[Search]:
    """Arguments of `SummaryRester.search` that together find the materials of a study.

    Every search has criteria: without any, the client downloads the whole table of all materials instead. Space
    groups are asked one at a time, as the client itself does with a list.

    Parameters
    ----------
    ids : tuple of str
        Ids of `read_ids`. If there are any, they alone are asked for, and `misfit` says what does not fit them.
    """
    if ids:
        return [{"material_ids": list(ids[i : i + IDS_AT_ONCE])} for i in range(0, len(ids), IDS_AT_ONCE)]
    common: Search = {"deprecated": False}
    if source.stable:
        common["is_stable"] = True
    if source.crystal_system or source.lattice == "fcc_loose":
        common["crystal_system"] = (source.crystal_system or "cubic").capitalize()
    if source.elements:
        common["elements"] = _that_fit(source.elements)
    if source.exclude_elements:
        common["exclude_elements"] = _that_fit(source.exclude_elements)
    has_props = (["charge_density"] if source.needs_density else []) + (["elasticity"] if source.complete else [])
    if has_props:
        common["has_props"] = has_props
    for key, limits in limits_of(source).items():
        if key not in _NOT_SEARCHABLE:
            common[_SEARCH_NAMES.get(key, key)] = limits
    groups = FCC if source.lattice == "fcc" else source.space_groups
    return [common | {"spacegroup_number": group} for group in groups] if groups else [common]


def _that_fit(symbols: tuple[str, ...]) -> list[str]:
    """As many symbols as the server takes in one list; `misfit` looks at the others."""
    return [symbol for n, symbol in enumerate(symbols) if len(",".join(symbols[: n + 1])) <= LONGEST_ELEMENTS]


def limits_of(source: MaterialsProjectSource) -> dict[str, tuple[float | None, float | None]]:
    """Lowest and highest value allowed, by property, of all the settings that say one.

    Raises
    ------
    StudyError
        If a range is of a property that the Materials Project does not have.
    """
    for key in source.ranges:
        if key not in KEYS:
            raise StudyError(
                f"source.ranges.{key}: the Materials Project has no such property (for the volume per atom take"
                f" density_atomic); known: {', '.join(KEYS)}"
            )
    limits = dict(source.ranges)
    if source.nelements is not None:
        low, high = limits.get("nelements", (None, None))
        fewest, most = source.nelements
        limits["nelements"] = (max(low or fewest, fewest), most if high is None else min(high, most))
    if source.energy_above_hull_max is not None:
        low, high = limits.get("energy_above_hull", (None, None))
        limits["energy_above_hull"] = (low, min(x for x in (high, source.energy_above_hull_max) if x is not None))
    return limits


def misfit(source: MaterialsProjectSource, document: dict[str, Any], properties: dict[str, float]) -> str | None:
    """Say which setting a material does not meet; None if it meets all.

    What the server was asked to filter by is looked at again: explicit ids are asked for without a filter, and a
    server that does not know a filter ignores it. A field that is not in the document speaks against nobody.

    Parameters
    ----------
    document : dict
        Summary document.
    properties : dict of str to float
        Its `properties_of`.
    """
    if document.get("deprecated") is True:
        return "the Materials Project has withdrawn it (deprecated)"
    if source.stable and document.get("is_stable") is False:
        return "source.stable: it is not on the convex hull"
    symmetry = document.get("symmetry")
    problem = _symmetry_misfit(source, symmetry) if isinstance(symmetry, dict) else None
    return problem or _elements_misfit(source, document.get("elements")) or _values_misfit(source, properties)


def _symmetry_misfit(source: MaterialsProjectSource, symmetry: dict[str, Any]) -> str | None:
    number, system = symmetry.get("number"), str(symmetry.get("crystal_system") or "").casefold()
    allowed = {"fcc": FCC, "fcc_loose": CUBIC}.get(source.lattice, source.space_groups)
    if allowed and isinstance(number, int) and number not in allowed:
        setting = "space_groups" if source.lattice == "any" else f"lattice: {source.lattice}"
        return f"source.{setting}: its space group is {number}"
    if source.crystal_system and system and system != source.crystal_system:
        return f"source.crystal_system: it is {system}"
    return None


def _elements_misfit(source: MaterialsProjectSource, elements: Any) -> str | None:
    if not isinstance(elements, list):
        return None
    missing = [symbol for symbol in source.elements if symbol not in elements]
    if missing:
        return f"source.elements: it holds no {', '.join(missing)}"
    unwanted = [symbol for symbol in source.exclude_elements if symbol in elements]
    return f"source.exclude_elements: it holds {', '.join(unwanted)}" if unwanted else None


def _values_misfit(source: MaterialsProjectSource, properties: dict[str, float]) -> str | None:
    for key, (low, high) in limits_of(source).items():
        value = properties.get(key)
        if value is None:
            return f"source.ranges.{key}: it has no such value"
        if (low is not None and value < low) or (high is not None and value > high):
            return f"source: its {key} is {value:g}, outside {_range(low, high)}"
    missing = [key for key in KEYS if key not in properties] if source.complete else []
    return f"source.complete: it lacks {', '.join(missing)}" if missing else None


def _range(low: float | None, high: float | None) -> str:
    return f"[{'-inf' if low is None else f'{low:g}'}, {'inf' if high is None else f'{high:g}'}]"


def read_ids(source: MaterialsProjectSource) -> tuple[str, ...]:
    """Ids that the study lists, sorted, each once, as the Materials Project shows them; none if it lists none.

    Raises
    ------
    StudyError
        If the file of ids is missing, empty or no text, or an id is none of the Materials Project.
    """
    if source.ids is None:
        return ()
    listed = _ids_of_file(source.ids) if isinstance(source.ids, Path) else source.ids
    where = f"source.ids = {str(source.ids)!r}" if isinstance(source.ids, Path) else "source.ids"
    if not listed:
        raise StudyError(f"{where}: no id in it; give ids such as mp-149, or null for all materials")
    return tuple(sorted({_shown_id(material_id, where) for material_id in listed}))


def _ids_of_file(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); the path is relative to the folder where you start the run"
    except UnicodeDecodeError:
        problem = "is no text file; it needs one id a line"
    else:
        return tuple(_words(text))
    raise StudyError(f"source.ids = {str(path)!r} {problem}")


def _words(text: str) -> Iterator[str]:
    for line in text.splitlines():
        word = line.split("#", 1)[0].strip().rstrip(",")
        if word:
            yield word


def _shown_id(material_id: str, where: str) -> str:
    from emmet.core.mpid import validate_identifier

    try:
        if not _ID.fullmatch(material_id):
            raise ValueError
        validate_identifier(material_id)
    except ValueError:
        problem = f"{where}: {material_id[:60]!r} is no id of the Materials Project; they look like mp-149"
    else:
        return shown_id(material_id)
    raise StudyError(problem)
