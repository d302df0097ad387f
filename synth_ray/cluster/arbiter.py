"""The arbiter of a cluster: one small actor that all jobs of synth_ray there report to, and that tells each its share."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from synth_ray.cluster.fair_share import Claim, fair_shares

log = logging.getLogger(__name__)

NAMESPACE = "synth_ray"
NAME = "fair_share_1"
"""The number is of the protocol: jobs whose versions differ in it do not share."""

_REPORT_EVERY_S = 2.0
_SETTLES_S = 10.0
"""Reports and what Ray calls available lag behind each other: a capacity is the most that was seen in this time."""

_FORGOTTEN_AFTER_S = 30.0
_SILENT_S = 30.0
_ENDS_AFTER_S = 120.0


class Arbiter:
    """Law: what it knows is what was reported in the last 30 s, so that it may be lost and started again at any moment. It ends
    by itself when nobody has reported for two minutes.
    """

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._reported_at: dict[str, float] = {}
        self._seen: dict[str, deque[tuple[float, float]]] = {}
        self._last_call = time.monotonic()
        threading.Thread(target=self._end_when_idle, daemon=True).start()

    def report(self, job: str, claim: Claim) -> int:
        """Take the job's claim; returns how many replicas it may have now."""
        now = self._last_call = time.monotonic()
        since = self._claims[job].since if job in self._claims else now
        self._claims[job], self._reported_at[job] = replace(claim, since=since), now
        for silent in [name for name, at in self._reported_at.items() if now - at > _FORGOTTEN_AFTER_S]:
            self.leave(silent)
        alike = {name: other for name, other in self._claims.items() if other.resource == claim.resource}
        capacity = self._capacity(claim.resource, sum(other.held for other in alike.values()), now)
        # A job that is alone may wait for nodes that do not exist yet.
        return claim.wanted if len(alike) == 1 else fair_shares(alike, capacity)[job]

    def _capacity(self, resource: str, held: float, now: float) -> float:
        """The units that all claims have, and those that nobody has."""
        seen = self._seen.setdefault(resource, deque())
        seen.append((now, held + ray.available_resources().get(resource, 0.0)))
        while now - seen[0][0] > _SETTLES_S:
            seen.popleft()
        return max(units for _, units in seen)

    def leave(self, job: str) -> None:
        self._claims.pop(job, None)
        self._reported_at.pop(job, None)

    def _end_when_idle(self) -> None:
        while time.monotonic() - self._last_call < _ENDS_AFTER_S:
            time.sleep(1)
        os._exit(0)  # an actor's method would need a caller


class FairShare:
    """A job's side of the arbiter: reports now and then, and never waits."""

    def __init__(self, job: str, clock: Callable[[], float]) -> None:
        self._job, self._clock = job, clock
        self._arbiter: Any = None
        self._reply: Any = None
        self._due = self._asked_at = clock()
        self._has_told = self._is_lost = False

    def tick(self, claim: Claim) -> int | None:
        """The share that a report of this job was answered with; None while there is no new one."""
        if self._reply is None and self._clock() >= self._due:
            self._due = self._clock() + _REPORT_EVERY_S
            self._arbiter = self._arbiter or _find_or_start()
            self._reply, self._asked_at = self._arbiter.report.remote(self._job, claim), self._clock()
        if self._reply is None or not ray.wait([self._reply], timeout=0)[0]:
            self._tell_of_silence()
            return None
        reply, self._reply, self._has_told = self._reply, None, False
        try:
            share, self._is_lost = int(ray.get(reply)), False
            return share
        except RayError as error:
            self._tell_of_loss(error)
            self._arbiter = None
            return None

    def _tell_of_silence(self) -> None:
        if self._reply is not None and not self._has_told and self._clock() - self._asked_at >= _SILENT_S:
            self._has_told = True
            log.warning("the arbiter of this cluster has not answered for %g s: this job keeps the replicas it has", _SILENT_S)

    def _tell_of_loss(self, error: RayError) -> None:
        """Once, until one answers again."""
        if not self._is_lost:
            self._is_lost = True
            log.warning("the arbiter of this cluster is gone (%s); another starts", type(error).__name__)

    def leave(self) -> None:
        if self._arbiter is not None:
            self._arbiter.leave.remote(self._job)


def _find_or_start() -> Any:
    remote = ray.remote(num_cpus=0)(Arbiter)
    options = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, "max_restarts": 0}
    return remote.options(**options).remote()
