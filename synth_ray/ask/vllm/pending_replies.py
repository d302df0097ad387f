"""Futures by request number, on any number of event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Iterable
from contextlib import suppress
from typing import Any

from synth_ray.errors import EngineDied

Answer = asyncio.Future[Any]


class PendingReplies:
    """One thread resolves futures that live on event loops, with one `call_soon_threadsafe` per loop and batch; it never waits
    for a loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, tuple[asyncio.AbstractEventLoop, Answer]] = {}
        self._lock = threading.Lock()
        self._failure = ""

    def add(self, name: Hashable) -> Answer:
        """A future on the running loop. Raises EngineDied once `fail_all` was called."""
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        with self._lock:
            if self._failure:
                raise EngineDied(self._failure)
            self._waiting[name] = (loop, answer)
        return answer

    def forget(self, name: Hashable) -> tuple[asyncio.AbstractEventLoop, Answer] | None:
        """The caller no longer waits for this number. None if it did not."""
        return self._waiting.pop(name, None)

    def resolve(self, done: Iterable[tuple[Hashable, Any]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Answer, Any]]] = {}
        for name, result in done:
            if (waiter := self.forget(name)) is not None:
                by_loop.setdefault(waiter[0], []).append((waiter[1], result))
        for loop, results in by_loop.items():
            with suppress(RuntimeError):  # on a closed loop nobody waits
                loop.call_soon_threadsafe(_resolve, results)

    def fail_all(self, why: str) -> None:
        """Fail every pending and every later future with EngineDied; the first cause is kept."""
        with self._lock:
            self._failure = self._failure or why
            left = list(self._waiting)
        self.resolve([(name, EngineDied(self._failure)) for name in left])


def _resolve(results: list[tuple[Answer, Any]]) -> None:
    for answer, result in results:
        if answer.done():
            continue
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)
