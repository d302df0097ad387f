"""A server that speaks OpenAI's protocol and misbehaves as told: it answers the same prompt the same way, in the end."""

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
    """Shares of first tries that go wrong, each kind for itself. `most` in flight are borne, the others get a 429."""

    shares: dict[str, float] = field(default_factory=dict)
    most: int = 1_000
    key: str = KEY
    hang_s: float = 1.0
    says: Callable[[str, str], str] | None = None  # by the last message and its digest
    seen: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0


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
            faults.most_in_flight = max(faults.most_in_flight, faults.in_flight)
            faults.seen[name] += 1
            first, busy = faults.seen[name] == 1, faults.in_flight > faults.most
        try:
            self._reply(body, name, "429" if busy else self._fault(name) if first else "")
        finally:
            with self.lock:
                faults.in_flight -= 1

    def _fault(self, name: str) -> str:
        draw = random.Random(name)
        return next((kind for kind, share in self.faults.shares.items() if draw.random() < share), "")

    def _reply(self, body: dict[str, Any], name: str, fault: str) -> None:
        self.faults.counts[fault or "fine"] += 1
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
        text = self.faults.says(body["messages"][-1]["content"], name) if self.faults.says else ""
        told = [text or f"answer {i} of {name}" for i in range(n)]
        said = [{"index": i, "finish_reason": "stop", "message": {"content": one}} for i, one in enumerate(told)]
        usage = {"prompt_tokens": 7, "completion_tokens": 5 * n, "prompt_tokens_details": {"cached_tokens": 3}}
        self._send(200, {"choices": said[::-1], "usage": usage}, cut=cut)

    def _refused(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.faults.key}":
            return False
        self._send(401, {"error": "who are you?"})
        return True

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        data = json.dumps(value).encode()
        data = data[: len(data) // 2] if cut else data
        self.send_response(status)
        for name, told in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, told)
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or a connection cut on purpose."""


@contextmanager
def faulty_server(faults: Faults) -> Iterator[str]:
    """Its base URL."""
    handler = type("OneHandler", (Handler,), {"faults": faults, "lock": threading.Lock()})
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
