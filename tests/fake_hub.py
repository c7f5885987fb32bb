"""A Hugging Face hub on this machine: serves a few files, misbehaves on demand, remembers what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = ".safetensors"  # kept by LFS, as the real hub does


@dataclass
class FakeHub:
    """What it serves and how.

    Attributes
    ----------
    files : dict of str to bytes
        Of its one repository.
    listed : list of str
        Further names that it lists.
    commit : str
        The version that it names.
    status : int
        Of its answers about the repository; 200 is well.
    breaks : int
        How many of the next answers with a large file end half way.
    wrong : int
        How many of the next large files are other bytes than announced.
    etag : str
        Of large files, instead of their sha256.
    asked : list of (method, path, Range header)
    """

    files: dict[str, bytes]
    repository: str = "owner/tiny"
    listed: list[str] = field(default_factory=list)
    commit: str = COMMIT
    status: int = 200
    answer: bytes | None = None
    breaks: int = 0
    wrong: int = 0
    etag: str | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def model(self) -> dict[str, Any]:
        siblings = []
        for name, content in self.files.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            one: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git}
            if name.endswith(LARGE):
                sha256 = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
            siblings.append(one)
        siblings += [{"rfilename": name, "size": 4, "blobId": "0" * 40} for name in self.listed]
        return {"id": self.repository, "modelId": self.repository, "sha": self.commit, "siblings": siblings}

    def downloads(self, name: str) -> list[str]:
        """Range headers of the downloads of a file, in order."""
        return [where for method, path, where in self.asked if method == "GET" and path.endswith(f"/{name}")]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.asked.append((self.command, path, self.headers.get("Range", "")))
        if hub.status != 200:
            code = {403: "GatedRepo", 404: "RepoNotFound"}.get(hub.status, "")
            self._send(hub.status, b"{}", **({"X-Error-Code": code} if code else {}))
        elif path.startswith(f"/api/models/{hub.repository}"):
            self._send(200, hub.answer or json.dumps(hub.model()).encode(), content_type="application/json")
        elif path.startswith(f"/{hub.repository}/resolve/") and (name := path.rsplit("/", 1)[1]) in hub.files:
            self._send_file(name)
        else:
            self._send(404, b"{}", **{"X-Error-Code": "EntryNotFound"})

    def _send_file(self, name: str) -> None:
        hub, content = self.hub, self.hub.files[name]
        large = name.endswith(LARGE)
        etag = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
        if large and hub.etag is not None:
            etag = hub.etag
        if large and hub.wrong and self.command == "GET":
            hub.wrong -= 1
            content = bytes(255 - byte for byte in content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": hub.commit, "Accept-Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        breaks = large and hub.breaks > 0 and self.command == "GET"
        hub.breaks -= breaks
        self._send(206 if start else 200, body, sent=len(body) // 2 if breaks else len(body), **headers)

    def _send(
        self, status: int, body: bytes, *, sent: int | None = None, content_type: str = "", **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", content_type or "application/octet-stream")
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])
            if sent is not None and sent < len(body):
                self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
