"""The REST API, as far as mp-api asks it: routes, query parameters, paging, envelope, errors.

The words and limits are those of emmet-api (query operators, pagination, read_resource) and of the Kong gateway
before it. Light on imports: the server's process starts in a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from fake_mp.wire import Answer, Request, json_answer

Document = dict[str, Any]
MAX_LIMIT = 1000  # documents a page
MAX_IDS = 1000  # ids a query
MAX_ELEMENTS = 60  # characters of a list of elements
DEFAULT_FIELDS = {
    "summary": ("material_id",),
    "core": ("material_id", "formula_pretty", "last_updated"),
    "tasks": ("task_id", "formula_pretty", "last_updated"),
    "robocrys": ("material_id", "last_updated"),
    "elasticity": ("material_id", "formula_pretty"),
    "electronic_structure": ("material_id", "last_updated"),
}
PAGING = {"_fields", "_all_fields", "_limit", "_skip", "_page", "_per_page", "_sort_fields", "id_format"}
COMPOSITION = {"formula", "chemsys", "elements", "exclude_elements"}
SYMMETRY = {"crystal_system", "spacegroup_number", "spacegroup_symbol"}
BATCH = {"license", "batch_id", "batch_id_not_eq", "batch_id_neq_any"}
FLAGS = {"is_stable", "theoretical", "is_gap_direct", "is_metal", "has_reconstructed", "deprecated"}
PARAMETERS = {
    "summary": {"material_ids", "has_props", "ordering", *COMPOSITION, *SYMMETRY, *BATCH, *FLAGS},
    "core": {"material_ids", "task_ids", "deprecated", "license", *COMPOSITION, *SYMMETRY},
    "tasks": {"task_ids", "formula", "elements", "exclude_elements", "last_updated_min", "last_updated_max"},
    "robocrys": {"material_ids"},
    "elasticity": {"material_ids", "chemsys"},
    "electronic_structure": {"material_ids", "magnetic_ordering", "is_gap_direct", "is_metal", *COMPOSITION},
}
SIZE = {"nsites", "nelements", "volume", "density", "density_atomic"}
MODULI = {f"{kind}_{mean}" for kind in "kg" for mean in ("voigt", "reuss", "vrh")}
ENERGIES = {
    f"{kind}_per_atom" for kind in ("uncorrected_energy", "energy", "formation_energy", "equilibrium_reaction_energy")
}
MAGNETISM = {
    *("total_magnetization", "total_magnetization_normalized_vol", "total_magnetization_normalized_formula_units"),
    *("num_magnetic_sites", "num_unique_magnetic_sites"),
}
# fields that take _min and _max
NUMBERS = {
    "summary": {
        *("energy_above_hull", "band_gap", "efermi", "universal_anisotropy", "homogeneous_poisson"),
        *(SIZE | MODULI | ENERGIES | MAGNETISM),
    },
    "core": SIZE,
    "tasks": set(),
    "robocrys": set(),
    "elasticity": MODULI,
    "electronic_structure": {"band_gap", "efermi", "nelements"},
}


class QueryError(Exception):
    """A query that the API refuses."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(status, detail)
        self.answer = json_answer(status, {"detail": detail})


def _unprocessable(name: str, message: str) -> QueryError:
    return QueryError(422, [{"type": "value_error", "loc": ["query", name], "msg": message}])


def number_of(identifier: str) -> int:
    """The number behind an id in any of its spellings: mp-149, 149, aaaaaaft, mp-aaaaaaft."""
    tail = identifier.strip().rsplit("-", 1)[-1]
    if tail.isdigit():
        return int(tail)
    value = 0
    for letter in tail:
        if not "a" <= letter <= "z":
            return -1
        value = 26 * value + ord(letter) - ord("a")
    return value


class Api:
    """Answers requests from documents; needs `api_key` in the header x-api-key, but for the heartbeat.

    Parameters
    ----------
    documents : dict of str to list of dict
        By route (summary, core, tasks, ...), in the database's own order.
    """

    def __init__(self, documents: dict[str, list[Document]], api_key: str, heartbeat: Document) -> None:
        self.documents, self.api_key, self.heartbeat = documents, api_key, heartbeat

    def __call__(self, request: Request) -> Answer:
        if request.path.rstrip("/") == "/heartbeat":
            return json_answer(200, {"status": "OK", "time": _now(), **self.heartbeat})
        key = request.headers.get("x-api-key")
        if not key:
            return json_answer(401, {"message": "No API key found in request"})
        if key != self.api_key:
            return json_answer(401, {"message": "Invalid authentication credentials"})
        route = request.path.strip("/").removeprefix("materials/")
        if route not in self.documents or not request.path.startswith("/materials/"):
            return json_answer(404, {"message": "no Route matched with those values"})
        try:
            return self.search(route, request.query)
        except QueryError as error:
            return error.answer

    def search(self, route: str, query: dict[str, str], *, shift: int = 0) -> Answer:
        """A page of the documents that fit; `shift`: so many documents earlier (a fault)."""
        _check_names(route, query)
        found = [document for document in self.documents[route] if _visible(document, query)]
        for name, value in query.items():
            if name not in PAGING:
                fits = _filter(route, name, value)
                found = [document for document in found if fits(document)]
        if route == "summary" and "material_ids" in query and "_sort_fields" not in query:
            order = {number_of(one): i for i, one in enumerate(query["material_ids"].split(","))}
            found.sort(key=lambda document: order[number_of(document["material_id"])])
        if sort := query.get("_sort_fields"):
            name = sort.removeprefix("-")
            found.sort(key=lambda document: (_value(document, name) is None, _value(document, name)))
            if sort.startswith("-"):
                found.reverse()
        start, limit = _page(query)
        start = max(0, start - shift)
        meta = {
            "api_version": self.heartbeat["version"],
            "time_stamp": _now(),
            "total_doc": len(found),
            "max_limit": MAX_LIMIT,
            "default_fields": list(DEFAULT_FIELDS[route]),
        }
        page = [_project(route, document, query) for document in found[start : start + limit]]
        return json_answer(200, {"data": page, "meta": meta})


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


def _check_names(route: str, query: dict[str, str]) -> None:
    numbers = {f"{name}_{end}" for name in NUMBERS[route] for end in ("min", "max")}
    unknown = [name for name in query if name not in PAGING | PARAMETERS[route] | numbers]
    if unknown:
        raise QueryError(400, f"Request contains query parameters which cannot be used: {', '.join(unknown)}")


def _visible(document: Document, query: dict[str, str]) -> bool:
    """Deprecated documents only on request, those of controlled access (GNoME) never: nobody agreed to them."""
    if (document.get("builder_meta") or {}).get("license") == "BY-NC":
        return False
    return "deprecated" in query or not document.get("deprecated")


def _filter(route: str, name: str, value: str) -> Callable[[Document], bool]:
    """The condition that a query parameter stands for."""
    if name in ("material_ids", "task_ids"):
        return _ids(route, name, value)
    if name in ("elements", "exclude_elements"):
        return _elements(name, value)
    if name in FLAGS:
        flag = _boolean(name, value)
        return lambda document: document.get(name) is flag
    if name.endswith(("_min", "_max")):
        return _limit(name, value)
    if name in SYMMETRY:
        return _symmetry(name, value)
    if name == "has_props":
        wanted = [prop.strip() for prop in value.split(",")]
        return lambda document: all((document.get("has_props") or {}).get(prop) for prop in wanted)
    if name in BATCH:
        return _batch(name, value)
    key = {"formula": "formula_pretty"}.get(name, name)
    return lambda document: document.get(key) in value.split(",")


def _ids(route: str, name: str, value: str) -> Callable[[Document], bool]:
    numbers = {number_of(one) for one in value.split(",")}
    if value.count(",") >= MAX_IDS:
        raise _unprocessable(name, f"List should have at most {MAX_IDS} items after validation")
    if name == "material_ids":
        return lambda document: number_of(document["material_id"]) in numbers
    if route == "tasks":
        return lambda document: number_of(document["task_id"]) in numbers
    return lambda document: any(number_of(task) in numbers for task in document["task_ids"])


def _elements(name: str, value: str) -> Callable[[Document], bool]:
    if len(value) > MAX_ELEMENTS:
        raise _unprocessable(name, f"String should have at most {MAX_ELEMENTS} characters")
    wanted = {one.strip() for one in value.split(",")}
    if name == "elements":
        return lambda document: wanted <= set(document["elements"])
    return lambda document: not wanted & set(document["elements"])


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise _unprocessable(name, "Input should be a valid boolean, unable to interpret input")
    return value.lower() in ("true", "1")


def _limit(name: str, value: str) -> Callable[[Document], bool]:
    key, end = name.rsplit("_", 1)
    if key == "last_updated":
        limit: Any = _instant(value)
        read: Callable[[Any], Any] = _instant
    else:
        try:
            limit, read = float(value), float
        except ValueError:
            raise _unprocessable(name, "Input should be a valid number, unable to parse string as a number") from None

    def fits(document: Document) -> bool:
        found = _value(document, key)
        if found is None:
            return False
        return bool(read(found) >= limit if end == "min" else read(found) <= limit)

    return fits


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _symmetry(name: str, value: str) -> Callable[[Document], bool]:
    if name == "spacegroup_number":
        if not value.isdigit():  # one number only, so says emmet-api; the client asks for each of a list
            raise _unprocessable(name, "Input should be a valid integer, unable to parse string as an integer")
        return lambda document: document["symmetry"]["number"] == int(value)
    if name == "spacegroup_symbol":
        return lambda document: document["symmetry"]["symbol"] == value
    return lambda document: document["symmetry"]["crystal_system"].lower() == value.lower()


def _batch(name: str, value: str) -> Callable[[Document], bool]:
    if name == "license":
        return lambda document: document["builder_meta"]["license"] == value
    if name == "batch_id":
        return lambda document: document["builder_meta"]["batch_id"] == value
    return lambda document: document["builder_meta"]["batch_id"] not in value.split(",")


def _page(query: dict[str, str]) -> tuple[int, int]:
    try:
        numbers = {name: int(query[name]) for name in ("_page", "_per_page", "_skip", "_limit") if name in query}
    except ValueError:
        raise _unprocessable("_limit", "Input should be a valid integer") from None
    limit = numbers.get("_per_page" if "_page" in numbers else "_limit", 100)
    if limit > MAX_LIMIT:
        detail = "Requested more data per query than allowed by this endpoint."
        raise QueryError(400, f"{detail} The max limit is {MAX_LIMIT} entries")
    if min(numbers.values(), default=0) < 0:
        raise QueryError(400, "Cannot request negative _skip or _limit values")
    if "_page" in numbers:
        return max(0, numbers["_page"] - 1) * limit, limit
    return numbers.get("_skip", 0), limit


def _value(document: Document, key: str) -> Any:
    """A field; an elastic modulus lies one level deeper."""
    if key in MODULI:
        kind = "bulk_modulus" if key[0] == "k" else "shear_modulus"
        return (document.get(kind) or {}).get(key[2:])
    return document.get(key)


def _project(route: str, document: Document, query: dict[str, str]) -> Document:
    if _boolean("_all_fields", query.get("_all_fields", "false")):
        return document
    fields: Iterable[str] = DEFAULT_FIELDS[route]
    if "_fields" in query:
        fields = query["_fields"].split(",")
    chosen: Document = {}
    for name in fields:
        _copy(document, chosen, name.split("."))
    return chosen


def _copy(source: Document, target: Document, path: list[str]) -> None:
    """Copy a field, perhaps of a sub-document, as MongoDB projects it."""
    if path[0] not in source:
        return
    if len(path) == 1 or not isinstance(source[path[0]], dict):
        target[path[0]] = source[path[0]]
    else:
        _copy(source[path[0]], target.setdefault(path[0], {}), path[1:])


def load(text: bytes) -> dict[str, list[Document]]:
    return json.loads(text)  # type: ignore[no-any-return]
