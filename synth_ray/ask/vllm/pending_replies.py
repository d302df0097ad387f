"""Who waits for which answer, on whichever event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Iterable
from contextlib import suppress
from typing import Any

from synth_ray.errors import EngineDied

Answer = asyncio.Future[Any]


class PendingReplies:
    """Asked on event loops, answered by a thread that never waits for them: all it knows at once, in one call to each loop."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, tuple[asyncio.AbstractEventLoop, Answer]] = {}
        self._lock = threading.Lock()
        self._failure = ""

    def add(self, name: Hashable) -> Answer:
        """A future on the running loop. Raises EngineDead once the engine is buried."""
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        with self._lock:
            if self._failure:
                raise EngineDied(self._failure)
            self._waiting[name] = (loop, answer)
        return answer

    def forget(self, name: Hashable) -> tuple[asyncio.AbstractEventLoop, Answer] | None:
        """Nobody waits for it any more. None where nobody did."""
        return self._waiting.pop(name, None)

    def resolve(self, done: Iterable[tuple[Hashable, Any]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Answer, Any]]] = {}
        for name, result in done:
            if (waiter := self.forget(name)) is not None:
                by_loop.setdefault(waiter[0], []).append((waiter[1], result))
        for loop, results in by_loop.items():
            with suppress(RuntimeError):  # on a loop that was closed nobody waits
                loop.call_soon_threadsafe(_resolve, results)

    def fail_all(self, why: str) -> None:
        """Everyone who waits, and everyone who comes later, hears of the engine's death: of the first cause of it."""
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
