"""A small HTTP server that can fail on order; the REST API and the bucket both answer through it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    target: str  # path and query as they came


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Log:
    """What was really asked and really served, and how often each key was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries: list[dict[str, Any]] = []
        self._asked: Counter[str] = Counter()

    def count(self, key: str) -> int:
        """How often `key` was asked for before; counts this time too."""
        with self._lock:
            self._asked[key] += 1
            return self._asked[key] - 1

    def add(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self.entries.append(entry)

    def clear(self) -> None:
        with self._lock:
            self.entries.clear()
            self._asked.clear()


Responder = Callable[[Request], tuple[Answer, str | None, str]]  # answer, how the wire fails, key


class Server(ThreadingHTTPServer):
    """Serves `respond` on a port of its own; `log` holds what was served."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Responder, log: Log, service: str, slow: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.respond, self.log, self.service, self.slow = respond, log, service, slow

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news: the log says that the answer was not complete."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Our own log is kept instead."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        request = Request(
            self.command,
            unquote(parts.path),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length) if length else b"",
            self.path,
        )
        began = time.monotonic()
        answer, wire, key = self.server.respond(request)
        entry = {"service": self.server.service, "method": request.method, "path": request.path, "key": key}
        entry |= {
            "query": request.query,
            "range": request.headers.get("range"),
            "status": answer.status,
            "fault": wire,
            "sent": 0,
            "complete": False,
            "began": began,
            "ended": None,  # just before its last byte: who has that may ask for the next at once
        }
        self.server.log.add(entry)  # before a byte is sent: who has the answer finds it in the log
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._deliver(answer, wire, entry)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 (http.server wants the names)

    def _deliver(self, answer: Answer, wire: str | None, entry: dict[str, Any]) -> None:
        body = b"" if self.command == "HEAD" else answer.body
        if wire == "corrupt" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
        if wire == "slow" and self.server.service == "rest":
            time.sleep(self.server.slow)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if wire in ("slow", "reset", "short"):
            half = body[: len(body) // 2]
            self.wfile.write(half)
            entry["sent"] = len(half)
            if wire == "slow":
                time.sleep(self.server.slow)
                entry["ended"] = time.monotonic()
                self.wfile.write(body[len(half) :])
            else:
                entry["ended"] = time.monotonic()
                self._hang_up(reset=wire == "reset")
                return
        else:
            entry["complete"] = True
            entry["sent"] = len(body)
            entry["ended"] = time.monotonic()
            self.wfile.write(body)
        entry["complete"], entry["sent"] = True, len(body)

    def _hang_up(self, *, reset: bool) -> None:
        """End the connection in the middle of an answer: with a reset (RST), or as if all was said (FIN)."""
        self.wfile.flush()
        if reset:
            time.sleep(0.05)  # else the reset may overtake the bytes before it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def json_answer(status: int, document: Any, **headers: str) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(document).encode())


def without_body(answer: Answer) -> Answer:
    """The answer to HEAD: the same headers."""
    return replace(answer, headers=answer.headers | {"Content-Length": str(len(answer.body))}, body=b"")
