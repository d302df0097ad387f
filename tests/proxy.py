"""An HTTP proxy between a client and the server of a bucket, which injects faults."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CODES = {
    "internal": (500, "InternalError"),
    "slow_down": (503, "SlowDown"),
    "expired": (400, "ExpiredToken"),
    "denied": (403, "AccessDenied"),
    "not_implemented": (501, "NotImplemented"),
    "full": (507, "InsufficientStorage"),
}
TRANSIENT = ("internal", "slow_down", "reset_before", "reset_after", "torn", "hang")
"""Transient faults. `reset_after` carries the request out and loses its response.

A further fault, `stale`, empties a listing.
"""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request, counted from 0."""

    number: int
    method: str
    path: str
    headers: dict[str, str]


@dataclass(slots=True)
class Proxy:
    """`plan` returns the fault of a request, or None. `strip` are request headers that are removed before forwarding."""

    url: str = ""
    plan: Callable[[SeenRequest], str | None] = lambda _: None
    strip: frozenset[str] = frozenset()
    hang_s: float = 1.0
    seen: list[SeenRequest] = field(default_factory=list)
    faults: list[tuple[str, SeenRequest]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        with self.lock:
            seen = SeenRequest(len(self.seen), method, path, headers)
            self.seen.append(seen)
            fault = self.plan(seen)
            if fault:
                self.faults.append((fault, seen))
            return fault


@contextmanager
def proxy_to(server_url: str) -> Iterator[Proxy]:
    """A proxy on a free port, in threads of this process. Its URL has the path of the server's."""
    proxy, behind = Proxy(), urlsplit(server_url)
    handler = type("Handler", (_Handler,), {"proxy": proxy, "upstream": behind.netloc})
    server = _Server(("127.0.0.1", 0), handler)
    proxy.url = f"http://127.0.0.1:{server.server_port}{behind.path}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # do not wait for hanging responses

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the errors of reset connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    upstream: str

    def _handle(self) -> None:
        body = self._read_body()
        fault = self.proxy.next_fault(self.command, self.path, dict(self.headers.items()))
        if fault in CODES:
            return self._refuse(*CODES[fault])
        if fault == "reset_before":
            return self._reset()
        if fault == "hang":
            time.sleep(self.proxy.hang_s)
            return self._reset()
        answer, data = self._forward(body)
        if fault == "stale":
            data = re.sub(rb"<(Contents|Blob)>.*?</\1>", b"", data, flags=re.DOTALL)
        if fault == "reset_after":
            return self._reset()
        return self._answer(answer, data, torn=fault == "torn")

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        dropped = {"expect", "connection", "transfer-encoding", *self.proxy.strip}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def _answer(self, answer: http.client.HTTPResponse, data: bytes, *, torn: bool) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if torn and data:
            self.wfile.write(data[: len(data) // 2])
            return self._reset()
        if torn:
            return self._reset()
        if self.command != "HEAD":
            self.wfile.write(data)
        return None

    def _refuse(self, status: int, code: str) -> None:
        secret = self.headers.get("Authorization", "")
        text = f"<Error><Code>{code}</Code><Message>echo: {secret}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _reset(self) -> None:
        """Close with RST instead of FIN, as a crashed peer does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """No access log: the tests check `proxy.faults`."""
