"""Which replica gets which request, and what of a dead or a full one is asked elsewhere.

Nothing waits for a batch: a replica is topped up whenever it has room, from whatever is next. Where nothing waits any more,
what lies queued on one replica goes to those that have run dry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from synth_ray.ask.journal import Answers
from synth_ray.ask.rows import AnsweredRows
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import JournalledAnswers
from synth_ray.drive.lengths import LengthPredictor
from synth_ray.drive.poison import PoisonIsolation
from synth_ray.drive.request_queue import RequestQueue
from synth_ray.job.running import IN_FLIGHT_PER_SEQUENCE
from synth_ray.records import Request
from synth_ray.workers.pool import Pool, ReplicaAnswered, ReplicaDraining, ReplicaLost, ReplicaReady, ReplicaReturned

log = logging.getLogger(__name__)

_QUEUED_PER_IN_FLIGHT = 4
"""Requests that wait in the driver, in times of what the replicas hold: among them an order can be chosen."""


@dataclass(slots=True)
class Replica:
    """One teacher as the driver sees it: what it is and what it was asked and has not answered.

    `alone`: it was given a group of suspects, and gets nothing else before they have ended. `begun`: it was told to hand back
    what it had not begun, and was given nothing since. `leaving`: its machine is about to go, and it gets nothing more.
    """

    facts: dict[str, TeacherFacts]
    in_flight: dict[tuple[int, int], Request] = field(default_factory=dict)
    load: dict[str, Load] = field(default_factory=dict)
    is_isolating: bool = False
    withdraw_sent: bool = False
    is_draining: bool = False

    @property
    def max_sequences(self) -> int:
        """Sequences the engine runs at once: as many as it may, or as its KV cache holds of the length seen so far."""
        facts, load = self.facts["teacher"], self.load.get("teacher", Load())
        if not (facts.kv_tokens and load.sequence_tokens):
            return facts.max_running
        return max(1, min(facts.max_running, facts.kv_tokens * load.sequences // load.sequence_tokens))


class Dispatcher:
    """Requests that are planned and not answered. Law: each lies with one replica, or waits, or hides among the suspects."""

    def __init__(
        self, pool: Pool, *, in_flight: int | None, read_journal: Callable[[int], JournalledAnswers], journalled: Collection[int]
    ) -> None:
        self._pool = pool
        self._journalled = journalled
        self._in_flight_limit = in_flight
        self._read_journal = read_journal
        self._journalled_answers: dict[str, Answers] = {}
        self._length_predictor = LengthPredictor()
        self._queue = RequestQueue(self._length_predictor)
        self._replicas: dict[int, Replica] = {}
        self._poison = PoisonIsolation()
        self.facts: dict[str, TeacherFacts] = {}

    @property
    def replica_count(self) -> int:
        return len(self._replicas)

    @property
    def in_flight(self) -> int:
        return sum(len(replica.in_flight) for replica in self._replicas.values())

    @property
    def queued(self) -> int:
        """Requests that no replica holds."""
        return len(self._queue) + self._poison.count

    @property
    def target_queue_length(self) -> int:
        """Requests that replicas can hold and that should wait beside them."""
        return (1 + _QUEUED_PER_IN_FLIGHT) * sum(map(self._capacity, self._replicas.values()))

    @property
    def needs_planning(self) -> bool:
        """Fewer requests wait than an order can be chosen among; before a replica is up, none: then it need not come up."""
        return len(self._queue) < max(1, _QUEUED_PER_IN_FLIGHT * sum(map(self._capacity, self._replicas.values())))

    @property
    def replica_ids(self) -> list[int]:
        return list(self._replicas)

    def idle_replicas(self) -> Iterator[int]:
        """Replicas that were asked nothing."""
        return (teacher for teacher, replica in self._replicas.items() if not replica.in_flight)

    def _capacity(self, replica: Replica) -> int:
        return 0 if replica.is_draining else self._in_flight_limit or IN_FLIGHT_PER_SEQUENCE * replica.max_sequences

    def add(self, chunk: int, requests: Sequence[Request]) -> None:
        """Requests of a chunk that this run has not asked before: only an earlier run can have journalled answers of it."""
        if chunk in self._journalled:
            self._journalled_answers.update(self._read_journal(chunk))
        self._queue.add(requests)

    def on_all_planned(self) -> None:
        """Nothing more will be added: what takes long goes first from here on, of what replicas have not begun, too."""
        self._queue.longest_first()
        self.withdraw_all()

    def top_up(self, *, only_chunk: int | None, buffer_full: bool) -> None:
        """Top every replica up. `full`: no more answers may wait, so only requests of the chunk `only` are asked."""
        reserved = self._isolation_replica()
        share = -(-(len(self._queue) + self.in_flight) // max(1, len(self._replicas)))
        for teacher, replica in sorted(self._replicas.items(), key=lambda item: len(item[1].in_flight)):
            if teacher == reserved:
                if not replica.in_flight:
                    self._submit(teacher, self._poison.next_group(), alone=True)
                continue
            limit = min(self._capacity(replica), share)
            room = limit - len(replica.in_flight)
            # Small top-ups cost a message each; an eighth of the room is still far from empty.
            if room >= max(1, limit // 8):
                self._submit(teacher, self._next_batch(teacher, room, only=only_chunk, full=buffer_full), alone=False)
        if not (self._queue or buffer_full):
            self._rebalance(share)

    def _next_batch(self, teacher: int, limit: int, *, only: int | None, full: bool) -> list[Request]:
        return self._queue.take_from_chunk(only, limit) if full else self._queue.take(teacher, limit)

    def _rebalance(self, share: int) -> None:
        """Some engine runs less than it may and nothing waits: replicas that hold more than their share hand back the rest."""
        starved = [
            r
            for r in self._replicas.values()
            if not (r.is_isolating or r.is_draining) and len(r.in_flight) < min(share, r.max_sequences)
        ]
        if not starved:
            return
        for teacher, replica in self._replicas.items():
            above = len(replica.in_flight) - max(share, replica.max_sequences)
            if above > 0 and not (replica.is_isolating or replica.withdraw_sent):
                replica.withdraw_sent = True
                self._pool.withdraw(teacher, above)

    def on_draining(self, event: ReplicaDraining) -> None:
        """The replica's machine is about to go: what it has not begun comes back now, the rest when it is answered or lost."""
        replica = self._replicas.get(event.replica)
        if replica is not None:
            replica.is_draining = True
            if not replica.is_isolating:
                self._pool.withdraw(event.replica, len(replica.in_flight))

    def on_returned(self, event: ReplicaReturned) -> None:
        """The replica had not begun these, and will not."""
        replica = self._replicas.get(event.replica)
        if replica is None:
            return
        back = [replica.in_flight.pop(key, None) for key in event.requests]
        self._queue.put_back([request for request in back if request is not None])

    def withdraw_all(self) -> None:
        """Every replica hands back what it has not begun, but for a group of suspects."""
        for teacher, replica in self._replicas.items():
            if replica.in_flight and not replica.is_isolating:
                replica.withdraw_sent = True
                self._pool.withdraw(teacher, len(replica.in_flight))

    def _isolation_replica(self) -> int | None:
        """The replica kept for suspects: the one that has a group of them, else the one nearest to having nothing."""
        alone = [
            t for t, replica in self._replicas.items() if replica.is_isolating and replica.in_flight and not replica.is_draining
        ]
        if alone or not self._poison.has_groups:
            return alone[0] if alone else None
        staying = [teacher for teacher, replica in self._replicas.items() if not replica.is_draining]
        return min(staying, key=lambda t: len(self._replicas[t].in_flight), default=None)

    def _submit(self, teacher: int, batch: list[Request], *, alone: bool) -> None:
        if not batch:
            return
        replica = self._replicas[teacher]
        if alone != replica.is_isolating:
            self._pool.set_isolating(teacher, on=alone)
        replica.is_isolating, replica.withdraw_sent = alone, False
        replica.in_flight.update(((r.chunk, r.position), r) for r in batch)
        known = {r.id: self._journalled_answers[r.id] for r in batch if r.id in self._journalled_answers}
        self._pool.submit(teacher, batch, known)

    def on_ready(self, event: ReplicaReady) -> None:
        facts = dict(event.facts)
        self.facts = self.facts or facts
        self._replicas[event.replica] = Replica(facts)
        log.info("teacher %d is ready: %s", event.replica, dict(facts["teacher"].engine_args))

    def on_answered(self, event: ReplicaAnswered) -> None:
        """These requests no longer lie with the replica."""
        replica = self._replicas.get(event.replica)
        if replica is None:
            return
        replica.load = dict(event.load)
        for answered in event.answered:
            self._observe(answered, replica)

    def _observe(self, answered: AnsweredRows, replica: Replica) -> None:
        ended = {position: replica.in_flight.pop((answered.chunk, position), None) for position in answered.positions}
        tokens = dict.fromkeys(ended, 0)
        rows = answered.rows
        for position, n in zip(rows["position"].to_pylist(), rows["completion_tokens"].to_pylist(), strict=True):
            tokens[position] += n or 0
        self._length_predictor.observe((request, tokens[position]) for position, request in ended.items() if request is not None)

    def clear_answered(self, answered: AnsweredRows) -> None:
        """What it took to ask these again is not needed any more."""
        if not (self._journalled_answers or self._poison.has_suspects):
            return
        requests = answered.rows["request"].to_pylist()
        self._poison.exonerate(requests)
        for request in requests:
            self._journalled_answers.pop(request, None)

    def on_lost(self, event: ReplicaLost) -> list[Request]:
        """What the replica was asked is asked elsewhere, but for the returned requests: they kill engines."""
        replica = self._replicas.pop(event.replica, None)
        if replica is None:
            return []
        self._queue.on_replica_gone(event.replica)
        guilty: list[Request] = []
        if event.drained:
            to_requeue = self._poison.on_drained(replica.in_flight.values(), isolated=replica.is_isolating)
        else:
            to_requeue, guilty = self._poison.on_death(replica.in_flight.values(), isolated=replica.is_isolating)
        self._queue.put_back(to_requeue)
        for chunk in {r.chunk for r in replica.in_flight.values()}:
            self._journalled_answers.update(self._read_journal(chunk))
        for request in guilty:
            log.error("request %d of chunk %d kills engines: it is not asked again", request.position, request.chunk)
        return guilty

    def release(self, teacher: int) -> None:
        """The replica is given back: nothing is left for it, or the run is at its end."""
        del self._replicas[teacher]
        self._queue.on_replica_gone(teacher)
        self._pool.release(teacher)
