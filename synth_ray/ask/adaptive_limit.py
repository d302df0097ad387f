"""How many requests are in flight to each of several servers: adapted to what each of them can take."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

_START_LIMIT = 16.0
_DECREASE_FACTOR = 0.7
_MAX_LATENCY_RATIO = 4.0  # times the best smoothed latency; above it, more requests in flight only lengthen the server's queue
_LATENCY_SMOOTHING = 0.05
_RETRY_S = 5.0
_MAX_RETRY_S = 60.0


@dataclass(slots=True)
class EndpointState:
    """One server. `limit` is the number of requests it can take, as estimated from its replies so far."""

    url: str
    limit: float
    running: int = 0
    left_slow_start: bool = False
    decreased_at: float = 0.0
    latency: float = 0.0
    best: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    chosen: int = 0


class EndpointLimiter:
    """Additive increase, multiplicative decrease (Chiu & Jain, 1989), after a slow start that doubles until the first refusal.

    Law: no endpoint has more requests in flight than its limit, and no limit exceeds `max_limit`; callers are served in order,
    each by the least loaded endpoint: one that comes later never takes the place of one that waits, and no endpoint is left out.
    An endpoint that cannot be connected to is skipped for a pause that grows with every failure.
    """

    def __init__(self, urls: Sequence[str], *, max_limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_limit = max_limit
        self._clock = clock
        self.endpoints = [EndpointState(url, min(_START_LIMIT, max_limit)) for url in urls]
        self._waiting: deque[asyncio.Future[EndpointState]] = deque()
        self._look_again: asyncio.TimerHandle | None = None
        self._choices = count(1)
        self._last_reply = clock()
        self._longest_wait_s = 0.0
        self.is_only_busy = False

    @property
    def silent_s(self) -> float:
        """Seconds since the last reply that was no failure, without the longest pause that a server asked for since."""
        return self._clock() - self._last_reply - self._longest_wait_s

    def restart_clock(self) -> None:
        """Count silence from now: nothing was asked before."""
        self._last_reply, self._longest_wait_s = self._clock(), 0.0

    @property
    def running(self) -> int:
        return sum(endpoint.running for endpoint in self.endpoints)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[EndpointState]:
        """Context manager: waits for a free place and yields the least loaded endpoint; the place is freed on exit."""
        endpoint = await self._turn()
        try:
            yield endpoint
        finally:
            endpoint.running -= 1
            self._serve()

    async def _turn(self) -> EndpointState:
        """An endpoint with a place that is taken already: one that comes meanwhile cannot take it first."""
        turn: asyncio.Future[EndpointState] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._serve()
        try:
            return await asyncio.shield(turn)
        except asyncio.CancelledError:
            if turn.done():
                turn.result().running -= 1
            else:
                self._waiting.remove(turn)
            self._serve()
            raise

    def _serve(self) -> None:
        """Give the free places to those who wait, in order; where a pause ends later, look again then."""
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None
        while self._waiting and (endpoint := self._choose_free()) is not None:
            endpoint.running += 1
            endpoint.chosen = next(self._choices)
            self._waiting.popleft().set_result(endpoint)
        if self._waiting and (seconds := self._next_retry_s()) is not None:
            self._look_again = asyncio.get_running_loop().call_later(seconds, self._serve)

    def _choose_free(self) -> EndpointState | None:
        """The least loaded; among equals the one that was chosen longest ago."""
        now = self._clock()
        open_ = [
            endpoint for endpoint in self.endpoints if endpoint.running < max(1, int(endpoint.limit)) and endpoint.retry_at <= now
        ]
        return min(open_, key=lambda endpoint: (endpoint.running / endpoint.limit, endpoint.chosen), default=None)

    def _next_retry_s(self) -> float | None:
        now = self._clock()
        cooling = [endpoint.retry_at - now for endpoint in self.endpoints if endpoint.retry_at > now]
        return max(0.01, min(cooling)) if cooling else None

    def on_success(self, endpoint: EndpointState, seconds: float) -> None:
        self.on_reply(endpoint)
        endpoint.latency = (
            seconds if not endpoint.latency else endpoint.latency + _LATENCY_SMOOTHING * (seconds - endpoint.latency)
        )
        endpoint.best = min(endpoint.best or endpoint.latency, endpoint.latency)
        if endpoint.latency <= _MAX_LATENCY_RATIO * endpoint.best and endpoint.running >= int(endpoint.limit) - 1:
            endpoint.limit = min(float(self._max_limit), endpoint.limit + (1 / endpoint.limit if endpoint.left_slow_start else 1))
            self._serve()

    def on_reply(self, endpoint: EndpointState) -> None:
        """The server is up and serves: it answered, or refused one ask for a reason of that ask."""
        if endpoint.failures:  # its pause was our own; one that the server asked for goes on
            endpoint.failures, endpoint.retry_at = 0, 0.0
        self.is_only_busy = False
        self.restart_clock()

    def on_overload(self, endpoint: EndpointState, *, wait_s: float = 0.0, is_busy: bool = False) -> None:
        """The server reported overload (429, 5xx, a timeout): lower its limit, and send nothing before the `wait_s` seconds have
        passed that it asks for. `is_busy`: it did reply, and did no work.
        """
        now = self._clock()
        self.is_only_busy = is_busy
        self._longest_wait_s = max(self._longest_wait_s, wait_s)
        endpoint.left_slow_start = True
        # at most one decrease for all requests that were in flight at that moment
        if now - endpoint.decreased_at >= max(0.5, endpoint.latency):
            endpoint.limit, endpoint.decreased_at = max(1.0, endpoint.limit * _DECREASE_FACTOR), now
        endpoint.retry_at = max(endpoint.retry_at, now + wait_s)

    def on_connect_error(self, endpoint: EndpointState) -> None:
        """The connection failed: nobody listens there."""
        endpoint.failures += 1
        self.on_overload(endpoint)
        if len(self.endpoints) > 1:
            pause = min(_MAX_RETRY_S, _RETRY_S * 2 ** (endpoint.failures - 1))
            endpoint.retry_at = max(endpoint.retry_at, self._clock() + pause)
