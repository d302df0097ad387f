"""Which replica gets which request, and what happens to the requests of a lost, draining or overfull one.

Nothing waits for a batch: a replica is topped up from the queue whenever it has capacity. Once the queue is empty, requests that
wait on a busy replica are moved to idle ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from synth_ray.ask.rows import AnsweredRows
from synth_ray.ask.segments import Answers
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import JournalledAnswers
from synth_ray.drive.hooks import NOTHING_TO_RESUME, Resume
from synth_ray.drive.lengths import LengthPredictor
from synth_ray.drive.poison import PoisonIsolation
from synth_ray.drive.request_queue import RequestQueue
from synth_ray.job.running import IN_FLIGHT_PER_POOLED, IN_FLIGHT_PER_SEQUENCE
from synth_ray.records import Request
from synth_ray.workers.pool import Pool, ReplicaAnswered, ReplicaDraining, ReplicaLost, ReplicaReady, ReplicaReturned

log = logging.getLogger(__name__)

_QUEUED_PER_IN_FLIGHT = 4
"""Requests queued in the driver per request in flight: among so many a good order can be chosen."""


@dataclass(slots=True)
class Replica:
    """A replica as the driver sees it: its facts, load and requests in flight.

    `is_isolating`: its requests are a group of poison suspects, and it gets nothing else until they have ended. `withdraw_sent`:
    a withdrawal is out and no request has been submitted since. `is_draining`: its node is about to go, so it gets no more
    requests.
    """

    facts: dict[str, TeacherFacts]
    in_flight: dict[tuple[int, int], Request] = field(default_factory=dict)
    load: dict[str, Load] = field(default_factory=dict)
    is_isolating: bool = False
    withdraw_sent: bool = False
    is_draining: bool = False

    @property
    def max_sequences(self) -> int:
        """Sequences the engine can run at once: its own limit, or what its KV cache holds at the mean length seen so far."""
        facts, load = self.facts["teacher"], self.load.get("teacher", Load())
        if not (facts.kv_tokens and load.sequence_tokens):
            return facts.max_running
        return max(1, min(facts.max_running, facts.kv_tokens * load.sequences // load.sequence_tokens))


class Dispatcher:
    """Requests that are planned and not answered. Law: each is in flight on one replica, or queued, or in an isolation group."""

    def __init__(self, pool: Pool, *, in_flight: int | None, resume: Resume = NOTHING_TO_RESUME) -> None:
        self._pool = pool
        self._resume = resume
        self._in_flight_limit = in_flight
        self._journalled_answers: dict[str, Answers] = {}
        self._length_predictor = LengthPredictor()
        self._queue = RequestQueue(self._length_predictor)
        self._replicas: dict[int, Replica] = {}
        self._poison = PoisonIsolation()
        self.facts: dict[str, TeacherFacts] = {}
        self.pooled_sequences = 0
        """Sequences that the pools of roles run at once."""

    @property
    def replica_count(self) -> int:
        return len(self._replicas)

    @property
    def in_flight(self) -> int:
        return sum(len(replica.in_flight) for replica in self._replicas.values())

    @property
    def queued(self) -> int:
        """Requests that no replica has."""
        return len(self._queue) + self._poison.count

    @property
    def full_share(self) -> float:
        """How much of what the replicas can run at once they have in flight, from 0 to 1."""
        shares = [min(1.0, len(replica.in_flight) / replica.max_sequences) for replica in self._replicas.values()]
        return sum(shares) / len(shares) if shares else 0.0

    @property
    def target_open_requests(self) -> int:
        """Requests the replicas can have in flight, plus those that should be queued beside them."""
        return (1 + _QUEUED_PER_IN_FLIGHT) * sum(map(self._capacity, self._replicas.values()))

    @property
    def needs_planning(self) -> bool:
        """True when fewer than 4 × the in-flight capacity are queued, so that more chunks should be planned. Before a replica is
        up one queued request is enough: a finished run then starts no engine.
        """
        return len(self._queue) < max(1, _QUEUED_PER_IN_FLIGHT * sum(map(self._capacity, self._replicas.values())))

    @property
    def replica_ids(self) -> list[int]:
        return list(self._replicas)

    @property
    def replicas(self) -> Mapping[int, Replica]:
        return self._replicas

    def idle_replicas(self) -> Iterator[int]:
        """Replicas without requests in flight."""
        return (number for number, replica in self._replicas.items() if not replica.in_flight)

    def _capacity(self, replica: Replica) -> int:
        """Requests the replica may hold: those that wait for a role's pool leave its own engines their full number."""
        if replica.is_draining:
            return 0
        at_pools = -(-IN_FLIGHT_PER_POOLED * self.pooled_sequences // max(1, len(self._replicas)))
        return self._in_flight_limit or IN_FLIGHT_PER_SEQUENCE * replica.max_sequences + at_pools

    def add(self, chunk: int, requests: Sequence[Request]) -> None:
        """Queue the requests of a chunk this run has not asked before: only an earlier run can have journalled answers of it."""
        self._recall(requests, self._resume.earlier(chunk))
        self._queue.add(requests)

    def _recall(self, requests: Iterable[Request], journalled: JournalledAnswers) -> None:
        """Keep what is journalled of requests that are to be asked, until they are answered; of others it is not kept."""
        if journalled:
            self._journalled_answers |= {r.id: journalled[r.id] for r in requests if r.id in journalled}

    def on_all_planned(self) -> None:
        """Nothing more will be added: from here on the longest requests go first, those withdrawn from replicas included."""
        self._queue.longest_first()
        self.withdraw_all()

    def top_up(self, *, only_chunk: int | None, buffer_full: bool) -> None:
        """Submit requests to every replica with capacity. `buffer_full`: no more answers fit into memory, so only requests of
        `only_chunk`.
        """
        reserved = self._isolation_replica()
        share = -(-(len(self._queue) + self.in_flight) // max(1, len(self._replicas)))
        for number, replica in sorted(self._replicas.items(), key=lambda item: len(item[1].in_flight)):
            if number == reserved:
                if not replica.in_flight:
                    self._submit(number, self._poison.next_group(), isolated=True)
                continue
            limit = min(self._capacity(replica), share)
            free = limit - len(replica.in_flight)
            # Every submission costs a message; below an eighth of the capacity it is not worth one.
            if free >= max(1, limit // 8):
                self._submit(
                    number, self._next_batch(number, free, only_chunk=only_chunk, buffer_full=buffer_full), isolated=False
                )
        if not (self._queue or buffer_full):
            self._rebalance(share)

    def _next_batch(self, number: int, limit: int, *, only_chunk: int | None, buffer_full: bool) -> list[Request]:
        return self._queue.take_from_chunk(only_chunk, limit) if buffer_full else self._queue.take(number, limit)

    def _rebalance(self, share: int) -> None:
        """The queue is empty and an engine runs less than it could: withdraw requests from replicas that have more than their
        share.
        """
        starved = [
            r
            for r in self._replicas.values()
            if not (r.is_isolating or r.is_draining) and len(r.in_flight) < min(share, r.max_sequences)
        ]
        if not starved:
            return
        for number, replica in self._replicas.items():
            above = len(replica.in_flight) - max(share, replica.max_sequences)
            if above > 0 and not (replica.is_isolating or replica.withdraw_sent):
                replica.withdraw_sent = True
                self._pool.withdraw(number, above)

    def on_draining(self, event: ReplicaDraining) -> None:
        """The replica's node is about to go: withdraw what it has not started; the rest ends as answered or lost."""
        replica = self._replicas.get(event.replica)
        if replica is not None:
            replica.is_draining = True
            if not replica.is_isolating:
                self._pool.withdraw(event.replica, len(replica.in_flight))

    def on_returned(self, event: ReplicaReturned) -> None:
        """The replica has not started these requests, and will not."""
        replica = self._replicas.get(event.replica)
        if replica is None:
            return
        back = [replica.in_flight.pop(key, None) for key in event.requests]
        self._queue.put_back([request for request in back if request is not None])

    def withdraw_all(self) -> None:
        """Withdraw what replicas have not started, except from those that isolate suspects."""
        for number, replica in self._replicas.items():
            if replica.in_flight and not replica.is_isolating:
                replica.withdraw_sent = True
                self._pool.withdraw(number, len(replica.in_flight))

    def _isolation_replica(self) -> int | None:
        """The replica reserved for poison suspects: the one that has a group of them, else the one with the fewest requests in
        flight.
        """
        isolated = [
            t for t, replica in self._replicas.items() if replica.is_isolating and replica.in_flight and not replica.is_draining
        ]
        if isolated or not self._poison.has_groups:
            return isolated[0] if isolated else None
        staying = [number for number, replica in self._replicas.items() if not replica.is_draining]
        return min(staying, key=lambda t: len(self._replicas[t].in_flight), default=None)

    def _submit(self, number: int, batch: list[Request], *, isolated: bool) -> None:
        if not batch:
            return
        replica = self._replicas[number]
        if isolated != replica.is_isolating:
            self._pool.set_isolating(number, on=isolated)
        replica.is_isolating, replica.withdraw_sent = isolated, False
        replica.in_flight.update(((r.chunk, r.position), r) for r in batch)
        known = {r.id: self._journalled_answers[r.id] for r in batch if r.id in self._journalled_answers}
        self._pool.submit(number, batch, known)

    def on_ready(self, event: ReplicaReady) -> None:
        facts = dict(event.facts)
        if not self._replicas:
            for note in dict.fromkeys(note for of_role in facts.values() for note in of_role.notes):
                log.warning("%s", note)
        self.facts = facts | self.facts
        self._replicas[event.replica] = Replica(facts)
        log.info("replica %d is ready: %s", event.replica, dict(facts["teacher"].engine_args))

    def on_role_ready(self, role: str, facts: TeacherFacts) -> None:
        """The first replica of a role's own pool gives the role's facts."""
        for note in facts.notes if role not in self.facts else ():
            log.warning("%s", note)
        self.facts = {role: facts} | self.facts

    def is_idle(self, number: int) -> bool:
        """Whether the replica is up and has nothing in flight."""
        return number in self._replicas and not self._replicas[number].in_flight

    def on_answered(self, event: ReplicaAnswered) -> None:
        """Remove the answered requests from the replica, and learn from their lengths."""
        replica = self._replicas.get(event.replica)
        if replica is None:
            return
        replica.load = dict(event.load)
        for answered in event.answered:
            self._observe(answered, replica)

    def _observe(self, answered: AnsweredRows, replica: Replica) -> None:
        chunk, pop = answered.chunk, replica.in_flight.pop
        ended = {position: pop((chunk, position), None) for position in answered.positions}
        if self._journalled_answers:
            for request in filter(None, ended.values()):
                self._journalled_answers.pop(request.id, None)
        tokens = dict.fromkeys(ended, 0)
        rows = answered.rows
        for position, n in zip(rows["position"].to_pylist(), rows["completion_tokens"].to_pylist(), strict=True):
            tokens[position] += n or 0
        self._length_predictor.observe((request, tokens[position]) for position, request in ended.items() if request is not None)

    def clear_answered(self, answered: AnsweredRows) -> None:
        """Drop the journalled answers and suspicions of requests that were answered."""
        if not (self._journalled_answers or self._poison.has_suspects):
            return
        requests = answered.rows["request"].to_pylist()
        self._poison.exonerate(requests)
        for request in requests:
            self._journalled_answers.pop(request, None)

    def on_lost(self, event: ReplicaLost) -> list[Request]:
        """Requeue the lost replica's requests; return those identified as poison."""
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
        self._recall(replica.in_flight.values(), self._resume.journal({chunk for chunk, _ in replica.in_flight}))
        for request in guilty:
            log.error("request %d of chunk %d kills engines: it is not asked again", request.position, request.chunk)
        return guilty

    def release(self, number: int) -> None:
        """End the replica: nothing is left for it, or the run is at its end."""
        del self._replicas[number]
        self._queue.on_replica_gone(number)
        self._pool.release(number)
