"""Nodes that are being drained, and what is on them. Ray knows of it before the node goes (a spot notice, `ray drain-node`)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

import ray

from synth_ray.cluster.head import HeadWatch
from synth_ray.cluster.internals import draining_deadlines

_POLL_INTERVAL_S = 1.0
_MARGIN_S = 5.0
_NOTICE_S = 120.0


def draining_nodes() -> dict[str, float]:
    """Seconds left to each node that is being drained, by node id."""
    now = time.time()
    return {node: at / 1000 - now if at else _NOTICE_S for node, at in draining_deadlines().items()}


def is_own_node_up() -> bool:
    own = ray.get_runtime_context().get_node_id()
    return any(node["Alive"] for node in ray.nodes() if node["NodeID"] == own)


class DrainingNodes:
    """What `draining_nodes` says, asked at most once a second; while the head does not answer, what it said last.
    Raises SynthRayError once the head is given up.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        head: HeadWatch | None = None,
        ask: Callable[[], dict[str, float]] = draining_nodes,
        is_own_up: Callable[[], bool] = is_own_node_up,
    ) -> None:
        self._clock, self._ask, self._is_own_up = clock, ask, is_own_up
        self._is_own_gone = False
        self._head = head or HeadWatch(clock)
        self._asked_at = float("-inf")
        self._left: Mapping[str, float] = {}
        self._has_told_of_driver = False

    def __call__(self) -> Mapping[str, float]:
        if self._clock() - self._asked_at >= _POLL_INTERVAL_S:
            # Asking a head that is gone would end this process after a minute, in C++ and without a word.
            if self._head.answers():
                self._left = self._ask()
                # A node on which nothing of the cluster's runs, as a head with only the driver, is gone as soon as it is drained.
                self._is_own_gone = not self._is_own_up()
            self._asked_at = self._clock()
        return self._left

    def notice_to_driver(self) -> float | None:
        """Seconds left to the driver's own node, told once, 0 where it is gone; None where there is nothing to tell."""
        if self._has_told_of_driver:
            return None
        left = self()
        seconds = 0.0 if self._is_own_gone else left.get(ray.get_runtime_context().get_node_id()) if left else None
        self._has_told_of_driver = seconds is not None
        return seconds


class DrainTracker:
    """Tracks which replica is on which node, how many requests it has in flight, and when it must have returned them.

    Law: each draining replica is reported once, and asked once to return its requests: when none are in flight, or shortly before
    the node goes.
    """

    def __init__(self, clock: Callable[[], float], nodes: Callable[[], Mapping[str, float]]) -> None:
        self._clock = clock
        self._nodes = nodes
        self._node_of: dict[int, str] = {}
        self._in_flight: Counter[int] = Counter()
        self._deadline: dict[int, float] = {}
        self._asked_to_end: set[int] = set()
        self._leaving: set[int] = set()

    def on_placed(self, replica: int, node: str) -> None:
        self._node_of[replica] = node

    def add_in_flight(self, replica: int, requests: int) -> None:
        self._in_flight[replica] += requests

    def forget(self, replica: int) -> bool:
        """Forget the replica; returns whether it was draining."""
        self._node_of.pop(replica, None)
        self._in_flight.pop(replica, None)
        self._asked_to_end.discard(replica)
        self._leaving.discard(replica)
        return self._deadline.pop(replica, None) is not None

    def __contains__(self, replica: int) -> bool:
        return replica in self._deadline

    def new_notices(self) -> list[int]:
        """Replicas whose node has started to drain since the last call, without those that were leaving already."""
        left = self._nodes() if self._node_of else {}
        new = []
        for replica in [replica for replica, node in self._node_of.items() if node in left]:
            until = self._clock() + max(0.0, min(left[self._node_of[replica]], _NOTICE_S) - _MARGIN_S)
            if replica not in self._deadline:
                new.append(replica)
                self._deadline[replica] = until
            elif replica in self._leaving:
                self._leaving.discard(replica)
                self._deadline[replica] = min(until, self._deadline[replica])
        return new

    def start(self, replica: int, notice_s: float) -> None:
        """Drain a replica whose node stays, for now."""
        self._leaving.add(replica)
        self._deadline[replica] = self._clock() + notice_s

    def gives_way(self, replica: int) -> bool:
        """Whether it leaves although its node stays."""
        return replica in self._leaving

    def in_flight(self, replica: int) -> int:
        return self._in_flight[replica]

    def due_to_end(self) -> list[int]:
        """Replicas that must return their requests now."""
        now = self._clock()
        due = [
            t for t, until in self._deadline.items() if t not in self._asked_to_end and (until <= now or self._in_flight[t] <= 0)
        ]
        self._asked_to_end.update(due)
        return due
