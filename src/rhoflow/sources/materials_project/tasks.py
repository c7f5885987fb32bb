"""Which calculation of a material a density is taken from, and where the bucket keeps it.

The client's own rule (`MPRester.get_charge_density_from_material_id`) is the newest static calculation. It gives up
when that one has no object; here the next newest is tried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.sources.bucket import Absent, Bucket, Head

BUCKET = "materialsproject-parsed"
_TASK = re.compile(r"(?:[a-z]+-)?(?:([0-9]{1,15})|([a-z]{1,12}))")
DENSITIES, AECCARS = "chgcars", ("aeccar0s", "aeccar2s")  # AECCAR1 is not kept there
MOST_TRIED = 20  # static calculations of one material; more is no material of the Materials Project


@dataclass(frozen=True)
class Objects:
    """A calculation's files in the bucket.

    Attributes
    ----------
    task_id, functional : str
        The calculation.
    density : str
        Location of the CHGCAR object.
    head : Head
        Its size and etag.
    aeccars : tuple of (str, Head)
        AECCAR0 and AECCAR2; empty if they were not asked for.
    passed_over : tuple of str
        Newer calculations without the objects.
    """

    task_id: str
    functional: str
    density: str
    head: Head
    aeccars: tuple[tuple[str, Head], ...]
    passed_over: tuple[str, ...]


class RefusedError(RejectedMaterialError):
    """No object was found, and to each question the bucket answered 403: perhaps it shows nobody anything."""


def task_number(task_id: str) -> int:
    """Read the number of a task id in any spelling: ``mp-2680643``, ``mp-aaafwnlr`` and ``aaafwnlr`` are one task.

    Raises
    ------
    RejectedMaterialError
        `Reason.BAD_DOCUMENT` if it is no task id.
    """
    from emmet.core.mpid import AlphaID

    match = _TASK.fullmatch(task_id)
    if match is None:
        detail = f"task id {task_id[:60]!r} is none of the Materials Project's (mp-1776, aaaaacqi)"
        raise RejectedMaterialError(Reason.BAD_DOCUMENT, detail)
    return int(match[1] or AlphaID(match[2]))


def spellings(task_id: str) -> tuple[str, ...]:
    """Names that the bucket may know a task by, the first of which is the task's id wherever rhoflow writes it.

    ``mp-<number>`` up to 3,347,529, where the Materials Project changed to letters; beyond, ``mp-<eight letters>``,
    which is what `MPRester.get_charge_density_from_task_id` asks for when it is given the id as the database writes
    it. Given another spelling it asks for another name; those are the further ones, with the bare letters of the
    newer tables.
    """
    from emmet.core.mpid import AlphaID
    from emmet.core.types.typing import ID_PADLEN, ID_PREFIX

    number = task_number(task_id)
    shown, short = (AlphaID(number, prefix=ID_PREFIX, padlen=length).string for length in (ID_PADLEN, 0))
    return tuple(dict.fromkeys((shown, short, f"{ID_PREFIX}-{number}", str(AlphaID(number, padlen=ID_PADLEN)))))


def newest_first(tasks: Mapping[str, str], updated: Mapping[int, datetime]) -> list[tuple[str, str]]:
    """Sort tasks from the newest to the oldest, by their last update, then by their number.

    Parameters
    ----------
    tasks : mapping of str to str
        Functional by task id.
    updated : mapping of int to datetime
        Last update by task number. A task that is not there is left out, as the client does: the Materials Project
        names it in a material but has no document of it.
    """
    known = [(task_id, functional) for task_id, functional in tasks.items() if task_number(task_id) in updated]
    return sorted(known, key=lambda task: (updated[task_number(task[0])], task_number(task[0])), reverse=True)


def last_update(document: dict[str, Any]) -> tuple[int, datetime] | None:
    """Read number and last update of a task document; None without a number, the oldest time without a time."""
    task_id, stamp = document.get("task_id"), document.get("last_updated")
    if isinstance(stamp, dict):  # as MongoDB writes a time in JSON
        stamp = stamp.get("$date")
    try:
        number = task_number(task_id if isinstance(task_id, str) else "")
    except RejectedMaterialError:
        return None
    try:
        time = datetime.fromisoformat(stamp if isinstance(stamp, str) else "")
        return number, time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return number, datetime.min.replace(tzinfo=UTC)


def find_objects(bucket: Bucket, tasks: list[tuple[str, str]], *, all_electron: bool) -> Objects:
    """Look up the first of some tasks whose objects are all in the bucket.

    Parameters
    ----------
    tasks : list of (str, str)
        Task id and functional, the preferred one first.
    all_electron : bool
        Whether AECCAR0 and AECCAR2 are needed too.

    Raises
    ------
    RejectedMaterialError
        `Reason.NO_DENSITY` (`Reason.NO_FIELD` if only AECCARs are missing) if no task has them, as `RefusedError` if
        the bucket only ever answered 403; `Reason.DOWNLOAD` if the bucket does not answer.
    """
    passed_over: list[str] = []
    absences: list[Absent] = []
    densities = 0
    for task_id, functional in tasks[:MOST_TRIED]:
        for name in spellings(task_id):
            density = _location(DENSITIES, name)
            head = bucket.head(density)
            if isinstance(head, Absent):
                absences.append(head)
                continue
            densities += 1
            aeccars = _aeccars(bucket, name, absences) if all_electron else ()
            if aeccars is not None:
                return Objects(spellings(task_id)[0], functional, density, head, aeccars, tuple(passed_over))
            break
        passed_over.append(spellings(task_id)[0])
    names = ", ".join(passed_over[:3]) + (", ..." if passed_over[3:] else "")
    kind = RefusedError if absences and all(absent.refused for absent in absences) else RejectedMaterialError
    if densities:
        detail = f"no AECCAR0 and AECCAR2 in the bucket for its static calculations ({names}); choose another field"
        raise kind(Reason.NO_FIELD, detail)
    detail = f"no density in the bucket for its static calculations ({names})" if tasks else "no static calculation"
    raise kind(Reason.NO_DENSITY, f"{detail}; other functionals: source.functionals")


def _aeccars(bucket: Bucket, name: str, absences: list[Absent]) -> tuple[tuple[str, Head], ...] | None:
    """Look both files up; what is absent is added to `absences`."""
    heads: list[tuple[str, Head]] = []
    for location in (_location(folder, name) for folder in AECCARS):
        head = bucket.head(location)
        if isinstance(head, Absent):
            absences.append(head)
        else:
            heads.append((location, head))
    return tuple(heads) if len(heads) == len(AECCARS) else None


def _location(folder: str, name: str) -> str:
    return f"s3://{BUCKET}/{folder}/{name}.json.gz"
