"""An OpenAI-compatible endpoint on this machine that misbehaves on demand, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from rhoflow.config import LanguageModelInContext
from rhoflow.materials.ids import hash_integer

KEY = "sk-planted-5d0f3c2b9a"
Body = dict[str, Any]


def completion(content: Any, **changes: Any) -> dict[str, Any]:
    """A chat completion as a server sends it."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 900, "completion_tokens": 6, "total_tokens": 906}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake-2026", "usage": usage}
    return {**whole, "choices": [choice], **changes}


def modulus(body: Body) -> str:
    """An answer that follows from the question: some bulk modulus."""
    return f"{100 + hash_integer(json.dumps(body['messages'][-1])) % 1000 / 10:.1f} GPa"


def say(content: Any) -> Callable[[Handler, Body], None]:
    return lambda handler, body: handler.send_json(200, completion(content))


def send(status: int, payload: Any, **headers: str) -> Callable[[Handler, Body], None]:
    return lambda handler, body: handler.send_json(status, payload, **headers)


def well(handler: Handler, body: Body) -> None:
    handler.send_json(200, completion(modulus(body)))


def reset(handler: Handler, body: Body) -> None:
    """Drop the connection in the rudest way."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def drip(handler: Handler, body: Body) -> None:
    """Send the reply byte by byte, each within the time-out of a chunk."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        time.sleep(0.05)


class Handler(BaseHTTPRequestHandler):
    server: FakeEndpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        behave = self.server.enter(self.path, self.headers["Authorization"], body)
        try:
            time.sleep(self.server.delay_s)
            behave(self, body)
        except OSError:
            pass  # the client is gone
        finally:
            self.server.leave()
            self.close_connection = True

    def send_json(self, status: int, payload: Any, **headers: str) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # reset
            super().finish()

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


class FakeEndpoint(ThreadingHTTPServer):
    """Answers well, after the behaviours of `script`, one a call, are used up.

    Attributes
    ----------
    asked : list of dict
        Bodies of all calls.
    most : int
        Most calls at one time.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Callable[[Handler, Body], None]] = []
        self.otherwise: Callable[[Handler, Body], None] = well
        self.delay_s = 0.0
        self.asked: list[Body] = []
        self.times: list[float] = []
        self.keys: set[str] = set()
        self.paths: set[str] = set()
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()

    def enter(self, path: str, authorization: str, body: Body) -> Callable[[Handler, Body], None]:
        with self._lock:
            self.asked.append(body)
            self.times.append(time.monotonic())
            self.keys.add(authorization)
            self.paths.add(path)
            self.now += 1
            self.most = max(self.most, self.now)
            return self.script.pop(0) if self.script else self.otherwise

    def leave(self) -> None:
        with self._lock:
            self.now -= 1

    def options(self, **changes: Any) -> LanguageModelInContext:
        """Settings that lead here, without waiting."""
        settings: dict[str, Any] = {
            "dry_run": False,
            "base_url": f"http://127.0.0.1:{self.server_port}/v1",
            "model": "fake",
            "requests_per_minute": 1e6,
            "timeout_s": 5.0,
        }
        return LanguageModelInContext(**(settings | changes))
