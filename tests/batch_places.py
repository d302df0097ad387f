"""What the servers of providers' batches have in common: faults, counts of what was sent and answered, and moments to die at."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from synth_ray.records import digest
from tests.endpoint_server import KEY, Server

NO_HEADERS: Mapping[str, str] = {}


@dataclass
class Place:
    """`busy` and `broken` are shares of calls that get a 429 or a 5xx, `torn` of downloads that end half-way.

    The first `lost` creations of a batch succeed without a response; the first `late` listings do not have the newest batch.
    `ends(i)` is how batch i ends: completed, failed, cancelled or expired; an expired one has half of its answers. `rewrite(i,
    lines)` changes the lines of results. `at(moment)` is called at create, created, poll and download. `odd(text)`: a result of
    the provider's own form in place of an answer. `keeps(i)`: whether the results of batch i are still there. `seen_after_s`: how
    long a batch is not listed. Uploads are sent to `upload_host`, if it is set, and have no name if `nameless`.
    `results_fail` are statuses with which the first downloads fail.
    """

    busy: float = 0.0
    broken: float = 0.0
    broken_status: int = 500
    torn: float = 0.0
    lost: int = 0
    late: int = 0
    takes_s: float = 0.05
    page: int = 2
    ends: Callable[[int], str] = lambda _: "completed"
    rewrite: Callable[[int, list[Any]], list[Any]] = lambda _, lines: lines
    at: Callable[[str], None] = lambda _: None
    odd: Callable[[str], Any] = lambda _: None
    keeps: Callable[[int], bool] = lambda _: True
    seen_after_s: float = 0.0
    upload_host: str = ""
    nameless: bool = False
    results_fail: list[int] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    draw: random.Random = field(default_factory=lambda: random.Random(3))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self, **facts: Any) -> dict[str, Any]:
        """A new batch, whose end is due."""
        batch = {"number": len(self.batches), "due": time.monotonic() + self.takes_s, "began": time.time(), "status": "", **facts}
        self.batches.append(batch)
        self.sent.update(batch["keys"])
        return batch

    def is_ended(self, batch: dict[str, Any]) -> bool:
        """Ends a batch that is due."""
        if not batch["status"] and time.monotonic() > batch["due"]:
            status = batch["status"] = self.ends(batch["number"])
            place = list(range(len(batch["keys"])))
            self.draw.shuffle(place)
            done = {"completed": len(place), "expired": len(place) // 2}.get(status, 0)
            batch["done"] = place[:done]
            self.answered.update(batch["keys"][number] for number in batch["done"])
        return bool(batch["status"])

    def results(self, batch: dict[str, Any], answer: Callable[[int], Any], missing: Callable[[int], Any]) -> bytes:
        """The result file: a line for each request, in any order."""
        lines = [answer(number) for number in batch["done"]]
        lines += [line for number in range(len(batch["keys"])) if number not in batch["done"] and (line := missing(number))]
        texts = [line if isinstance(line, str) else json.dumps(line) for line in self.rewrite(batch["number"], lines)]
        return "".join(f"{text}\n" for text in texts).encode()

    def listed(self) -> list[dict[str, Any]]:
        """The batches that a listing shows, the newest first."""
        hidden = 1 if self.late > 0 else 0
        self.late -= hidden
        seen = [batch for batch in self.batches if time.time() >= batch["began"] + self.seen_after_s]
        return [batch for batch in reversed(seen) if not hidden or batch["number"] != len(self.batches) - 1]

    def maybe_torn(self, data: bytes) -> bytes:
        return data[: len(data) // 2] if self.draw.random() < self.torn else data


def said(text: str) -> str:
    """The answer to a text depends on it alone."""
    return f"answer to {digest(text)}"


class Replies(BaseHTTPRequestHandler):
    """The handler of one server; `place` is what that server was told to do."""

    protocol_version = "HTTP/1.1"
    place: Any

    def log_message(self, *_: Any) -> None:
        pass

    def json(self, value: Any, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.send(status, json.dumps(value).encode(), headers)

    def send(self, status: int, data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class PlaceHandler(Replies):
    """Refuses a wrong key and a share of the calls; a subclass has the provider's paths."""

    place: Place
    key_header = ""
    errors: Callable[[int], Any] = staticmethod(lambda _status: {})

    def do_GET(self) -> None:
        self._handle(b"", self.get)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._handle(data, lambda: self.post(data))

    def get(self) -> None: ...

    def post(self, data: bytes) -> None: ...

    def _handle(self, _data: bytes, act: Callable[[], None]) -> None:
        place = self.place
        with place.lock:
            draw = place.draw.random()
            if self.key_header and self.headers.get(self.key_header) != KEY:
                self.json(self.errors(401), 401)
            elif draw < place.busy:
                self.json(self.errors(429), 429)
            elif draw < place.busy + place.broken:
                self.json(self.errors(place.broken_status), place.broken_status)
            else:
                act()

    def created(self, value: Any) -> None:
        """Answer a creation, or lose the answer."""
        self.place.at("created")
        if self.place.lost > 0:
            self.place.lost -= 1
            self.close_connection = True
            self.connection.close()
        else:
            self.json(value)


@contextmanager
def serving(place: Any, handler: type[Replies]) -> Iterator[str]:
    """Run the server for the block; yields scheme and host."""
    server = Server(("127.0.0.1", 0), type("OneHandler", (handler,), {"place": place}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
