"""Which request kills engines: found by asking fewer and fewer of those that were in flight when engines died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from math import isqrt

from synth_ray.records import Request

_DEATHS_TO_SUSPECT = 2
_SINGLE_BELOW = 8


class PoisonIsolation:
    """Requests that were in flight at two deaths are asked again in groups, each on a replica that has nothing else.

    Law: a request is guilty only when two engines died with it alone, after two deaths with it among others; everything
    else is asked again. A group that dies is cut into groups of its square root (one by one when few are left), so that
    among a thousand requests one is found at the cost of four more engines, where halving would cost ten.
    """

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()
        self._deaths_isolated: Counter[str] = Counter()
        self._groups: deque[list[Request]] = deque()

    @property
    def has_groups(self) -> bool:
        return bool(self._groups)

    @property
    def count(self) -> int:
        return sum(map(len, self._groups))

    @property
    def has_suspects(self) -> bool:
        """Whether any request is suspected of anything."""
        return bool(self._deaths)

    def next_group(self) -> list[Request]:
        return self._groups.popleft() if self._groups else []

    def on_death(self, in_flight: Iterable[Request], *, isolated: bool) -> tuple[list[Request], list[Request]]:
        """An engine died with these in flight; `alone` says they were a group of suspects. Returns (ask again, guilty)."""
        requests = list(in_flight)
        if isolated:
            if len(requests) == 1:
                self._deaths_isolated[requests[0].id] += 1
                if self._deaths_isolated[requests[0].id] >= _DEATHS_TO_SUSPECT:
                    return [], requests
            self._groups.extendleft(reversed(_split_group(requests)))
            return [], []
        self._deaths.update(r.id for r in requests)
        suspected = [r for r in requests if self._deaths[r.id] >= _DEATHS_TO_SUSPECT]
        self._groups.extend(_split_group(suspected))
        return [r for r in requests if self._deaths[r.id] < _DEATHS_TO_SUSPECT], []

    def on_drained(self, in_flight: Iterable[Request], *, isolated: bool) -> list[Request]:
        """A replica ended in order with these in flight: none is to blame. Returns what to ask again among others."""
        if not isolated:
            return list(in_flight)
        self._groups.appendleft(list(in_flight))
        return []

    def exonerate(self, ids: Iterable[str]) -> None:
        """These were answered: what they were suspected of was another's doing."""
        for id_ in ids:
            self._deaths.pop(id_, None)


def _split_group(requests: list[Request]) -> list[list[Request]]:
    size = 1 if len(requests) <= _SINGLE_BELOW else isqrt(len(requests))
    return [requests[i : i + size] for i in range(0, len(requests), size)]
