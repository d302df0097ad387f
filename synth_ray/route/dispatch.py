"""Which replica gets which request, and what of a dead one is asked elsewhere.

Nothing waits for a batch: a replica is topped up whenever it has room, from whatever is next.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from synth_ray.ask.journal import Answers
from synth_ray.ask.rows import Answered
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import Recalled
from synth_ray.records import Request
from synth_ray.route.pool import Pool, TeacherAnswered, TeacherLost, TeacherReady
from synth_ray.route.suspects import Suspects

log = logging.getLogger(__name__)

FULL = 4
"""Times max_running kept on a replica, so that its engine always has the next prompt at hand."""


@dataclass(slots=True)
class Replica:
    """One teacher as the driver sees it: what it is and what it was asked and has not answered.

    `alone`: it was given a group of suspects, and gets nothing else before they have ended.
    """

    facts: dict[str, TeacherFacts]
    room: int
    asked: dict[tuple[int, int], Request] = field(default_factory=dict)
    alone: bool = False


class Dispatch:
    """Requests that are planned and not answered. Law: each lies with one replica, or waits, or hides among the suspects."""

    def __init__(self, pool: Pool, *, in_flight: int | None, recall: Callable[[int], Recalled]) -> None:
        self._pool = pool
        self._in_flight = in_flight
        self._recall = recall
        self._recalled: dict[str, Answers] = {}
        self._pending: deque[Request] = deque()
        self._replicas: dict[int, Replica] = {}
        self._suspects = Suspects()
        self.facts: dict[str, TeacherFacts] = {}
        self.loads: dict[int, dict[str, Load]] = {}

    @property
    def replicas(self) -> int:
        return len(self._replicas)

    @property
    def asked(self) -> int:
        return sum(len(replica.asked) for replica in self._replicas.values())

    @property
    def is_hungry(self) -> bool:
        """Fewer requests wait than the replicas may hold."""
        return len(self._pending) < sum(replica.room for replica in self._replicas.values())

    def add(self, chunk: int, requests: Sequence[Request]) -> None:
        self._recalled.update(self._recall(chunk))
        self._pending.extend(requests)

    def give(self, *, only: int | None, full: bool) -> None:
        """Top every replica up. `full`: no more answers may wait, so only requests of the chunk `only` are asked."""
        reserved = self._reserved()
        for teacher, replica in sorted(self._replicas.items(), key=lambda item: len(item[1].asked)):
            if teacher == reserved:
                if not replica.asked:
                    self._ask(teacher, self._suspects.next_group(), alone=True)
                continue
            room = replica.room - len(replica.asked)
            # Small top-ups cost a message each; an eighth of the room is still far from empty.
            if room >= max(1, replica.room // 8):
                self._ask(teacher, self._next(room, only=only, full=full), alone=False)

    def _reserved(self) -> int | None:
        """The replica kept for suspects: the one that has a group of them, else the one nearest to having nothing."""
        alone = [teacher for teacher, replica in self._replicas.items() if replica.alone and replica.asked]
        if alone or not self._suspects.any:
            return alone[0] if alone else None
        return min(self._replicas, key=lambda t: len(self._replicas[t].asked), default=None)

    def _next(self, most: int, *, only: int | None, full: bool) -> list[Request]:
        batch: list[Request] = []
        while self._pending and len(batch) < most and (not full or self._pending[0].chunk == only):
            batch.append(self._pending.popleft())
        return batch

    def _ask(self, teacher: int, batch: list[Request], *, alone: bool) -> None:
        if not batch:
            return
        replica = self._replicas[teacher]
        if alone != replica.alone:
            self._pool.hunting(teacher, on=alone)
        replica.alone = alone
        replica.asked.update(((r.chunk, r.position), r) for r in batch)
        known = {r.id: self._recalled[r.id] for r in batch if r.id in self._recalled}
        self._pool.submit(teacher, batch, known)

    def ready(self, event: TeacherReady) -> None:
        facts = dict(event.facts)
        self.facts = self.facts or facts
        room = self._in_flight or FULL * facts["teacher"].max_running
        self._replicas[event.teacher] = Replica(facts, room)
        log.info("teacher %d is ready: %s", event.teacher, dict(facts["teacher"].engine_args))

    def answered(self, event: TeacherAnswered) -> None:
        """These requests no longer lie with the replica."""
        self.loads[event.teacher] = dict(event.load)
        replica = self._replicas.get(event.teacher)
        if replica is None:
            return
        for answered in event.answered:
            for position in answered.positions:
                replica.asked.pop((answered.chunk, position), None)

    def forget(self, answered: Answered) -> None:
        """What it took to ask these again is not needed any more."""
        if not (self._recalled or self._suspects.heard):
            return
        requests = answered.rows["request"].to_pylist()
        self._suspects.cleared(requests)
        for request in requests:
            self._recalled.pop(request, None)

    def lost(self, event: TeacherLost) -> list[Request]:
        """What the replica was asked is asked elsewhere, but for the returned requests: they kill engines."""
        replica = self._replicas.pop(event.teacher, None)
        if replica is None:
            return []
        again, guilty = self._suspects.died(replica.asked.values(), alone=replica.alone)
        self._return(again)
        for chunk in {r.chunk for r in replica.asked.values()}:
            self._recalled.update(self._recall(chunk))
        for request in guilty:
            log.error("request %d of chunk %d kills engines: it is not asked again", request.position, request.chunk)
        return guilty

    def _return(self, requests: Iterable[Request]) -> None:
        self._pending = deque(sorted([*requests, *self._pending], key=lambda r: (r.chunk, r.position)))
