"""Documents of the Materials Project, as JSON, to checked values in house units.

The units are those of emmet-core's models (`SummaryDoc`, `ElasticityDoc`): eV/atom, eV, GPa, mu_B, A^3, A^3 per atom
for ``density_atomic``, g/cm^3; they are rhoflow's own. What a server sends is not trusted: a value of another type is
an error of the document, which becomes a rejected material.
"""

from __future__ import annotations

import math
from typing import Any

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.ids import check_id
from rhoflow.sources.materials_project.tasks import spellings

# Massa et al. 2024 (arXiv 2401.09301v1), Table 11, by where the summary document keeps them.
PLAIN = (
    "nsites",
    "nelements",
    "volume",
    "density",
    "density_atomic",
    "uncorrected_energy_per_atom",
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "equilibrium_reaction_energy_per_atom",
    "band_gap",
    "efermi",
    "total_magnetization",
    "total_magnetization_normalized_vol",
    "total_magnetization_normalized_formula_units",
    "num_magnetic_sites",
    "num_unique_magnetic_sites",
    "universal_anisotropy",
    "homogeneous_poisson",
)
MODULI = {
    f"{letter}_{average}": (f"{name}_modulus", average)
    for letter, name in (("k", "bulk"), ("g", "shear"))
    for average in ("voigt", "reuss", "vrh")
}
KEYS = (*PLAIN, *MODULI)
SUMMARY_FIELDS = (
    "material_id",
    "deprecated",
    "is_stable",
    "symmetry",
    "elements",
    *PLAIN,
    "bulk_modulus",
    "shear_modulus",
)
LONGEST_TEXT = 1_000_000  # characters; the longest description of the Materials Project is far below it


def material_id_of(document: dict[str, Any]) -> str:
    """Id of a document, as `shown_id` spells it.

    Raises
    ------
    RejectedMaterialError
        `Reason.BAD_ID` if there is none or it is not safe as a file name.
    """
    raw = document.get("material_id")
    if not isinstance(raw, str) or not raw:
        raise RejectedMaterialError(
            Reason.BAD_ID, f"material_id is {_shown(raw)}; the Materials Project sends a text"
        )
    return check_id(shown_id(check_id(raw)))


def shown_id(material_id: str) -> str:
    """Spell a material's id as the Materials Project shows it.

    Up to number 3,347,529 with its number (``mp-149`` for ``mp-aaaaaaft``), beyond with eight letters
    (``mp-aaahilze``). What is neither stays as it is.
    """
    from emmet.core.mpid import AlphaID
    from emmet.core.types.typing import ID_PADLEN

    try:
        return str(AlphaID(material_id, padlen=ID_PADLEN).string)
    except ValueError:
        return material_id


def properties_of(document: dict[str, Any]) -> dict[str, float]:
    """Properties of a summary document in house units; what is null or not there is left out.

    Raises
    ------
    RejectedMaterialError
        `Reason.BAD_DOCUMENT` if a value is no finite number.
    """
    found = {key: _number(document.get(key), key) for key in PLAIN}
    for key, (parent, average) in MODULI.items():
        modulus = document.get(parent)
        if modulus is not None and not isinstance(modulus, dict):
            raise _bad(parent, modulus, "voigt, reuss and vrh [GPa]")
        found[key] = _number((modulus or {}).get(average), f"{parent}.{average}")
    return {key: value for key, value in found.items() if value is not None}


def elastic_tensor_of(document: dict[str, Any]) -> list[list[float]] | None:
    """Elastic tensor of an elasticity document; None without one.

    Returns
    -------
    6 x 6 list of float
        [GPa], Voigt notation, in the IEEE orientation of the crystal, whatever cell was used.
    """
    tensor = document.get("elastic_tensor")
    if tensor is None:
        return None
    if not isinstance(tensor, dict):
        raise _bad("elastic_tensor", tensor, "raw and ieee_format")
    rows = tensor.get("ieee_format")
    if rows is None:
        return None
    if not isinstance(rows, list) or [len(row) if isinstance(row, list) else 0 for row in rows] != [6] * 6:
        raise _bad("elastic_tensor.ieee_format", rows, "6 x 6 numbers [GPa]")
    numbers = [[_number(value, "elastic_tensor.ieee_format") for value in row] for row in rows]
    if any(value is None for row in numbers for value in row):
        raise _bad("elastic_tensor.ieee_format", rows, "6 x 6 numbers [GPa]")
    return [[value for value in row if value is not None] for row in numbers]


def text_of(document: dict[str, Any]) -> str | None:
    """Read the description of a robocrystallographer document; None without one."""
    text = document.get("description")
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise _bad("description", text, f"a text of at most {LONGEST_TEXT} characters")
    return text.strip() or None


def dos_task_of(document: dict[str, Any]) -> str | None:
    """Task id of the density of states in an electronic structure document; None without one."""
    dos = document.get("dos")
    if dos is None:
        return None
    if not isinstance(dos, dict):
        raise _bad("dos", dos, "task_id and summary data")
    task = dos.get("task_id")
    if task is None:
        return None
    if not isinstance(task, str):
        raise _bad("dos.task_id", task, "a task id")
    return spellings(task)[0]


def static_tasks_of(document: dict[str, Any], functionals: tuple[str, ...]) -> dict[str, str]:
    """Read the static calculations of a core document: functional by task id, e.g. ``{"mp-1776": "GGA+U"}``.

    Deprecated tasks are left out.
    """
    kinds, deprecated = document.get("calc_types") or {}, document.get("deprecated_tasks") or []
    if not isinstance(kinds, dict):
        raise _bad("calc_types", kinds, "calculation types by task id")
    if not isinstance(deprecated, list):
        raise _bad("deprecated_tasks", deprecated, "a list of task ids")
    wanted = {f"{functional} Static".casefold(): functional for functional in functionals}
    return {
        spellings(task)[0]: wanted[kind.casefold()]
        for task, kind in kinds.items()
        if isinstance(kind, str) and kind.casefold() in wanted and task not in deprecated
    }


def _number(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(what, value, "a finite number")
    return float(value)


def _bad(what: str, came: object, allowed: str) -> RejectedMaterialError:
    return RejectedMaterialError(Reason.BAD_DOCUMENT, f"{what} is {_shown(came)}; it must be {allowed}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
