"""An OpenAI-compatible server with injected faults. In the end it gives the same prompt the same answer."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from synth_ray.records import digest

KEY = "sk-testing-never-printed-anywhere"
MODEL = "faulty-model"


@dataclass
class Faults:
    """`shares` of first tries that fail, by kind. With more than `max_in_flight` requests at once, the rest get a 429."""

    shares: dict[str, float] = field(default_factory=dict)
    max_in_flight: int = 1_000
    key: str = KEY
    hang_s: float = 1.0
    reply: Callable[[str, str], str] | None = None  # the answer to the last message, given also its digest
    seen: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    peak_in_flight: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults
    lock: threading.Lock

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self._refused():
            return
        self._send(200, {"data": [{"id": MODEL, "owned_by": "somebody", "max_model_len": 4096}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        name = digest(body.get("messages") or body.get("prompt"))
        faults = self.faults
        with self.lock:
            faults.in_flight += 1
            faults.peak_in_flight = max(faults.peak_in_flight, faults.in_flight)
            faults.seen[name] += 1
            first, busy = faults.seen[name] == 1, faults.in_flight > faults.max_in_flight
        try:
            self._reply(body, name, "429" if busy else self._fault(name) if first else "")
        finally:
            with self.lock:
                faults.in_flight -= 1

    def _fault(self, name: str) -> str:
        draw = random.Random(name)
        return next((kind for kind, share in self.faults.shares.items() if draw.random() < share), "")

    def _reply(self, body: dict[str, Any], name: str, fault: str) -> None:
        self.faults.counts[fault or "none"] += 1
        if "TOO LONG" in json.dumps(body):
            self._send(400, {"error": {"message": "This model's maximum context length is 4096 tokens. SECRET PROMPT"}})
        elif fault == "429":
            self._send(429, {"error": "busy"}, {"Retry-After": "0.05"})
        elif fault == "500":
            self._send(500, {"error": "oops"})
        elif fault == "reset":
            self.connection.close()
        else:
            time.sleep(self.faults.hang_s if fault == "hang" else 0.005)
            self._answer(body, name, cut=fault == "cut")

    def _answer(self, body: dict[str, Any], name: str, *, cut: bool) -> None:
        n = body.get("n", 1)
        text = self.faults.reply(body["messages"][-1]["content"], name) if self.faults.reply else ""
        texts = [text or f"answer {i} of {name}" for i in range(n)]
        choices = [{"index": i, "finish_reason": "stop", "message": {"content": content}} for i, content in enumerate(texts)]
        usage = {"prompt_tokens": 7, "completion_tokens": 5 * n, "prompt_tokens_details": {"cached_tokens": 3}}
        self._send(200, {"choices": choices[::-1], "usage": usage}, cut=cut)

    def _refused(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.faults.key}":
            return False
        self._send(401, {"error": "who are you?"})
        return True

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        data = json.dumps(value).encode()
        data = data[: len(data) // 2] if cut else data
        self.send_response(status)
        for name, header in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, header)
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect and connections that a fault cuts."""


Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]
"""A status, a body (bytes as they are, else JSON), and headers."""


class BehavingHandler(Handler):
    """Answers by a function of the request and of how often its prompt was seen. Keeps the bodies it got."""

    behave: Callable[[dict[str, Any], int], Reply]
    models: Callable[[str], Reply]
    got: list[dict[str, Any]]
    times: Counter[str]

    def do_GET(self) -> None:
        self._give(*type(self).models(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            self.got.append(body | {"path": self.path})
            asked = digest(body.get("messages", body))
            self.times[asked] += 1
            times = self.times[asked]
        self._give(*type(self).behave(body, times))

    def _give(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, header in {"Content-Length": str(len(data)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, header)
        self.end_headers()
        self.wfile.write(data)


def listed(_path: str) -> Reply:
    return 200, {"data": [{"id": MODEL}]}


@contextmanager
def behaving_server(
    behave: Callable[[dict[str, Any], int], Reply], models: Callable[[str], Reply] = listed, *, port: int = 0
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run a server for the block; yields its base URL and the list of the bodies that it gets. `port` 0: any."""
    got: list[dict[str, Any]] = []
    fields = {"behave": behave, "models": models, "got": got, "times": Counter(), "lock": threading.Lock()}
    with _serving(type("OneHandler", (BehavingHandler,), fields), port) as url:
        yield url, got


@contextmanager
def faulty_server(faults: Faults) -> Iterator[str]:
    """Run the server for the block; yields its base URL."""
    with _serving(type("OneHandler", (Handler,), {"faults": faults, "lock": threading.Lock()})) as url:
        yield url


@contextmanager
def _serving(handler: type[Handler], port: int = 0) -> Iterator[str]:
    server = Server(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
