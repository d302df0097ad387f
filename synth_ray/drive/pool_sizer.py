"""How a number of replicas is divided between pools that wait for each other. Pure: measured figures in, a move out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_MIN_REQUESTS = 50
_MIN_GAIN = 0.02
_ERRORS = 2.0
_WINDOW_S = 600.0
_MAX_DRIFT = 0.1


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool at one moment: replicas up, replicas starting or leaving, and replica-seconds in use since the run began. A replica
    that runs half of what it can is half in use; so what a request takes is known of a pool that is not full as well.
    """

    up: int
    changing: int
    used_s: float


@dataclass(frozen=True, slots=True)
class Move:
    """So many replicas of one pool are to end, and as many of another to start."""

    origin: str
    target: str
    replicas: int


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    requests: int
    in_flight: int
    used_s: Mapping[str, float]


class PoolSizer:
    """Law: a move is advised only where the requests it will gain in the time that is left exceed those lost while the new
    replicas start, and the gain exceeds the error of measurement; never while a replica starts or leaves. Each pool keeps one.

    The best division is the one whose slowest pool is fastest: the pools' work is in proportion to the replica-seconds a request
    takes in each, measured since the last change, or over the last ten minutes or so.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._marks: list[_Mark] = []
        self._changed_at = 0

    def advise(
        self, pools: Mapping[str, PoolState], *, requests: int, in_flight: int, left: float | None, start_s: float
    ) -> Move | None:
        """`requests` ended so far, `left` are to come (None where nobody knows: as many again), `in_flight` are in the pools.
        `start_s` is how long a replica takes to start.
        """
        now = _Mark(self._clock(), requests, in_flight, {name: pool.used_s for name, pool in pools.items()})
        if any(pool.changing or not pool.up for pool in pools.values()):
            self._marks.clear()
            self._changed_at = requests
            return None
        # After a change the pools fill, and what is in use belongs to requests that have not ended.
        if requests - self._changed_at < in_flight:
            return None
        if not self._marks:
            self._marks = [now, now]
        since = self._marks[0]
        ended = requests - since.requests
        # While a queue between the pools grows or empties, one of them works for requests that the other does not see.
        if ended < _MIN_REQUESTS or now.at <= since.at or abs(in_flight - since.in_flight) > _MAX_DRIFT * ended:
            return None
        work = {name: max(1e-9, (now.used_s[name] - since.used_s[name]) / ended) for name in pools}
        self._forget_what_is_old(now)
        sizes = {name: pool.up for name, pool in pools.items()}
        seconds = self._seconds_left(left, now, _rate(sizes, work))
        return _best_move(sizes, work, seconds=seconds, start_s=start_s, min_gain=_MIN_GAIN + _ERRORS / ended**0.5)

    def _seconds_left(self, left: float | None, now: _Mark, rate: float) -> float:
        return now.at - self._began if left is None else left / rate

    def _forget_what_is_old(self, now: _Mark) -> None:
        if now.at - self._marks[1].at > _WINDOW_S / 2:
            self._marks = [self._marks[1], now]


def _rate(sizes: Mapping[str, int], work: Mapping[str, float]) -> float:
    """Requests per second: those of the slowest pool."""
    return min(size / work[name] for name, size in sizes.items())


def _best_move(
    sizes: Mapping[str, int], work: Mapping[str, float], *, seconds: float, start_s: float, min_gain: float
) -> Move | None:
    """The move that gains most requests in the seconds left; None where none gains."""
    rate = _rate(sizes, work)
    best, most = None, 0.0
    for move in _moves(sizes):
        during = _rate({**sizes, move.origin: sizes[move.origin] - move.replicas}, work)
        after = _rate(_moved(sizes, move), work)
        gained = (after - rate) * max(0.0, seconds - start_s) - (rate - during) * min(start_s, seconds)
        if after > rate * (1 + min_gain) and gained > most:
            best, most = move, gained
    return best


def _moves(sizes: Mapping[str, int]) -> Iterator[Move]:
    for origin in sizes:
        for target in sizes:
            if origin != target:
                yield from (Move(origin, target, n) for n in range(1, sizes[origin]))


def _moved(sizes: Mapping[str, int], move: Move) -> dict[str, int]:
    """The sizes after the move."""
    return {
        **sizes,
        move.origin: sizes[move.origin] - move.replicas,
        move.target: sizes[move.target] + move.replicas,
    }
