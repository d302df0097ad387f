"""The few addresses of the Hugging Face Hub that huggingface_hub calls to fill a dataset, with faults to order."""

from __future__ import annotations

import base64
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

TOKEN = "hf_a-token-that-is-never-printed"


@dataclass
class Hub:
    """One dataset, `owner/name`, on branch `main`.

    `objects`: large files by sha256, in the store whether committed or not. `files`: committed files. `uploads` counts how
    often a large file's bytes came. `faults`: (status, times) by the name of a step: info, tree, preupload, batch, upload or
    commit; that of `upload` takes effect after `uploads_before_fault` uploads.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    uploads: Counter[str] = field(default_factory=Counter)
    faults: dict[str, tuple[int, int]] = field(default_factory=dict)
    uploads_before_fault: int = 0
    plain_files: bool = False
    url: str = ""

    @property
    def head(self) -> str:
        return f"{len(self.commits):040x}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        match unquote(urlsplit(self.path).path).strip("/").split("/"):
            case ["api", "datasets", "owner", "name", "revision", "main"]:
                self._answer("info", {"id": "owner/name", "sha": self.hub.head, "siblings": [], "tags": []})
            case ["api", "datasets", "owner", "name", "tree", "main"]:
                self._answer("tree", [_entry(path, data, self._is_large(path)) for path, data in self.hub.files.items()])
            case ["datasets", "owner", "name", "resolve", commit, *path] if "/".join(path) in self.hub.files:
                data = self.hub.files["/".join(path)]
                self._send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit})
            case ["api", "datasets", "owner", "name", *_]:
                self._send(404, {"error": "no branch"}, {"X-Error-Code": "RevisionNotFound"})
            case _:
                self._send(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match unquote(urlsplit(self.path).path).strip("/").split("/"):
            case ["api", "validate-yaml"]:
                self._send(200, {"warnings": []})
            case ["api", "datasets", "owner", "name", "preupload", "main"]:
                paths = [file["path"] for file in json.loads(body)["files"]]
                modes = [
                    {"path": p, "uploadMode": "lfs" if self._is_large(p) else "regular", "shouldIgnore": False} for p in paths
                ]
                self._answer("preupload", {"files": modes})
            case ["datasets", "owner", "name.git", "info", "lfs", "objects", "batch"]:
                self._answer("batch", {"transfer": "basic", "objects": [self._action(o) for o in json.loads(body)["objects"]]})
            case ["api", "datasets", "owner", "name", "commit", "main"]:
                self._answer(
                    "commit",
                    {"commitUrl": f"{self.hub.url}/datasets/owner/name/commit/{'1' * 40}", "commitOid": "1" * 40},
                    before=lambda: self._commit(body),
                )
            case _:
                self._send(404, {"error": "not found"})

    def do_PUT(self) -> None:
        data, oid = self.rfile.read(int(self.headers["Content-Length"])), self.path.rpartition("/")[2]
        if self.hub.uploads.total() >= self.hub.uploads_before_fault and self._fault("upload"):
            return
        assert hashlib.sha256(data).hexdigest() == oid
        self.hub.objects[oid] = data
        self.hub.uploads[oid] += 1
        self._send(200, {})

    def _is_large(self, path: str) -> bool:
        return path.endswith(".parquet") and not self.hub.plain_files

    def _action(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        upload = {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}"}}
        return {"oid": asked["oid"], "size": asked["size"]} | ({} if asked["oid"] in self.hub.objects else {"actions": upload})

    def _commit(self, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        assert lines[0]["value"]["parentCommit"] == self.hub.head
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.objects[value["oid"]]
            else:
                del self.hub.files[value["path"]]
        self.hub.commits.append(lines[0]["value"])

    def _answer(self, step: str, content: Any, *, before: Any = None) -> None:
        if not self._fault(step):
            if before is not None:
                before()
            self._send(200, content)

    def _fault(self, step: str) -> bool:
        status, times = self.hub.faults.get(step, (0, 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and step != "upload":
            status, times = 401, 1
        if times:
            self.hub.faults[step] = (status, times - 1)
            self._send(status, {"error": "told to"}, {"X-Error-Message": "told to"})
        return bool(times)

    def _send(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entry(path: str, data: bytes, is_large: bool) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry = {"type": "file", "path": path, "size": len(data), "oid": oid}
    large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry | ({"lfs": large} if is_large else {})


@contextmanager
def serving_hub(hub: Hub) -> Iterator[Hub]:
    handler = type("HubHandler", (Handler,), {"hub": hub})
    with answering(handler) as hub.url:
        yield hub
