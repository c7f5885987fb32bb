"""The mp-api client behind one door: asked again when the network fails, and its errors told without the key."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from rhoflow.errors import StudyError
from rhoflow.sources.retries import TRIES, TryAgainError, retry_after, retrying

if TYPE_CHECKING:
    from mp_api.client import MPRester
    from requests import Response

HEARTBEAT_TIMEOUT_S = 20
_STATUS = re.compile(r"error status code (\d{3})")
_PASSWORD = re.compile(r"//[^/\s@]*@")
_WHERE_KEYS_COME_FROM = (
    "get one at https://materialsproject.org/api, then `export MP_API_KEY=...`, or put it as PMG_MAPI_KEY in"
    " pymatgen's settings file (`pmg config --add PMG_MAPI_KEY ...`); never in the config file. To rebuild a"
    " published list of materials takes no key: source.kind: manifest (docs/materials-project.md)"
)


class Client:
    """A connection to the Materials Project.

    Parameters
    ----------
    wait_s : float
        Scale of the backoff between tries [s].

    Attributes
    ----------
    summary, core, tasks, robocrys, elasticity, electronic_structure : BaseRester
        The project's own clients of these routes; they give documents as dicts.
    database_version : str
        Date of the database's release, e.g. ``2025.09.25``.

    Raises
    ------
    StudyError
        If there is no key, it is malformed, or the server cannot be reached.
    """

    def __init__(self, *, wait_s: float) -> None:
        self._wait_s = wait_s
        self._key = read_key()
        self._endpoint = os.environ.get("MP_API_ENDPOINT") or None
        self._seen = threading.local()
        self._rester: MPRester = self._insist("heartbeat", self._open)
        self.database_version = str(self._rester.db_version) or "unknown"
        from mp_api.client.routes.materials.elasticity import ElasticityRester
        from mp_api.client.routes.materials.electronic_structure import ElectronicStructureRester
        from mp_api.client.routes.materials.materials import MaterialsRester
        from mp_api.client.routes.materials.robocrys import RobocrysRester
        from mp_api.client.routes.materials.summary import SummaryRester
        from mp_api.client.routes.materials.tasks import TaskRester

        self.summary, self.core, self.tasks = map(self._route, (SummaryRester, MaterialsRester, TaskRester))
        self.robocrys, self.elasticity = map(self._route, (RobocrysRester, ElasticityRester))
        self.electronic_structure = self._route(ElectronicStructureRester)

    def close(self) -> None:
        """End the connection."""
        self._rester.session.close()

    def ask(self, what: str, request: Callable[[], Any]) -> list[Any]:
        """Return the documents that a request gives; it is sent again while the server or the network fails.

        Parameters
        ----------
        what : str
            What is asked for, for messages.
        request : callable
            Call of a method of one of the clients; it may raise `TryAgainError` on an answer that it doubts.

        Raises
        ------
        StudyError
            If the key is refused, the request is not understood, or `TRIES` tries failed.
        """
        documents: list[Any] = self._insist(what, lambda: _documents(request()))
        return documents

    @property
    def total(self) -> int | None:
        """How many documents fit this thread's last request, on all its pages; None if the server did not say."""
        return getattr(self._seen, "total", None)

    def scrub(self, text: str) -> str:
        """Take the key, and passwords of URLs, out of a text."""
        return _PASSWORD.sub("//***@", text.replace(self._key, "***"))

    def _insist(self, what: str, request: Callable[[], Any]) -> Any:
        try:
            return retrying(self._wait_s)(lambda: self._try(what, request))
        except TryAgainError as error:
            problem = StudyError(
                f"the Materials Project gave no answer to {what} in {TRIES} tries: {error}. Check the network (this"
                " step needs it; compute nodes often have none) and status.materialsproject.org, then run again:"
                " finished pages are kept"
            )
        # Raised out here, so that no exception that may hold a request with its headers is chained to it.
        raise problem

    def _try(self, what: str, request: Callable[[], Any]) -> Any:
        from mp_api.client import MPRestError
        from requests import RequestException

        try:
            return request()
        # The client lets an answer of an unexpected shape fail wherever it first hurts.
        except (
            MPRestError,
            RequestException,
            TryAgainError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            problem = self._explain(what, error)
        raise problem

    def _explain(self, what: str, error: Exception) -> Exception:
        """`TryAgainError` for what may pass, `StudyError` for what will not."""
        from mp_api.client import MPRestError
        from requests import RequestException, exceptions

        # The client tells network errors by their text alone; the error itself is what it was handling.
        cause = error if isinstance(error, RequestException) else error.__context__
        text = self.scrub(str(error))[:500]
        if isinstance(cause, exceptions.InvalidHeader):
            return StudyError(f"the Materials Project's API key cannot be sent; {_WHERE_KEYS_COME_FROM}")
        if isinstance(cause, exceptions.InvalidURL | exceptions.MissingSchema | exceptions.InvalidSchema):
            return StudyError(f"the endpoint of the Materials Project's API (MP_API_ENDPOINT) is no URL: {text}")
        if isinstance(error, TryAgainError):
            return TryAgainError(self.scrub(str(error)), error.after_s)
        if isinstance(cause, RequestException):
            return TryAgainError(f"{type(cause).__name__}: {text}")
        if not isinstance(error, MPRestError):
            return TryAgainError(f"an answer that is no list of documents ({type(error).__name__})")
        status = int(match[1]) if (match := _STATUS.search(text)) else 0
        if status in (401, 403):
            return StudyError(f"the Materials Project refused the API key ({status}); {_WHERE_KEYS_COME_FROM}")
        if status == 429 or status >= 500 or "timed out" in text:
            return TryAgainError(text)
        return StudyError(f"the Materials Project does not answer {what}: {text}")

    def _open(self) -> MPRester:
        import requests
        from mp_api.client import MPRester
        from mp_api.client.core.utils import validate_endpoint

        # The client asks for its heartbeat without any time limit; a server that hangs is found out first.
        answer = requests.get(validate_endpoint(self._endpoint) + "heartbeat", timeout=HEARTBEAT_TIMEOUT_S)
        if answer.status_code == 429 or answer.status_code >= 500:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            raise TryAgainError(f"its heartbeat answers {answer.status_code}", retry_after(headers))
        rester = MPRester(endpoint=self._endpoint, use_document_model=False, mute_progress_bars=True)
        rester.session.hooks["response"].append(self._look_at)
        return rester

    def _route(self, kind: type[Any]) -> Any:
        """Make the client of a route, all with one session.

        `MPRester` has them too, but they work out their fields anew for each field of each request: a second a page.
        """
        quick = type(f"Quick{kind.__name__}", (kind,), {"available_fields": list(kind.document_model.model_fields)})
        return quick(
            endpoint=self._rester.endpoint,
            session=self._rester.session,
            use_document_model=False,
            mute_progress_bars=True,
        )

    def _look_at(self, response: Response, **_: Any) -> None:
        """Refuse a page with fewer documents than the server says it has; the client would take it for the last."""
        self._seen.total = None
        if response.status_code != 200:
            return
        answer = response.json()
        total = answer.get("meta", {}).get("total_doc")
        if not isinstance(total, int):
            return
        self._seen.total = total
        query = dict(parse_qsl(urlsplit(str(response.url)).query))
        limit = int(query.get("_per_page") or query.get("_limit") or total)
        skip = (int(query["_page"]) - 1) * limit if "_page" in query else int(query.get("_skip", 0))
        came, due = len(answer["data"]), max(0, min(limit, total - skip))
        if came < due:
            raise TryAgainError(f"a page with {came} of {due} documents")


def open_dos() -> Any:
    """Open the project's own client of its densities of states: a table in the public bucket, which takes no key."""
    from mp_api.client.routes.materials.electronic_structure import DosRester

    class BucketDos(DosRester):
        """Does not ask the API for its heartbeat, which nothing in the bucket depends on."""

        @staticmethod
        def _get_heartbeat_info(endpoint: str) -> tuple[str, list[str]]:  # type: ignore[override]
            return "", []

    # Given no key, the client looks for the user's, and refuses to start if that is malformed.
    return BucketDos(api_key="0" * 32, use_document_model=False, mute_progress_bars=True)


def quiet_client() -> warnings.catch_warnings:
    """Context in which the client's warnings, whose cases we tell ourselves as errors, are not shown."""
    return warnings.catch_warnings(action="ignore")


def read_key() -> str:
    """Key as mp-api finds it; only looked at, to refuse a bad one early and to keep it out of messages.

    Raises
    ------
    StudyError
        If there is none, or it cannot be one.
    """
    from mp_api.client import MPRestError
    from mp_api.client.core.utils import validate_api_key

    try:
        key = validate_api_key()
    except MPRestError:
        problem = "the Materials Project's API key has not 32 characters"
    else:
        if key and key.isascii() and key.isalnum():
            return key
        problem = "the Materials Project's API key holds characters that no key has" if key else "there is no API key"
    raise StudyError(f"{problem}; the source materials_project needs one: {_WHERE_KEYS_COME_FROM}")


def _documents(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise TypeError
    return answer
