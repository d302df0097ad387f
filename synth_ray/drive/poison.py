"""Finds requests that kill engines, by repeating smaller and smaller groups of those in flight when engines died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from math import isqrt

from synth_ray.records import Request

_DEATHS_TO_SUSPECT = 2
_MAX_SPLIT_INTO_SINGLES = 8


class PoisonIsolation:
    """Requests in flight at two deaths are repeated in groups, each on a replica that has nothing else.

    Law: a request is poison only after two engine deaths while in flight among others and two while alone; everything else is
    asked again. A group that dies is split into √n parts (single requests when few are left): one poison request among a thousand
    costs about four more engines, where halving would cost ten.
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
        """Whether any request was in flight at a death."""
        return bool(self._deaths)

    def next_group(self) -> list[Request]:
        return self._groups.popleft() if self._groups else []

    def on_death(self, in_flight: Iterable[Request], *, isolated: bool) -> tuple[list[Request], list[Request]]:
        """An engine died with these requests in flight; `isolated` says they were an isolation group. Returns (requeue,
        poison).
        """
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
        """A replica ended cleanly with these requests in flight, so none is suspected for it. Returns what to requeue."""
        if not isolated:
            return list(in_flight)
        self._groups.appendleft(list(in_flight))
        return []

    def exonerate(self, ids: Iterable[str]) -> None:
        """These requests were answered, so they did not cause the deaths they were in flight at."""
        for id_ in ids:
            self._deaths.pop(id_, None)


def _split_group(requests: list[Request]) -> list[list[Request]]:
    size = 1 if len(requests) <= _MAX_SPLIT_INTO_SINGLES else isqrt(len(requests))
    return [requests[i : i + size] for i in range(0, len(requests), size)]
