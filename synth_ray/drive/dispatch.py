"""Which replica gets which request, and what of a dead or a full one is asked elsewhere.

Nothing waits for a batch: a replica is topped up whenever it has room, from whatever is next. Where nothing waits any more,
what lies queued on one replica goes to those that have run dry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from synth_ray.ask.journal import Answers
from synth_ray.ask.rows import Answered
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import Recalled
from synth_ray.drive.lengths import Lengths
from synth_ray.drive.poison import Suspects
from synth_ray.drive.request_queue import Pending
from synth_ray.job.running import IN_FLIGHT_PER_SEQUENCE
from synth_ray.records import Request
from synth_ray.workers.pool import Pool, TeacherAnswered, TeacherLeaving, TeacherLost, TeacherReady, TeacherReturned

log = logging.getLogger(__name__)

_AHEAD = 4
"""Requests that wait in the driver, in times of what the replicas hold: among them an order can be chosen."""


@dataclass(slots=True)
class Replica:
    """One teacher as the driver sees it: what it is and what it was asked and has not answered.

    `alone`: it was given a group of suspects, and gets nothing else before they have ended. `begun`: it was told to hand back
    what it had not begun, and was given nothing since. `leaving`: its machine is about to go, and it gets nothing more.
    """

    facts: dict[str, TeacherFacts]
    asked: dict[tuple[int, int], Request] = field(default_factory=dict)
    load: dict[str, Load] = field(default_factory=dict)
    alone: bool = False
    begun: bool = False
    leaving: bool = False

    @property
    def fits(self) -> int:
        """Sequences the engine runs at once: as many as it may, or as its KV cache holds of the length seen so far."""
        facts, load = self.facts["teacher"], self.load.get("teacher", Load())
        if not (facts.kv_tokens and load.sequence_tokens):
            return facts.max_running
        return max(1, min(facts.max_running, facts.kv_tokens * load.sequences // load.sequence_tokens))


class Dispatch:
    """Requests that are planned and not answered. Law: each lies with one replica, or waits, or hides among the suspects."""

    def __init__(
        self, pool: Pool, *, in_flight: int | None, recall: Callable[[int], Recalled], journalled: Collection[int]
    ) -> None:
        self._pool = pool
        self._journalled = journalled
        self._in_flight = in_flight
        self._recall = recall
        self._recalled: dict[str, Answers] = {}
        self._lengths = Lengths()
        self._pending = Pending(self._lengths)
        self._replicas: dict[int, Replica] = {}
        self._suspects = Suspects()
        self.facts: dict[str, TeacherFacts] = {}

    @property
    def replicas(self) -> int:
        return len(self._replicas)

    @property
    def asked(self) -> int:
        return sum(len(replica.asked) for replica in self._replicas.values())

    @property
    def waiting(self) -> int:
        """Requests that no replica holds."""
        return len(self._pending) + self._suspects.count

    @property
    def wanted(self) -> int:
        """Requests that replicas can hold and that should wait beside them."""
        return (1 + _AHEAD) * sum(map(self._room, self._replicas.values()))

    @property
    def is_hungry(self) -> bool:
        """Fewer requests wait than an order can be chosen among; before a replica is up, none: then it need not come up."""
        return len(self._pending) < max(1, _AHEAD * sum(map(self._room, self._replicas.values())))

    @property
    def all(self) -> list[int]:
        return list(self._replicas)

    def idle(self) -> Iterator[int]:
        """Replicas that were asked nothing."""
        return (teacher for teacher, replica in self._replicas.items() if not replica.asked)

    def _room(self, replica: Replica) -> int:
        return 0 if replica.leaving else self._in_flight or IN_FLIGHT_PER_SEQUENCE * replica.fits

    def add(self, chunk: int, requests: Sequence[Request]) -> None:
        """Requests of a chunk that this run has not asked before: only an earlier run can have journalled answers of it."""
        if chunk in self._journalled:
            self._recalled.update(self._recall(chunk))
        self._pending.add(requests)

    def all_planned(self) -> None:
        """Nothing more will be added: what takes long goes first from here on, of what replicas have not begun, too."""
        self._pending.longest_first()
        self.withdraw_all()

    def give(self, *, only: int | None, full: bool) -> None:
        """Top every replica up. `full`: no more answers may wait, so only requests of the chunk `only` are asked."""
        reserved = self._reserved()
        share = -(-(len(self._pending) + self.asked) // max(1, len(self._replicas)))
        for teacher, replica in sorted(self._replicas.items(), key=lambda item: len(item[1].asked)):
            if teacher == reserved:
                if not replica.asked:
                    self._ask(teacher, self._suspects.next_group(), alone=True)
                continue
            most = min(self._room(replica), share)
            room = most - len(replica.asked)
            # Small top-ups cost a message each; an eighth of the room is still far from empty.
            if room >= max(1, most // 8):
                self._ask(teacher, self._next(teacher, room, only=only, full=full), alone=False)
        if not (self._pending or full):
            self._level(share)

    def _next(self, teacher: int, most: int, *, only: int | None, full: bool) -> list[Request]:
        return self._pending.of_chunk(only, most) if full else self._pending.take(teacher, most)

    def _level(self, share: int) -> None:
        """Some engine runs less than it may and nothing waits: replicas that hold more than their share hand back the rest."""
        starved = [r for r in self._replicas.values() if not (r.alone or r.leaving) and len(r.asked) < min(share, r.fits)]
        if not starved:
            return
        for teacher, replica in self._replicas.items():
            above = len(replica.asked) - max(share, replica.fits)
            if above > 0 and not (replica.alone or replica.begun):
                replica.begun = True
                self._pool.withdraw(teacher, above)

    def leaving(self, event: TeacherLeaving) -> None:
        """The replica's machine is about to go: what it has not begun comes back now, the rest when it is answered or lost."""
        replica = self._replicas.get(event.teacher)
        if replica is not None:
            replica.leaving = True
            if not replica.alone:
                self._pool.withdraw(event.teacher, len(replica.asked))

    def returned(self, event: TeacherReturned) -> None:
        """The replica had not begun these, and will not."""
        replica = self._replicas.get(event.teacher)
        if replica is None:
            return
        back = [replica.asked.pop(key, None) for key in event.requests]
        self._pending.put_back([request for request in back if request is not None])

    def withdraw_all(self) -> None:
        """Every replica hands back what it has not begun, but for a group of suspects."""
        for teacher, replica in self._replicas.items():
            if replica.asked and not replica.alone:
                replica.begun = True
                self._pool.withdraw(teacher, len(replica.asked))

    def _reserved(self) -> int | None:
        """The replica kept for suspects: the one that has a group of them, else the one nearest to having nothing."""
        alone = [t for t, replica in self._replicas.items() if replica.alone and replica.asked and not replica.leaving]
        if alone or not self._suspects.any:
            return alone[0] if alone else None
        staying = [teacher for teacher, replica in self._replicas.items() if not replica.leaving]
        return min(staying, key=lambda t: len(self._replicas[t].asked), default=None)

    def _ask(self, teacher: int, batch: list[Request], *, alone: bool) -> None:
        if not batch:
            return
        replica = self._replicas[teacher]
        if alone != replica.alone:
            self._pool.hunting(teacher, on=alone)
        replica.alone, replica.begun = alone, False
        replica.asked.update(((r.chunk, r.position), r) for r in batch)
        known = {r.id: self._recalled[r.id] for r in batch if r.id in self._recalled}
        self._pool.submit(teacher, batch, known)

    def ready(self, event: TeacherReady) -> None:
        facts = dict(event.facts)
        self.facts = self.facts or facts
        self._replicas[event.teacher] = Replica(facts)
        log.info("teacher %d is ready: %s", event.teacher, dict(facts["teacher"].engine_args))

    def answered(self, event: TeacherAnswered) -> None:
        """These requests no longer lie with the replica."""
        replica = self._replicas.get(event.teacher)
        if replica is None:
            return
        replica.load = dict(event.load)
        for answered in event.answered:
            self._learn(answered, replica)

    def _learn(self, answered: Answered, replica: Replica) -> None:
        ended = {position: replica.asked.pop((answered.chunk, position), None) for position in answered.positions}
        tokens = dict.fromkeys(ended, 0)
        rows = answered.rows
        for position, n in zip(rows["position"].to_pylist(), rows["completion_tokens"].to_pylist(), strict=True):
            tokens[position] += n or 0
        self._lengths.learn((request, tokens[position]) for position, request in ended.items() if request is not None)

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
        self._pending.gone(event.teacher)
        guilty: list[Request] = []
        if event.handed_back:
            again = self._suspects.handed_back(replica.asked.values(), alone=replica.alone)
        else:
            again, guilty = self._suspects.died(replica.asked.values(), alone=replica.alone)
        self._pending.put_back(again)
        for chunk in {r.chunk for r in replica.asked.values()}:
            self._recalled.update(self._recall(chunk))
        for request in guilty:
            log.error("request %d of chunk %d kills engines: it is not asked again", request.position, request.chunk)
        return guilty

    def release(self, teacher: int) -> None:
        """The replica is given back: nothing is left for it, or the run is at its end."""
        del self._replicas[teacher]
        self._pending.gone(teacher)
        self._pool.release(teacher)
