"""A teacher's server that holds a run where a test wants it, so that nothing the test waits for can come too late."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synth_ray.records import digest
from tests.endpoint_server import MODEL, Reply, behaving_server

LONGEST_S = 480.0
"""Nothing is held for longer: the run then ends, and the test says what did not come."""


class HeldServer:
    """Answers by the prompt alone, now and then as before, with nothing, cut, or with a refusal. `url` is its base URL."""

    def __init__(self) -> None:
        self.url = ""
        self._asks = 0
        self._free = 0
        self._every_s: float | None = None
        self._until = 0.0
        self._is_free = threading.Event()
        self._is_free.set()
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()

    def hold(self, *, after: int = 0, every_s: float | None = None) -> None:
        """Leave asks unanswered from now on, all but the first `after`; with `every_s` they are answered one by one."""
        with self._lock:
            self._asks, self._free, self._every_s, self._until = 0, after, every_s, time.monotonic() + LONGEST_S
            self._is_free.clear()

    def let_go(self) -> None:
        self._is_free.set()

    def teacher(self, *, at_once: int = 16) -> dict[str, Any]:
        """The section of a model that is behind this server, of which each replica asks so many at once."""
        endpoint = {"urls": [self.url], "flavour": "openai", "concurrency": at_once, "timeout_s": 600}
        return {"engine": "endpoint", "model": MODEL, "endpoint": endpoint}

    def behave(self, body: dict[str, Any], _times: int) -> Reply:
        with self._lock:
            self._asks += 1
            is_held = self._asks > self._free
        if is_held:
            self._wait()
        if random.Random(digest(body["messages"])).random() < 0.02:
            return 400, {"error": {"code": "content_filter"}}
        choices = [_choice(body, number) for number in range(body.get("n", 1))]
        return 200, {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 5}}

    def _wait(self) -> None:
        if self._every_s is None:
            self._is_free.wait(self._until - time.monotonic())
        elif not self._is_free.is_set():
            with self._one_at_a_time:
                self._is_free.wait(self._every_s)


def _choice(body: dict[str, Any], number: int) -> dict[str, Any]:
    name = digest(body["messages"], number)
    draw = random.Random(name)
    text = f"the answer {draw.randrange(9) if draw.random() < 0.2 else name}"
    end = "length" if draw.random() < 0.03 else "stop"
    return {"index": number, "finish_reason": end, "message": {"content": "" if draw.random() < 0.02 else text}}


@contextmanager
def held_server() -> Iterator[HeldServer]:
    """Run it for the block. It answers at once until it is told to hold, and again when the block ends."""
    server = HeldServer()
    with behaving_server(server.behave) as (server.url, _):
        try:
            yield server
        finally:
            server.let_go()
