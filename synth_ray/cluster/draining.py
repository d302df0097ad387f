"""Replicas on nodes that are being drained. Ray knows of it before the node goes (a spot notice, `ray drain-node`)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from synth_ray.cluster.internals import draining_deadlines

_POLL_INTERVAL_S = 1.0
_MARGIN_S = 5.0
_NOTICE_S = 120.0


def draining_nodes() -> dict[str, float]:
    """Seconds left to each node that is being drained, by node id."""
    now = time.time()
    return {node: at / 1000 - now if at else _NOTICE_S for node, at in draining_deadlines().items()}


class DrainTracker:
    """Tracks which replica is on which node, how many requests it has in flight, and when it must have returned them.

    Law: each draining replica is reported once, and asked once to return its requests: when none are in flight, or shortly before
    the node goes.
    """

    def __init__(self, clock: Callable[[], float], nodes: Callable[[], dict[str, float]] = draining_nodes) -> None:
        self._clock = clock
        self._nodes = nodes
        self._polled_at = float("-inf")
        self._node_of: dict[int, str] = {}
        self._in_flight: Counter[int] = Counter()
        self._deadline: dict[int, float] = {}
        self._asked_to_end: set[int] = set()

    def on_placed(self, replica: int, node: str) -> None:
        self._node_of[replica] = node

    def add_in_flight(self, replica: int, requests: int) -> None:
        self._in_flight[replica] += requests

    def forget(self, replica: int) -> bool:
        """Forget the replica; returns whether it was draining."""
        self._node_of.pop(replica, None)
        self._in_flight.pop(replica, None)
        self._asked_to_end.discard(replica)
        return self._deadline.pop(replica, None) is not None

    def __contains__(self, replica: int) -> bool:
        return replica in self._deadline

    def new_notices(self) -> list[int]:
        """Replicas whose node has started to drain since the last call."""
        now = self._clock()
        if not self._node_of or now - self._polled_at < _POLL_INTERVAL_S:
            return []
        self._polled_at = now
        left = self._nodes()
        new = [t for t, node in self._node_of.items() if node in left and t not in self._deadline]
        for replica in new:
            self._deadline[replica] = now + max(0.0, min(left[self._node_of[replica]], _NOTICE_S) - _MARGIN_S)
        return new

    def due_to_end(self) -> list[int]:
        """Replicas that must return their requests now."""
        now = self._clock()
        due = [
            t for t, until in self._deadline.items() if t not in self._asked_to_end and (until <= now or self._in_flight[t] <= 0)
        ]
        self._asked_to_end.update(due)
        return due
