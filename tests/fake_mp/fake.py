"""Start the fake Materials Project and ask it what happened."""

from __future__ import annotations

import atexit
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from fake_mp.faults import Fault, as_json, plan_faults

if TYPE_CHECKING:
    import pytest

    from fake_mp.world import Expected, Material, Task

TESTS = Path(__file__).resolve().parents[1]
API_KEY = "0123456789abcdefFAKE0123456789ab"  # 32 characters, as the client demands; opens nothing
CONTROLLED_BATCH = "gnome_r2scan_statics"


class FakeMaterialsProject:
    """A context manager that runs the API and the bucket in a process of their own.

    Parameters
    ----------
    n : int
        Materials.
    faults : mapping of str to Fault, or float
        By key: an object's key ``chgcars/mp-123.json.gz`` (``HEAD <key>`` for HEAD requests; `*` matches any), or a
        path of the API ``/materials/summary/`` or ``/materials/summary/?_skip=100``. A number is a share of the
        materials, for `plan_faults`.
    seed : int
        Of the materials and of the plan.
    ids : str
        How the API writes ids: `alpha` as its database stores them (mp-aaaaaaft, tasks aaaaaaft), or `legacy`
        (mp-149).
    slow : float
        Seconds that a slow answer pauses.
    """

    def __init__(
        self,
        n: int = 200,
        faults: Mapping[str, Fault] | float = 0.0,
        seed: int = 0,
        *,
        ids: Literal["alpha", "legacy"] = "alpha",
        slow: float = 3.0,
    ) -> None:
        self.n, self.seed, self.ids, self.slow = n, seed, ids, slow
        self._published = publish(n, seed)
        self.materials: list[Material] = self._published.materials
        self.faults = faults if isinstance(faults, Mapping) else plan_faults(self.materials, faults, seed)
        self.api_key = API_KEY
        self.endpoint = self.s3_endpoint = ""

    def __enter__(self) -> Self:
        settings = {
            "objects": str(self._published.objects),
            "documents": str(self._published.documents(self.ids)),
            "api_key": self.api_key,
            "heartbeat": heartbeat(),
            "faults": as_json(self.faults),
            "slow": self.slow,
        }
        self._folder = tempfile.TemporaryDirectory()
        (Path(self._folder.name) / "server.json").write_text(json.dumps(settings))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fake_mp.server", self._folder.name],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake Materials Project did not start (exit code {self._process.wait()})")
        endpoint, self.s3_endpoint = json.loads(line)
        self.endpoint = f"{endpoint}/"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # ends its standard input, and so the process
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """Environment variables that lead the real clients of a subprocess here: mp-api, boto3, delta-rs."""
        return {
            "MP_API_ENDPOINT": self.endpoint,
            "MP_API_KEY": self.api_key,
            "MPRESTER_MUTE_PROGRESS_BARS": "true",
            "AWS_ENDPOINT_URL": self.s3_endpoint,  # delta-rs reads this one
            "AWS_ENDPOINT_URL_S3": self.s3_endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def activate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lead this process's clients here (mp-api reads its end point once, when it is imported)."""
        from mp_api.client.core import settings, utils

        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)
        for module in (settings, utils):
            monkeypatch.setattr(module.MAPI_CLIENT_SETTINGS, "ENDPOINT", self.endpoint)

    def __getitem__(self, material_id: str) -> Material:
        """A material by its id, however that is written."""
        from fake_mp.api import number_of

        return next(material for material in self.materials if material.number == number_of(material_id))

    def expected(self, material_id: str, functionals: tuple[str, ...] = ("GGA", "GGA+U")) -> Expected:
        """What becomes of a material: the task whose object is taken, or None, and newer ones that are not there."""
        gone = {key for key, fault in self.faults.items() if fault.kind == "absent" and fault.times is None}
        return self[material_id].expected(functionals, frozenset(gone))

    def object(self, key: str) -> bytes:
        """An object as it is without faults."""
        return (self._published.objects / key).read_bytes()

    def sha256(self, task: Task) -> str:
        return hashlib.sha256(self.object(task.key)).hexdigest()

    def order(self, faults: Mapping[str, Fault]) -> None:
        """Change the faults; the log and all counts start again."""
        self.faults = dict(faults)
        self._ask("order", json.dumps(as_json(faults)).encode())

    def log(self) -> list[dict[str, Any]]:
        """All requests since start or `order`: service, method, path, key, query, status, fault, sent, complete."""
        return json.loads(self._ask("log"))  # type: ignore[no-any-return]

    def fetched(self) -> Counter[str]:
        """How often each object was sent whole and sound."""
        return Counter(
            entry["key"]
            for entry in self.log()
            if entry["service"] == "s3" and entry["method"] == "GET" and entry["status"] == 200
            if entry["complete"] and entry["fault"] in (None, "multipart")
        )

    def happened(self) -> Counter[tuple[str, str]]:
        """How often each fault really struck: by key (an object's, a path of the API) and kind."""
        return Counter((entry["key"], entry["fault"]) for entry in self.log() if entry["fault"])

    def most_at_once(self) -> int:
        """Most downloads of densities at the same time."""
        spans = [entry for entry in self.log() if entry["service"] == "s3" and entry["method"] == "GET"]
        spans = [entry for entry in spans if entry["key"].startswith("chgcars/") and entry["ended"]]
        steps = [(entry["began"], 1) for entry in spans] + [(entry["ended"], -1) for entry in spans]
        return max(itertools.accumulate(step for _, step in sorted(steps)), default=0)

    def _ask(self, what: str, body: bytes | None = None) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.endpoint}__fake__/{what}", body, timeout=30) as response:
            return response.read()  # type: ignore[no-any-return]


def heartbeat() -> dict[str, Any]:
    from emmet.core import __version__

    from fake_mp.world import DATABASE_VERSION

    return {
        "version": __version__,
        "db_version": DATABASE_VERSION,
        "suffix": "",
        "access_controlled_batch_ids": [CONTROLLED_BATCH],
    }


class Published:
    """Materials with their documents, and their objects in a folder that goes when the process ends."""

    def __init__(self, n: int, seed: int) -> None:
        from fake_mp.bucket import write_bucket
        from fake_mp.documents import describe
        from fake_mp.world import make_world

        self._folder = Path(tempfile.mkdtemp(prefix="fake_mp_"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self.objects = self._folder / "objects"
        self.materials = make_world(n, seed)
        with warnings.catch_warnings():
            # emmet calls spglib in its old way
            warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
            for material in self.materials:
                describe(material)
        write_bucket(self.materials, self.objects)

    def documents(self, ids: str) -> Path:
        """File with the API's documents by route, ids written in one of the two ways."""
        from fake_mp.documents import ROUTES, legacy_ids, task_document

        path = self._folder / f"documents.{ids}.json"
        if not path.exists():
            found = {
                route: [material.documents[route] for material in self.materials if route in material.documents]
                for route in ROUTES
            }
            found["tasks"] = [
                task_document(task, material)
                for material in self.materials
                for task in material.tasks
                if material.role != "no_task_documents"
            ]
            if ids == "legacy":
                found = {route: [legacy_ids(document) for document in some] for route, some in found.items()}
            path.write_text(json.dumps(found))
        return path


@cache
def publish(n: int, seed: int) -> Published:
    """Make the materials; once a process, for it takes seconds."""
    return Published(n, seed)
