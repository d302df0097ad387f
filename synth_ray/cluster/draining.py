"""Replicas whose node is about to be taken away: Ray is told of it before the node goes (a spot notice, `ray drain-node`)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ray._private.state import state

_ASK_EVERY_S = 1.0
_SPARE_S = 5.0
_NOTICE_S = 120.0


def draining_nodes() -> dict[str, float]:
    """Seconds left to each node that is being drained, by its id. Ray has no public name for it; Ray Train asks the same."""
    now = time.time()
    return {node: at / 1000 - now if at else _NOTICE_S for node, at in state.get_draining_nodes().items()}


class Leaving:
    """Which replica stands on which node, what lies with it, and when it must have handed that back.

    Law: a replica on a leaving node is noticed once, and due once: when nothing lies with it any more, or a little before
    its node goes.
    """

    def __init__(self, clock: Callable[[], float], nodes: Callable[[], dict[str, float]] = draining_nodes) -> None:
        self._clock = clock
        self._nodes = nodes
        self._asked_at = float("-inf")
        self._on: dict[int, str] = {}
        self._with: Counter[int] = Counter()
        self._until: dict[int, float] = {}
        self._told: set[int] = set()

    def placed(self, teacher: int, node: str) -> None:
        self._on[teacher] = node

    def asked(self, teacher: int, requests: int) -> None:
        self._with[teacher] += requests

    def gone(self, teacher: int) -> bool:
        """Forget the replica; whether it was leaving."""
        self._on.pop(teacher, None)
        self._with.pop(teacher, None)
        self._told.discard(teacher)
        return self._until.pop(teacher, None) is not None

    def __contains__(self, teacher: int) -> bool:
        return teacher in self._until

    def noticed(self) -> list[int]:
        """Replicas that learn now that they leave."""
        now = self._clock()
        if not self._on or now - self._asked_at < _ASK_EVERY_S:
            return []
        self._asked_at = now
        left = self._nodes()
        new = [t for t, node in self._on.items() if node in left and t not in self._until]
        for teacher in new:
            self._until[teacher] = now + max(0.0, min(left[self._on[teacher]], _NOTICE_S) - _SPARE_S)
        return new

    def due(self) -> list[int]:
        """Replicas that must hand back now."""
        now = self._clock()
        due = [t for t, until in self._until.items() if t not in self._told and (until <= now or self._with[t] <= 0)]
        self._told.update(due)
        return due
