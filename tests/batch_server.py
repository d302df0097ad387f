"""An OpenAI-compatible batch API with injected faults, which counts the prompts it received and answered."""

from __future__ import annotations

import json
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from synth_ray.records import digest
from tests.batch_places import Replies, serving
from tests.endpoint_server import KEY

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


def default_answer(body: dict[str, Any]) -> tuple[int, Any]:
    """The answers depend on the prompt alone."""
    if "TOO LONG" in json.dumps(body):
        return 400, {"error": {"message": "This model's maximum context length is 4096 tokens. SECRET PROMPT"}}
    name = digest(body["messages"])
    choices = [{"index": i, "finish_reason": "stop", "message": {"content": f"answer {i} of {name}"}} for i in range(body["n"])]
    return 200, {"choices": choices[::-1], "usage": {"prompt_tokens": 7, "completion_tokens": 5 * body["n"]}}


@dataclass
class Provider:
    """`busy` and `broken` are shares of calls that get a 429 or a 500, `torn` of downloads that end half-way.

    The first `lost` creations of a batch succeed without a response. `ends(i)` is the final status of batch i; an expired
    batch has half of its answers. `errors_of(i, lines)` are the errors with which it fails in validation, and `refusal(i)` the
    status, body and headers with which the i-th creation is refused. `rewrite(i, lines)` changes the lines of a result file.
    `knows(path, i)`: whether the provider still has what a path names, a file by the number of its batch. `at(moment)` is called
    at create, created, poll and download.
    """

    answer: Answer = default_answer
    busy: float = 0.0
    broken: float = 0.0
    torn: float = 0.0
    lost: int = 0
    takes_s: float = 0.05
    page: int = 2
    ends: Callable[[int], str] = lambda _: "completed"
    errors_of: Callable[[int, list[Any]], Any] = lambda _, __: None
    refusal: Callable[[int], tuple[int, Any, dict[str, str]] | None] = lambda _: None
    rewrite: Callable[[int, list[dict[str, Any]]], list[Any]] = lambda _, lines: lines
    knows: Callable[[str, int], bool] = lambda _, __: True
    at: Callable[[str], None] = lambda _: None
    created: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    draw: random.Random = field(default_factory=lambda: random.Random(3))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        batch = {
            "id": f"batch_{len(self.batches)}",
            "status": "in_progress",
            "metadata": body["metadata"],
            "created_at": time.monotonic(),
        }
        batch |= {"lines": lines, "number": len(self.batches), "output_file_id": None, "error_file_id": None}
        self.batches.append(batch)
        if errors := self.errors_of(batch["number"], lines):
            batch |= {"status": "failed", "errors": errors}
        else:
            self.sent.update(line["custom_id"] for line in lines)
        return batch

    def poll(self, batch: dict[str, Any]) -> dict[str, Any]:
        if batch["status"] == "in_progress" and time.monotonic() - batch["created_at"] > self.takes_s:
            self._finish(batch, self.ends(batch["number"]))
        return {name: value for name, value in batch.items() if name not in ("lines", "created_at", "number")}

    def _finish(self, batch: dict[str, Any], status: str) -> None:
        lines = self.draw.sample(batch["lines"], len(batch["lines"]))
        done = {"completed": len(lines), "expired": len(lines) // 2}.get(status, 0)
        results = {"output_file_id": [], "error_file_id": []}
        with ThreadPoolExecutor(8) as workers:
            answers = list(workers.map(self.answer, [line["body"] for line in lines[:done]]))
        for number, line in enumerate(lines):
            if number >= done:
                if status == "expired":
                    error = {"code": "batch_expired", "message": "SECRET"}
                    results["error_file_id"].append({"custom_id": line["custom_id"], "response": None, "error": error})
                continue
            code, body = answers[number]
            self.answered[line["custom_id"]] += code == 200
            file = "output_file_id" if code == 200 else "error_file_id"
            results[file].append({"custom_id": line["custom_id"], "response": {"status_code": code, "body": body}, "error": None})
        for name, lines_of_file in results.items():
            if lines_of_file and (lines_of_file := self.rewrite(batch["number"], lines_of_file)):
                texts = [line if isinstance(line, str) else json.dumps(line) for line in lines_of_file]
                batch[name] = self.add_file("\n".join(texts).encode() + b"\n")
                self.numbers[batch[name]] = batch["number"]
        batch["status"] = status

    def add_file(self, data: bytes) -> str:
        name = f"file-{uuid.uuid4().hex[:8]}"
        self.files[name] = data
        return name


class Handler(Replies):
    place: Provider

    def _refused(self) -> bool:
        draw = self.place.draw.random()
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self.send(401, b"{}")
        elif draw < self.place.busy:
            self.send(429, b"{}")
        elif draw < self.place.busy + self.place.broken:
            self.send(500, b"oops")
        else:
            return False
        return True

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.place.lock:
            if self._refused():
                return
            if self.path.endswith("/files"):
                content = re.split(rb"\r\n\r\n", re.split(rb'filename="', data)[1], maxsplit=1)[1]
                self.json({"id": self.place.add_file(content[: content.rindex(b"\r\n--")])})
                return
            self.place.created += 1
            if refusal := self.place.refusal(self.place.created - 1):
                self.json(refusal[1], refusal[0], refusal[2])
                return
            self.place.at("create")
            batch = self.place.create(json.loads(data))
            self.place.at("created")
            if self.place.lost > 0:
                self.place.lost -= 1
                self.connection.close()
                return
            self.json(self.place.poll(batch))

    def do_GET(self) -> None:
        with self.place.lock:
            if not self._refused():
                self._get(self.path.partition("?")[0].removeprefix("/v1"))

    def _get(self, path: str) -> None:
        provider = self.place
        name = path.split("/")[2] if path.count("/") > 1 else ""
        if name and not provider.knows(path, provider.numbers.get(name, int(name.partition("_")[2] or 0))):
            self.send(404, b'{"error": {"message": "No such object", "code": null}}')
        elif path.startswith("/files/"):
            data = provider.files[path.split("/")[2]]
            if not path.endswith("/content"):
                self.json({"id": path.split("/")[2], "bytes": len(data)})
                return
            provider.at("download")
            self.send(200, data[: len(data) // 2] if provider.draw.random() < provider.torn else data)
        elif path == "/batches":
            known = [batch for batch in provider.batches if provider.knows(f"/batches/{batch['id']}", batch["number"])]
            listed = [provider.poll(batch) for batch in reversed(known)]
            after = re.search(r"after=([^&]+)", self.path)
            start = [batch["id"] for batch in listed].index(after[1]) + 1 if after else 0
            self.json({"data": listed[start : start + provider.page], "has_more": start + provider.page < len(listed)})
        else:
            provider.at("poll")
            batch = next((candidate for candidate in provider.batches if candidate["id"] == name), None)
            self.json(provider.poll(batch)) if batch else self.send(404, b"{}")


@contextmanager
def batches(provider: Provider) -> Iterator[str]:
    """Run the server for the block; yields its base URL."""
    with serving(provider, Handler) as url:
        yield f"{url}/v1"
