"""Several servers, each asked for as much as it bears: how many requests are in flight to which."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

_START = 16.0
_BACK = 0.7
_SLOW = 4.0  # times the best smoothed latency, beyond which more in flight only makes a queue
_SMOOTH = 0.05
_COOL_S = 5.0
_MOST_COOL_S = 60.0


@dataclass(slots=True)
class Lane:
    """One server. `limit` is what it bears by its answers so far."""

    url: str
    limit: float
    running: int = 0
    lost: bool = False
    cut_at: float = 0.0
    latency: float = 0.0
    best: float = 0.0
    failures: int = 0
    cool_until: float = 0.0


class Lanes:
    """Additive increase, multiplicative decrease (Chiu & Jain, 1989), after a start that doubles until the first refusal.

    Law: no lane holds more than its limit, no limit passes `most`; who waits is served in order, by the emptiest lane. A lane
    that fails to connect is left alone for a while that grows.
    """

    def __init__(self, urls: Sequence[str], *, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self.lanes = [Lane(url, min(_START, most)) for url in urls]
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.last_success = clock()

    @property
    def running(self) -> int:
        return sum(lane.running for lane in self.lanes)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[Lane]:
        """The emptiest lane with room, once there is one. Leaving it frees the place."""
        while (lane := self._free()) is None:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await asyncio.wait_for(turn, self._until_warm())
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

    def _free(self) -> Lane | None:
        now = self._clock()
        open_ = [lane for lane in self.lanes if lane.running < max(1, int(lane.limit)) and lane.cool_until <= now]
        return min(open_, key=lambda lane: (lane.running / lane.limit, lane.url), default=None)

    def _until_warm(self) -> float | None:
        now = self._clock()
        cooling = [lane.cool_until - now for lane in self.lanes if lane.cool_until > now]
        return max(0.01, min(cooling)) if cooling else None

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def answered(self, lane: Lane, seconds: float) -> None:
        lane.failures, lane.cool_until = 0, 0.0
        self.last_success = self._clock()
        lane.latency = seconds if not lane.latency else lane.latency + _SMOOTH * (seconds - lane.latency)
        lane.best = min(lane.best or lane.latency, lane.latency)
        if lane.latency <= _SLOW * lane.best and lane.running >= int(lane.limit) - 1:
            lane.limit = min(float(self._most), lane.limit + (1 / lane.limit if lane.lost else 1))
            self._wake()

    def refused(self, lane: Lane, *, wait_s: float = 0.0) -> None:
        """It said that it is asked too much (429, 5xx, a timeout): fewer from now on, and none before `wait_s`."""
        now = self._clock()
        lane.lost = True
        if now - lane.cut_at >= max(0.5, lane.latency):  # one cut for all that was in flight when it said so
            lane.limit, lane.cut_at = max(1.0, lane.limit * _BACK), now
        lane.cool_until = max(lane.cool_until, now + wait_s)

    def gone(self, lane: Lane) -> None:
        """Nobody answers there."""
        lane.failures += 1
        self.refused(lane, wait_s=min(_MOST_COOL_S, _COOL_S * 2 ** (lane.failures - 1)) if len(self.lanes) > 1 else 0.0)
