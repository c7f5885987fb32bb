"""What no summary document holds: calculations, densities, elastic tensors, descriptions, densities of states."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from rhoflow.config import MaterialsProjectSource
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.sources.bucket import Bucket
from rhoflow.sources.materials_project.client import Client
from rhoflow.sources.materials_project.documents import (
    MODULI,
    dos_task_of,
    elastic_tensor_of,
    material_id_of,
    static_tasks_of,
    text_of,
)
from rhoflow.sources.materials_project.pages import Row
from rhoflow.sources.materials_project.tasks import Objects, RefusedError, find_objects, last_update, newest_first

TASKS_AT_ONCE = 100  # the client sends each id in two spellings, and the server gives at most so many tasks
REFUSALS = 20  # materials in a row to which the bucket answered 403 alone: then it refuses, and lacks nothing
Value = TypeVar("Value")
Found = dict[str, Value | RejectedMaterialError]


class Details:
    """Completes rows that hold a material's id and properties.

    Parameters
    ----------
    client : Client
        The connection.
    bucket : Bucket
        Where the densities are.
    heads : Executor
        Runs the questions to the bucket.
    source : MaterialsProjectSource
        Which functionals, and whose descriptions.
    all_electron, dos : bool
        Whether AECCARs and densities of states are needed.
    """

    def __init__(
        self,
        client: Client,
        bucket: Bucket,
        heads: Executor,
        source: MaterialsProjectSource,
        *,
        all_electron: bool,
        dos: bool,
    ) -> None:
        self._client, self._bucket, self._heads, self._source = client, bucket, heads, source
        self._all_electron, self._dos = all_electron, dos

    def complete(self, rows: list[Row]) -> list[Row]:
        """Look up a batch of rows; rejected ones stay as they are.

        Parameters
        ----------
        rows : list of dict
            ``{"id", "properties"}`` or ``{"id", "rejected"}``.

        Returns
        -------
        list of dict
            Lines of the snapshot (see `snapshot.read_snapshot`), in the same order.

        Raises
        ------
        StudyError
            If the Materials Project or the bucket does not answer at all.
        """
        ids = [row["id"] for row in rows if "rejected" not in row]
        elastic = [row["id"] for row in rows if MODULI.keys() & row.get("properties", {}).keys()]
        objects = self._objects(self._ordered_tasks(ids))
        wants_text = self._source.descriptions == "materials_project"
        texts = self._ask(
            "descriptions", self._client.robocrys.search_docs, ids if wants_text else [], "description", text_of
        )
        tensors = self._ask(
            "elastic tensors", self._client.elasticity.search, elastic, "elastic_tensor", elastic_tensor_of
        )
        states = self._ask(
            "densities of states",
            self._client.electronic_structure.search,
            ids if self._dos else [],
            "dos.task_id",
            dos_task_of,
        )
        return [row if "rejected" in row else _line(row, objects[row["id"]], texts, tensors, states) for row in rows]

    def _ask(
        self, what: str, search: Callable[..., Any], ids: list[str], field: str, read: Callable[[Row], Value]
    ) -> Found[Value]:
        """Read a field of the documents of some materials; a bad document gives its error as the value."""
        if not ids:
            return {}
        fields = ["material_id", *field.split(",")]
        found: Found[Value] = {}
        for document in _dicts(self._client.ask(what, lambda: search(material_ids=ids, fields=fields))):
            try:
                material_id = material_id_of(document)
            except RejectedMaterialError:
                continue  # a document of nobody; who is missing one has no value
            try:
                value: Value | RejectedMaterialError = read(document)
            except RejectedMaterialError as error:
                value = error
            found.setdefault(material_id, value)
        return found

    def _ordered_tasks(self, ids: list[str]) -> Found[list[tuple[str, str]]]:
        """List the static calculations of each material (task id, functional), the newest first."""
        functionals = self._source.functionals
        statics = self._ask(
            "calculations",
            self._client.core.search,
            ids,
            "calc_types,deprecated_tasks",
            lambda document: static_tasks_of(document, functionals),
        )
        named = [task for tasks in statics.values() if isinstance(tasks, dict) for task in tasks]
        updated: dict[int, datetime] = {}
        for start in range(0, len(named), TASKS_AT_ONCE):
            names = named[start : start + TASKS_AT_ONCE]
            search = partial(self._client.tasks.search, task_ids=names, fields=["task_id", "last_updated"])
            documents = self._client.ask("tasks", search)
            updated.update(found for document in _dicts(documents) if (found := last_update(document)))
        nothing = RejectedMaterialError(
            Reason.BAD_DOCUMENT, "the Materials Project sent no document of its calculations; run the query again"
        )
        return {
            material_id: tasks if isinstance(tasks, RejectedMaterialError) else newest_first(tasks, updated)
            for material_id, tasks in ((material_id, statics.get(material_id, nothing)) for material_id in ids)
        }

    def _objects(self, tasks: Found[list[tuple[str, str]]]) -> Found[Objects]:
        """Look the tasks up in the bucket, many at a time."""
        found = dict(zip(tasks, self._heads.map(self._find, tasks.values()), strict=True))
        silent = [material_id for material_id, objects in found.items() if _no_answer(objects)]
        _check_not_refused(found)
        if not silent:
            return found
        # Either the bucket does not answer, which must not cost materials, or it does not answer for these objects.
        found.update(
            zip(silent, self._heads.map(self._find, [tasks[material_id] for material_id in silent]), strict=True)
        )
        if all(_no_answer(objects) for objects in found.values()):
            raise StudyError(
                f"the bucket of densities does not answer: {found[silent[0]]}. Check the network, then run again:"
                " finished pages are kept"
            )
        return found

    def _find(self, tasks: list[tuple[str, str]] | RejectedMaterialError) -> Objects | RejectedMaterialError:
        if isinstance(tasks, RejectedMaterialError):
            return tasks
        try:
            return find_objects(self._bucket, tasks, all_electron=self._all_electron)
        except RejectedMaterialError as error:
            return error


def _dicts(documents: list[Any]) -> list[dict[str, Any]]:
    return [document for document in documents if isinstance(document, dict)]


def _no_answer(objects: Objects | RejectedMaterialError) -> bool:
    return isinstance(objects, RejectedMaterialError) and objects.reason is Reason.DOWNLOAD


def _check_not_refused(found: Found[Objects]) -> None:
    """Stop where the bucket shows nobody anything, which looks like materials without a density."""
    in_a_row = 0
    for material_id, objects in found.items():
        in_a_row = in_a_row + 1 if isinstance(objects, RefusedError) else 0
        if in_a_row == REFUSALS:
            raise StudyError(
                f"the bucket of densities answers 403 to all questions about {REFUSALS} materials in a row, the last"
                f" {material_id} ({objects}). A proxy or the bucket refuses access: look at HTTPS_PROXY and"
                " AWS_ENDPOINT_URL_S3, then run again: finished pages are kept. If these materials really have no"
                " density, leave them out of the selection"
            )


def _line(
    row: Row,
    objects: Objects | RejectedMaterialError,
    texts: Found[str | None],
    tensors: Found[list[list[float]] | None],
    states: Found[str | None],
) -> Row:
    """Line of a material, or its rejection if any of its documents is bad."""
    text, tensor, dos_task = (found.get(row["id"]) for found in (texts, tensors, states))
    for value in (objects, text, tensor, dos_task):
        if isinstance(value, RejectedMaterialError):
            return {"id": row["id"], "rejected": {"reason": value.reason.value, "detail": value.detail}}
    assert isinstance(objects, Objects)
    return {
        **row,
        "elastic_tensor": tensor,
        "text": text,
        "task_id": objects.task_id,
        "functional": objects.functional,
        "density": objects.density,
        "bytes": objects.head.size,
        "etag": objects.head.etag,
        "aeccar": [location for location, _ in objects.aeccars] or None,
        "aeccar_bytes": [head.size for _, head in objects.aeccars] or None,
        "aeccar_etags": [head.etag for _, head in objects.aeccars] or None,
        "passed_over": list(objects.passed_over),
        "dos_task": dos_task,
    }
