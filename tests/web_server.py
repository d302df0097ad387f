"""A web server of files, with redirects and faults, and with what huggingface_hub asks the Hub for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers import answering

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Site:
    """`files` by path. `busy`: how often a path answers 503 first. `moved`: paths that redirect. `datasets`: files by dataset, at
    COMMIT. `moved_on`: files of the branch main by dataset, where somebody commits once the branch was resolved.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    busy: Counter[str] = field(default_factory=Counter)
    moved: Mapping[str, str] = field(default_factory=dict)
    cut_off: frozenset[str] = frozenset()
    datasets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    moved_on: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site, path = self.site, unquote(urlsplit(self.path).path)
        if site.busy[path] > 0:
            site.busy[path] -= 1
            self._send(503, b"")
        elif path in site.moved:
            self._send(302, b"", {"Location": site.moved[path]})
        elif path in site.files:
            self._send(200, site.files[path], cut_off=path in site.cut_off)
        else:
            self._hub(path.strip("/").split("/"))

    def _hub(self, parts: list[str]) -> None:
        """`/api/datasets/OWNER/NAME/tree/REVISION` and `/datasets/OWNER/NAME/resolve/REVISION/PATH`."""
        match parts:
            case ["api", "datasets", owner, name, "tree", _, *_] if f"{owner}/{name}" in self.site.datasets:
                files = self.site.datasets[f"{owner}/{name}"].items()
                tree = [{"type": "file", "path": path, "size": len(data), "oid": _etag(data)} for path, data in files]
                self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            case ["api", "datasets", owner, name, "revision", _] | ["api", "datasets", owner, name] if (
                f"{owner}/{name}" in self.site.datasets
            ):
                self._send(
                    200, json.dumps({"id": f"{owner}/{name}", "sha": COMMIT}).encode(), {"Content-Type": "application/json"}
                )
            case ["datasets", owner, name, "resolve", "main", *path] if f"{owner}/{name}" in self.site.moved_on:
                data = self.site.moved_on[f"{owner}/{name}"]["/".join(path)]
                self._send(200, data, {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT[::-1]})
            case ["datasets", owner, name, "resolve", _, *path] if f"{owner}/{name}" in self.site.datasets:
                data = self.site.datasets[f"{owner}/{name}"].get("/".join(path))
                if data is None:
                    self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                else:
                    self._send(200, data, {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT})
            case ["api", "datasets", *_] | ["datasets", *_]:
                self._send(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "not found"})
            case _:
                self._send(404, b"")

    def _send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None, *, cut_off: bool = False) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut_off else data)
        self.close_connection = cut_off


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    handler = type("SiteHandler", (Handler,), {"site": site})
    with answering(handler) as site.url:
        yield site
