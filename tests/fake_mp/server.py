"""The fake's own process: ``python -m fake_mp.server <folder>`` serves the API and the bucket described there.

A process of its own, because delta-rs holds Python's lock while it reads a table: a server in the same process would
never answer it.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import get_canned_acl, s3_backends

from fake_mp.api import Api, load
from fake_mp.faults import ETAG, LATER, OBJECT, STATUS, Fault
from fake_mp.wire import Answer, Log, Request, Server, json_answer, without_body

BUCKET = "materialsproject-parsed"
ACCOUNT = "123456789012"  # moto's own
S3_CODES = {
    "429": "TooManyRequests",
    "500": "InternalError",
    "502": "BadGateway",
    "503": "SlowDown",
    "504": "Timeout",
}


class Bucket:
    """moto's S3 with public objects, answered to through faults."""

    def __init__(self, folder: Path, faults: dict[str, Fault], log: Log) -> None:
        self.faults, self.log = faults, log
        backend = s3_backends[ACCOUNT]["aws"]
        backend.create_bucket(BUCKET, "us-east-1")
        acl = get_canned_acl("public-read")
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = backend.put_object(BUCKET, path.relative_to(folder).as_posix(), path.read_bytes())
            key.set_acl(acl)
        self._app = create_backend_app("s3")

    def __call__(self, request: Request) -> tuple[Answer, str | None, str]:
        key = request.path.removeprefix(f"/{BUCKET}").lstrip("/")
        name = key if request.method == "GET" else f"{request.method} {key}"
        served = self.log.count(name)
        found = self._fault(name)
        if found is None and request.method == "HEAD":  # a rotten object is rotten for HEAD too
            content = self._fault(key)
            found = content if content is not None and content.kind in (*OBJECT, *ETAG) else None
        if found is None or not found.strikes(served):
            return self._stored(request), None, name
        if found.kind in STATUS:
            return _refusal(found), found.kind, name
        if found.kind in (*OBJECT, *LATER, *ETAG):
            return self._altered(request, found.kind), found.kind, name
        return self._stored(request), found.kind, name

    def _fault(self, name: str) -> Fault | None:
        if name in self.faults:
            return self.faults[name]
        return next((fault for key, fault in self.faults.items() if fnmatch.fnmatchcase(name, key)), None)

    def _stored(self, request: Request) -> Answer:
        response = self._app.test_client().open(
            request.target,
            method=request.method,
            headers=[(name, value) for name, value in request.headers.items() if name != "content-length"],
            data=request.body,
            base_url=f"http://{request.headers['host']}",
        )
        headers = {name: value for name, value in response.headers.items() if name.lower() != "connection"}
        return Answer(response.status_code, headers, response.get_data())

    def _altered(self, request: Request, kind: str) -> Answer:
        """An object with something wrong in it, to HEAD and GET alike."""
        whole = Request("GET", request.path, {}, request.headers | {"range": ""}, b"", request.target)
        stored = self._stored(whole)
        if kind == "refused":
            answer = _s3_error(403, "AccessDenied", "Access Denied")
            return without_body(answer) if request.method == "HEAD" else answer
        if kind == "absent" or stored.status != 200:
            answer = _s3_error(404, "NoSuchKey", "The specified key does not exist.")
            return without_body(answer) if request.method == "HEAD" else answer
        body = stored.body if kind == "multipart" else _rotten(stored.body, kind)
        etag = hashlib.md5(body).hexdigest() + ("-2" if kind == "multipart" else "")
        told = ("content-length", "etag")  # by us
        headers = {name: value for name, value in stored.headers.items() if name.lower() not in told}
        answer = Answer(200, headers | {"ETag": f'"{etag}"'}, body)
        if request.method == "HEAD":
            return without_body(answer)
        return _part(answer, request.headers.get("range", ""))


def _rotten(body: bytes, kind: str) -> bytes:
    if kind == "truncated_gzip":
        return body[: len(body) * 2 // 3]
    if kind == "exchanged":  # packed at another second: the size stays
        return body[:4] + bytes([body[4] ^ 1]) + body[5:]
    if kind == "not_gzip":
        return gzip.decompress(body)
    document = json.loads(gzip.decompress(body))
    if kind == "replaced":  # another, equally valid object: only a published checksum tells
        document["fs_id"] = "0" * 24
    elif kind == "data_null":
        document["data"] = None
    text = {"null": "null", "wrong_json": "<html>Service unavailable</html>"}.get(kind) or json.dumps(document)
    return gzip.compress(text.encode(), mtime=0)


def _part(answer: Answer, wanted: str) -> Answer:
    """The range of an answer that was asked for."""
    if not wanted.startswith("bytes="):
        return answer
    first, last = wanted.removeprefix("bytes=").split("-")
    size = len(answer.body)
    start = int(first) if first else size - int(last)
    end = min(int(last), size - 1) if first and last else size - 1
    headers = answer.headers | {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, headers, answer.body[start : end + 1])


def _refusal(fault: Fault) -> Answer:
    answer = _s3_error(int(fault.kind), S3_CODES[fault.kind], "Please reduce your request rate.")
    if fault.kind in ("429", "503") and fault.retry_after is not None:
        answer.headers["Retry-After"] = str(fault.retry_after)
    return answer


def _s3_error(status: int, code: str, message: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, {"Content-Type": "application/xml"}, text.encode())


class Rest:
    """The API through faults, and the tests' own door to both servers under /__fake__/."""

    def __init__(self, api: Api, faults: dict[str, Fault], log: Log) -> None:
        self.api, self.faults, self.log = api, faults, log

    def __call__(self, request: Request) -> tuple[Answer, str | None, str]:
        for key, fault in list(self.faults.items()):
            if _matches(key, request) and fault.strikes(self.log.count(key)):
                return self._failed(request, fault), fault.kind, request.path
        return self.api(request), None, request.path

    def _failed(self, request: Request, fault: Fault) -> Answer:
        if fault.kind in ("401", "403", "404", *STATUS):
            headers = {"Retry-After": str(fault.retry_after)} if fault.kind in ("429", "503") else {}
            return json_answer(int(fault.kind), {"message": f"fault {fault.kind} on order"}, **headers)
        if fault.kind == "wrong_json":
            return Answer(200, {"Content-Type": "text/html"}, b"<html>Service unavailable</html>")
        if fault.kind == "twice":
            route = request.path.strip("/").removeprefix("materials/")
            return self.api.search(route, request.query, shift=int(request.query.get("_limit", 100)))
        answer = self.api(request)
        if fault.kind in ("empty", "bad_id") and answer.status == 200:
            document = json.loads(answer.body)
            if fault.kind == "empty":
                document["data"] = []
            else:
                for entry in document["data"][:1]:
                    entry.update({key: "../../etc/passwd" for key in ("material_id", "task_id") if key in entry})
            return json_answer(200, document)
        return answer


def _matches(key: str, request: Request) -> bool:
    path, _, query = key.partition("?")
    wanted = dict(item.split("=", 1) for item in query.split("&") if item)
    return request.path == path and all(request.query.get(name) == value for name, value in wanted.items())


def serve(folder: Path) -> None:
    """Serve until standard input ends (the parent has gone)."""
    settings = json.loads((folder / "server.json").read_text())
    log = Log()
    faults: dict[str, Fault] = {}
    documents = load(Path(settings["documents"]).read_bytes())
    bucket = Bucket(Path(settings["objects"]), faults, log)
    rest = Rest(Api(documents, settings["api_key"], settings["heartbeat"]), faults, log)
    _order(faults, settings["faults"])

    def answer(request: Request) -> tuple[Answer, str | None, str]:
        if request.path.startswith("/__fake__/"):
            return _control(request, faults, log), None, request.path
        return rest(request)

    servers = [Server(answer, log, "rest", settings["slow"]), Server(bucket, log, "s3", settings["slow"])]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps([server.url for server in servers]), flush=True)
    sys.stdin.read()


def _order(faults: dict[str, Fault], wanted: dict[str, Any]) -> None:
    faults.clear()
    faults.update({key: Fault(**fault) for key, fault in wanted.items()})


def _control(request: Request, faults: dict[str, Fault], log: Log) -> Answer:
    if request.path.endswith("/log"):
        return json_answer(200, [entry for entry in log.entries if not entry["path"].startswith("/__fake__/")])
    log.clear()
    _order(faults, json.loads(request.body))
    return json_answer(200, {})


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
