"""Several servers, each asked for as much as it bears: how many requests are in flight to which."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

_START_LIMIT = 16.0
_DECREASE_FACTOR = 0.7
_MAX_LATENCY_RATIO = 4.0  # times the best smoothed latency, beyond which more in flight only makes a queue
_LATENCY_SMOOTHING = 0.05
_RETRY_S = 5.0
_MAX_RETRY_S = 60.0


@dataclass(slots=True)
class EndpointState:
    """One server. `limit` is what it bears by its answers so far."""

    url: str
    limit: float
    running: int = 0
    left_slow_start: bool = False
    decreased_at: float = 0.0
    latency: float = 0.0
    best: float = 0.0
    failures: int = 0
    retry_at: float = 0.0


class EndpointLimiter:
    """Additive increase, multiplicative decrease (Chiu & Jain, 1989), after a start that doubles until the first refusal.

    Law: no lane holds more than its limit, no limit passes `most`; who waits is served in order, by the emptiest lane. A lane
    that fails to connect is left alone for a while that grows.
    """

    def __init__(self, urls: Sequence[str], *, max_limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_limit = max_limit
        self._clock = clock
        self.endpoints = [EndpointState(url, min(_START_LIMIT, max_limit)) for url in urls]
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.last_success = clock()

    @property
    def running(self) -> int:
        return sum(lane.running for lane in self.endpoints)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[EndpointState]:
        """The emptiest lane with room, once there is one. Leaving it frees the place."""
        while (lane := self._choose_free()) is None:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await asyncio.wait_for(turn, self._next_retry_s())
            except TimeoutError:
                pass  # a lane has cooled down
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
        lane.running += 1
        try:
            yield lane
        finally:
            lane.running -= 1
            self._wake()

    def _choose_free(self) -> EndpointState | None:
        now = self._clock()
        open_ = [lane for lane in self.endpoints if lane.running < max(1, int(lane.limit)) and lane.retry_at <= now]
        return min(open_, key=lambda lane: (lane.running / lane.limit, lane.url), default=None)

    def _next_retry_s(self) -> float | None:
        now = self._clock()
        cooling = [lane.retry_at - now for lane in self.endpoints if lane.retry_at > now]
        return max(0.01, min(cooling)) if cooling else None

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def on_success(self, endpoint: EndpointState, seconds: float) -> None:
        endpoint.failures, endpoint.retry_at = 0, 0.0
        self.last_success = self._clock()
        endpoint.latency = (
            seconds if not endpoint.latency else endpoint.latency + _LATENCY_SMOOTHING * (seconds - endpoint.latency)
        )
        endpoint.best = min(endpoint.best or endpoint.latency, endpoint.latency)
        if endpoint.latency <= _MAX_LATENCY_RATIO * endpoint.best and endpoint.running >= int(endpoint.limit) - 1:
            endpoint.limit = min(float(self._max_limit), endpoint.limit + (1 / endpoint.limit if endpoint.left_slow_start else 1))
            self._wake()

    def on_overload(self, endpoint: EndpointState, *, wait_s: float = 0.0) -> None:
        """It said that it is asked too much (429, 5xx, a timeout): fewer from now on, and none before `wait_s`."""
        now = self._clock()
        endpoint.left_slow_start = True
        if now - endpoint.decreased_at >= max(0.5, endpoint.latency):  # one cut for all that was in flight when it said so
            endpoint.limit, endpoint.decreased_at = max(1.0, endpoint.limit * _DECREASE_FACTOR), now
        endpoint.retry_at = max(endpoint.retry_at, now + wait_s)

    def on_connect_error(self, endpoint: EndpointState) -> None:
        """Nobody answers there."""
        endpoint.failures += 1
        self.on_overload(
            endpoint, wait_s=min(_MAX_RETRY_S, _RETRY_S * 2 ** (endpoint.failures - 1)) if len(self.endpoints) > 1 else 0.0
        )
