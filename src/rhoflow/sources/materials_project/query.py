"""Ask the Materials Project once, and write all that it says of a study's materials into one file.

Two passes. The first finds the materials: pages of summary documents, with the 25 properties. The second goes
through their sorted ids in batches and asks what no summary holds: the static calculations, which of them has a
density in the bucket, and the elastic tensor, the description and the density of states where the material has them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rhoflow.config import MaterialsProjectSource
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.progress import track
from rhoflow.sources.bucket import Bucket
from rhoflow.sources.materials_project.client import Client, quiet_client
from rhoflow.sources.materials_project.details import Details
from rhoflow.sources.materials_project.documents import SUMMARY_FIELDS, material_id_of, properties_of
from rhoflow.sources.materials_project.pages import Pages, Row
from rhoflow.sources.materials_project.selection import LATTICES, Search, misfit, read_ids, searches
from rhoflow.sources.materials_project.snapshot import write_lines
from rhoflow.sources.retries import WAIT_S, TryAgainError

PAGE = 1000  # the most that the server gives at once
BATCH = 400
BATCHES_AT_ONCE = 4  # the project asks for at most 25 requests a second
HEADS_A_CONNECTION = 4  # a HEAD is nothing beside a download


def write_snapshot(
    source: MaterialsProjectSource,
    snapshot: Path,
    cache: Path,
    *,
    all_electron: bool,
    dos: bool,
    wait_s: float = WAIT_S,
) -> None:
    """Write what the Materials Project says of the materials of a study (see `snapshot.read_snapshot`).

    Parameters
    ----------
    source : MaterialsProjectSource
        The section ``source``.
    snapshot : Path
        ``catalog/materials_project.jsonl.gz``.
    cache : Path
        Folder for finished pages, which a second call does not ask for again; deleted at the end.
    all_electron : bool
        Whether AECCAR0 and AECCAR2 are needed.
    dos : bool
        Whether densities of states are needed.
    wait_s : float
        Scale of the backoff between tries [s].

    Raises
    ------
    StudyError
        If there is no key or no network, no material is selected, or the selection makes no sense.
    """
    ids = read_ids(source)
    asked = searches(source, ids)
    with quiet_client(), _full_disk_told(cache), contextlib.closing(Client(wait_s=wait_s)) as client:
        selection = _selection(source, ids) | {"all_electron": all_electron, "dos": dos}
        pages = Pages(cache, {"database_version": client.database_version, "selection": selection, "format": 2})
        found = _find(client, pages, source, asked, explicit=bool(ids))
        places = pages.places([*found, *_note_unknown(pages, found, ids, client.database_version)])
        chosen = sorted(places)[: source.limit]
        _check_some_left(pages, found, places, chosen, client.database_version)
        connections = min(32, HEADS_A_CONNECTION * source.connections)
        with _threads(connections) as heads:
            bucket = Bucket(connections=connections, wait=wait_s)
            details = Details(client, bucket, heads, source, all_electron=all_electron, dos=dos)
            batches = _complete(details, pages, [places[material_id] for material_id in chosen])
        header = {
            "database_version": client.database_version,
            "selection": selection,
            "lattice": LATTICES[source.lattice],
            "n": len(chosen),
            "n_rejected": sum(_facts(pages, name)["n_rejected"] for name in batches),
            "left_out": sum(_facts(pages, name)["left_out"] for name in found),
        }
        write_lines(snapshot, header, (row for name in batches for row in pages.rows(name)))
        pages.forget()


def _selection(source: MaterialsProjectSource, ids: tuple[str, ...]) -> dict[str, Any]:
    """Collect the settings that the answers depend on; a list of ids by its number and hash."""
    settings = source.model_dump(mode="json", exclude={"kind", "ids", "connections", "keep_downloads"})
    if ids:
        settings["ids"] = {"n": len(ids), "sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest()}
    return settings


def _find(
    client: Client, pages: Pages, source: MaterialsProjectSource, asked: list[Search], *, explicit: bool
) -> list[str]:
    """Ask for all pages of the searches that are not there yet; return the pages' names."""
    names: list[str] = []
    for number, search in enumerate(track(asked, total=len(asked), what="query: searches")):
        known: set[str] = set()
        for page in itertools.count(1):
            name = f"found/{number:04d}-{page:04d}"
            if pages.facts(name) is None:
                documents = _ask_page(client, search, page, known)
                _keep_page(pages, name, documents, client.total, source, explicit=explicit)
            facts = _facts(pages, name)
            names.append(name)
            known.update(facts["ids"])
            if page * PAGE >= facts["total"]:
                break
    return names


def _ask_page(client: Client, search: Search, page: int, known: set[str]) -> list[Any]:
    """Ask for a page of summary documents; one that repeats materials of the pages before is asked for again."""

    def request() -> Any:
        documents = client.summary.search(
            **search, fields=list(SUMMARY_FIELDS), chunk_size=PAGE, _page=page, _sort_fields="material_id"
        )
        ids = _ids(documents)
        repeated = len(ids) - len(set(ids) - known)
        if repeated:
            raise TryAgainError(f"a page with {repeated} materials of the pages before")
        return documents

    return client.ask(f"page {page} of its materials", request)


def _keep_page(
    pages: Pages,
    name: str,
    documents: list[Any],
    total: int | None,
    source: MaterialsProjectSource,
    *,
    explicit: bool,
) -> None:
    """Keep the rows of a page, and how many documents the search has on all its pages."""
    rows = [_row(document, source, f"document {n} of {name}", explicit) for n, document in enumerate(documents)]
    kept = [row for row in rows if row is not None]
    if total is None:  # then a page that is not full is the last
        total = int(name[-4:]) * PAGE + (len(documents) == PAGE)
    pages.write(name, {"total": total, "left_out": len(rows) - len(kept), "ids": _ids(documents)}, kept)


def _ids(documents: list[Any]) -> list[str]:
    """Collect the ids of documents as they came; what is no document or has no id has none."""
    ids = (document.get("material_id") for document in documents if isinstance(document, dict))
    return [material_id for material_id in ids if isinstance(material_id, str)]


def _row(document: Any, source: MaterialsProjectSource, place: str, explicit: bool) -> Row | None:
    """``{"id", "properties"}`` of a summary document, or ``{"id", "rejected"}``; None if it is not selected."""
    if not isinstance(document, dict):
        return _rejected(place, Reason.BAD_DOCUMENT, f"{str(document)[:60]!r} is no document")
    name = document.get("material_id")
    try:
        name = material_id_of(document)
        properties = properties_of(document)
    except RejectedMaterialError as error:
        return _rejected(str(name)[:100] if name else place, error.reason, error.detail)
    problem = misfit(source, document, properties)
    if problem is None:
        return {"id": name, "properties": properties}
    return _rejected(name, Reason.NOT_SELECTED, problem) if explicit else None


def _note_unknown(pages: Pages, found: list[str], ids: tuple[str, ...], version: str) -> list[str]:
    """Keep a page of rejections of the listed ids that no document came for; return its name, if any."""
    unknown = sorted(set(ids) - pages.places(found).keys())
    if not unknown:
        return []
    detail = (
        f"database {version} of the Materials Project has no such material; it may have been merged into another:"
        " look it up on https://materialsproject.org and correct source.ids"
    )
    rows = [_rejected(material_id, Reason.UNKNOWN_ID, detail) for material_id in unknown]
    pages.write("found/unknown", {"left_out": 0}, rows)
    return ["found/unknown"]


def _check_some_left(
    pages: Pages, found: list[str], places: dict[str, tuple[str, int]], chosen: list[str], version: str
) -> None:
    """Stop when no material is left to look up; nothing is kept then, so that another try asks anew."""
    reasons: list[str] = []
    for material_id in chosen:
        row = pages.row_at(places[material_id])
        if "rejected" not in row:
            return
        if len(reasons) < 3:
            reasons.append(f"\n  {material_id}: {row['rejected']['detail']}")
    left_out = sum(_facts(pages, name)["left_out"] for name in found)
    pages.forget()
    raise StudyError(
        f"source: database {version} of the Materials Project has no material that meets it"
        + (f" ({left_out} were looked at)" if left_out else "")
        + "; loosen stable, lattice, elements, ranges or complete, or correct ids"
        + "".join(reasons)
    )


def _complete(details: Details, pages: Pages, places: list[tuple[str, int]]) -> list[str]:
    """Complete the rows at some places in batches; return the names of the batches' pages, in order."""
    batches = {
        f"complete/{number:05d}": places[start : start + BATCH]
        for number, start in enumerate(range(0, len(places), BATCH))
    }

    rejected: dict[str, int] = {}

    def do(name: str) -> int:
        if pages.facts(name) is None:
            rows = details.complete([pages.row_at(place) for place in batches[name]])
            pages.write(name, {"n_rejected": sum("rejected" in row for row in rows)}, rows)
        rejected[name] = _facts(pages, name)["n_rejected"]
        return len(batches[name])

    with _threads(BATCHES_AT_ONCE) as pool:
        done = (None for n in pool.map(do, batches) for _ in range(n))
        for _ in track(done, total=len(places), what="query: materials", rejected=lambda: sum(rejected.values())):
            pass
    return list(batches)


def _facts(pages: Pages, name: str) -> dict[str, Any]:
    facts = pages.facts(name)
    assert facts is not None, name
    return facts


def _rejected(material_id: str, reason: Reason, detail: str) -> Row:
    return {"id": material_id, "rejected": {"reason": reason.value, "detail": detail}}


@contextlib.contextmanager
def _threads(n: int) -> Iterator[ThreadPoolExecutor]:
    """Pool of threads that forgets what it has not begun when something fails, instead of finishing it first."""
    pool = ThreadPoolExecutor(n)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _full_disk_told(cache: Path) -> Iterator[None]:
    """Say what to do when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StudyError(
            f"{cache}: the disk is full; free some space, then run again: finished pages are kept"
        ) from error
