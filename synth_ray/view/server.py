"""Serves the page and its answers on 127.0.0.1, to nobody but the browser that was given the address.

The address has a random token, which no other program or page of another site can guess. `Host` must be this machine's own name
for itself: a site that makes its name point to 127.0.0.1 (DNS rebinding) sends that name. Only GET is answered, the browser
stores nothing, and the page may load and contact nothing but this server.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import select
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Semaphore
from typing import Any
from urllib.parse import parse_qs, urlsplit

from synth_ray.errors import JobError, ObjectNotFound, SynthRayError
from synth_ray.view.query import Query
from synth_ray.view.rows import PAGE_ROWS, Rows

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_LAST_PAGE = 10**9
_ANSWERS_AT_ONCE = 2
_PAGE = {
    "": ("page.html", "text/html"),
    "view.js": ("view.js", "text/javascript"),
    "diff.js": ("diff.js", "text/javascript"),
    "view.css": ("view.css", "text/css"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Parameters = Mapping[str, list[str]]


class ViewServer(ThreadingHTTPServer):
    """Serves one dataset's rows from `serve_forever` on. `meanings` explains each reason. Raises JobError for a port in use."""

    daemon_threads = True

    def __init__(self, rows: Rows, *, port: int = 0, meanings: Mapping[str, str] | None = None) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError):
            raise JobError(
                f"--port: wanted a free port, got {port}, which is in use or not allowed; name another, or none for a free one"
            ) from None
        self._rows = rows
        self._meanings = dict(meanings or {})
        self._token = secrets.token_urlsafe(24)
        self._once = secrets.token_urlsafe(24)
        self.turn = Semaphore(_ANSWERS_AT_ONCE)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.answers: dict[str, Callable[[Parameters], Any]] = {
            "about": self._about,
            "rows": self._page,
            "count": lambda asked: {"rows": rows.count(Query.of(asked))},
            "choices": lambda _: rows.to_choose_from(),
            "row": lambda asked: rows.row(_first(asked, "row"), _first(asked, "at")),
            "staged": lambda asked: rows.staged(_first(asked, "row")),
        }

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self._token}/"

    @property
    def url_for_one_visit(self) -> str:
        """Leads to `url`, once: a browser is started with it, and other users of the machine can see what one is started with."""
        return f"http://{HOST}:{self.server_port}/{self._once}"

    def is_first_visit(self, path: str) -> bool:
        if not self._once or not hmac.compare_digest(path.encode(), f"/{self._once}".encode()):
            return False
        self._once = ""
        return True

    def name_below_token(self, path: str) -> str | None:
        """What a path asks for; None where it does not begin with the token."""
        token, slash, name = path.removeprefix("/").partition("/")
        return name if slash and hmac.compare_digest(token.encode(), self._token.encode()) else None

    def _about(self, _: Parameters) -> dict[str, Any]:
        manifest = self._rows.manifest
        names = {"name", "complete", "stopped", "rows", "splits", "created_at", "recipe", "teacher", "dataset_digest"}
        facts = manifest.model_dump(mode="json", include=names)
        return {**facts, "in_all": self._rows.count(Query()), "kinds": self._rows.kinds, "meanings": self._meanings}

    def _page(self, asked: Parameters) -> dict[str, Any]:
        page = _page_number(_first(asked, "page") or "1")
        rows, more = self._rows.page(Query.of(asked), offset=(page - 1) * PAGE_ROWS)
        return {"rows": rows, "more": more, "first": (page - 1) * PAGE_ROWS, "page_rows": PAGE_ROWS}


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version = "synth-ray"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        try:
            self._get()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the browser went on to another question

    def _refuse_method(self) -> None:
        self.close_connection = True  # a body that is not read must not be taken for the next request
        self._send_error(HTTPStatus.METHOD_NOT_ALLOWED, "wanted GET, got another method; nothing can be changed here")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = _refuse_method

    def _get(self) -> None:
        if not self._is_from_this_machine():
            self._send_error(
                HTTPStatus.FORBIDDEN, "wanted a request for 127.0.0.1, got one for another host, or from another site"
            )
            return
        path, _, asked = self.path.partition("?")
        if self.server.is_first_visit(path):
            self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": urlsplit(self.server.url).path})
            return
        name = self.server.name_below_token(path)
        if name in _PAGE:
            file, kind = _PAGE[name]
            self._send(HTTPStatus.OK, files(__package__).joinpath(file).read_bytes(), kind)
        elif name is not None and name.startswith("api/") and name.removeprefix("api/") in self.server.answers:
            self._answer(name.removeprefix("api/"), parse_qs(asked, keep_blank_values=True, max_num_fields=200))
        else:
            self._send_error(HTTPStatus.NOT_FOUND, "wanted the address that `synth-ray view` printed, got another")

    def _is_from_this_machine(self) -> bool:
        hosts, origins = self.headers.get_all("Host") or [], self.headers.get_all("Origin") or []
        allowed = self.server.hosts
        return len(hosts) == 1 and hosts[0].lower() in allowed and all(o.removeprefix("http://") in allowed for o in origins)

    def _answer(self, name: str, asked: Parameters) -> None:
        with self.server.turn:
            if self._is_given_up():
                self.close_connection = True
                return
            try:
                answer = self.server.answers[name](asked)
            except SynthRayError as error:
                self._send_error(_status_of(error), str(error))
                return
        self._send(HTTPStatus.OK, json.dumps(answer, allow_nan=False).encode(), "application/json")

    def _is_given_up(self) -> bool:
        """Whether the browser hung up while it waited: who types on has asked something else by then."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _send_error(self, status: HTTPStatus, text: str) -> None:
        self._send(status, json.dumps({"error": text}).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        text = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        for header, value in {**_HEADERS, **text, **(headers or {})}.items():
            self.send_header(header, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: an address has the token, and what was looked for."""


def _status_of(error: SynthRayError) -> HTTPStatus:
    if isinstance(error, JobError):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.NOT_FOUND if isinstance(error, ObjectNotFound) else HTTPStatus.BAD_GATEWAY


def _first(asked: Parameters, name: str) -> str:
    return asked.get(name, [""])[0]


def _page_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and 1 <= int(text) <= _LAST_PAGE):
        raise JobError("page: wanted a number from 1 on, got another text")
    return int(text)
