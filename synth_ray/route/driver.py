"""Drive the window: plan when there is room, keep every replica full, stage whole chunks, admit in order.

Nothing waits for a batch: a replica is topped up whenever it has room, from whatever chunk is next.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from synth_ray.ask.journal import Answers
from synth_ray.ask.rows import Answered
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import Recalled
from synth_ray.errors import SynthRayError
from synth_ray.job.document import Job
from synth_ray.records import Request
from synth_ray.route.pool import (
    ChunkStaged,
    Event,
    Pool,
    StageFailed,
    TeacherAnswered,
    TeacherLost,
    TeacherReady,
)
from synth_ray.route.suspects import Suspects
from synth_ray.route.tally import Tally
from synth_ray.route.waiting import GUILTY, Waiting, failed, only, plan_digest
from synth_ray.route.window import Window

log = logging.getLogger(__name__)

_FULL = 4  # times max_running kept on a replica, so that its engine always has the next prompt at hand
_WAIT_S = 0.25
_FAILED_SHARE_AFTER = 512  # slots, before which a share of failures says nothing


class Plans(Protocol):
    """What the driver needs of planning: the next chunk's requests, or none when the plan has ended (for now)."""

    def next_requests(self, chunk: int, *, frontier: int) -> list[Request] | None:
        """Requests of this chunk; None while it must wait for admission; empty when the plan has ended."""
        ...


@dataclass(slots=True)
class Replica:
    """One teacher as the driver sees it: what it is and what it was asked and has not answered.

    `alone`: it was given a group of suspects, and gets nothing else before they have ended.
    """

    facts: dict[str, TeacherFacts]
    room: int
    asked: dict[tuple[int, int], Request] = field(default_factory=dict)
    load: dict[str, Load] = field(default_factory=dict)
    alone: bool = False


class Driver:
    """Runs one job to its end, or to a stop. `admit(chunk)` is called per chunk, in order; `at_end` before the pool closes."""

    def __init__(
        self,
        job: Job,
        *,
        plans: Plans,
        pool: Pool,
        window: Window,
        admit: Callable[[int], None],
        tally: Tally,
        recall: Callable[[int], Recalled] = lambda _: {},
        at_end: Callable[[], None] = lambda: None,
        watch: Callable[[Tally], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._plans = plans
        self._pool = pool
        self._window = window
        self._admit_chunk = admit
        self._tally = tally
        self._recall = recall
        self._recalled: dict[str, Answers] = {}
        self._at_end = at_end
        self._watch = watch
        self._clock = clock
        self._pending: deque[Request] = deque()
        self._replicas: dict[int, Replica] = {}
        self._waiting = Waiting()
        self._suspects = Suspects()
        self._to_stage: deque[int] = deque()
        self._ended = False
        self.teacher_facts: dict[str, TeacherFacts] = {}
        self.loads: dict[int, dict[str, Load]] = {}
        self.first_answer_s = self.replica_seconds = 0.0
        self.stopped = ""

    def stop(self, why: str) -> None:
        """Stop cleanly: nothing more is asked; what is committed stays and is admitted. Safe from a signal handler."""
        self.stopped = self.stopped or why

    def run(self) -> None:
        """Until everything planned is admitted, or the run is stopped; see `stopped`."""
        self._began = self._last = self._clock()
        try:
            self._pool.open()
            while not self._done():
                self._turn()
            self._at_end()
        finally:
            self._pool.close()

    def _turn(self) -> None:
        self._plan()
        self._dispatch()
        self._stage()
        for event in self._pool.events(_WAIT_S):
            self._on(event)
        self._admit()
        self._count_time()
        self._watch(self._tally)

    def _done(self) -> bool:
        if self.stopped:
            self._admit()
            return True
        return self._ended and self._window.idle

    def _plan(self) -> None:
        wanted = sum(r.room for r in self._replicas.values())
        while not self._ended and len(self._pending) < wanted and self._window.has_room():
            chunk = self._window.next_chunk
            requests = self._plans.next_requests(chunk, frontier=self._window.frontier)
            if requests is None:
                return
            if not requests:
                self._ended = True
                return
            self._window.planned(chunk, requests)
            self._recalled.update(self._recall(chunk))
            self._pending.extend(requests)
            self._tally.chunks_planned += 1

    def _dispatch(self) -> None:
        reserved = self._reserved()
        for teacher, replica in sorted(self._replicas.items(), key=lambda item: len(item[1].asked)):
            if teacher == reserved:
                if not replica.asked:
                    self._ask(teacher, self._suspects.next_group(), alone=True)
                continue
            room = replica.room - len(replica.asked)
            # Small top-ups cost a message each; an eighth of the room is still far from empty.
            if room >= max(1, replica.room // 8):
                self._ask(teacher, self._next_requests(room), alone=False)
        self._tally.in_flight = sum(len(r.asked) for r in self._replicas.values())
        self._tally.waiting_bytes = self._waiting.nbytes

    def _reserved(self) -> int | None:
        """The replica kept for suspects: the one that has a group of them, else the one nearest to having nothing."""
        alone = [teacher for teacher, replica in self._replicas.items() if replica.alone and replica.asked]
        if alone or not self._suspects.any:
            return alone[0] if alone else None
        return min(self._replicas, key=lambda t: len(self._replicas[t].asked), default=None)

    def _next_requests(self, most: int) -> list[Request]:
        """Requests to dispatch. With too many bytes waiting, none while the store takes some, else the oldest chunk's."""
        full = self._waiting.nbytes >= self._job.limits.waiting_bytes
        oldest = None if self._to_stage or self._window.is_staging else self._window.oldest_open
        batch: list[Request] = []
        while self._pending and len(batch) < most and (not full or self._pending[0].chunk == oldest):
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

    def _stage(self) -> None:
        while self._to_stage and self._pool.stage_room() > 0:
            chunk = self._to_stage.popleft()
            planned = plan_digest(self._window.staging(chunk))
            self._pool.stage(chunk, self._waiting.rows(chunk), self._waiting.facts(chunk) | {"plan": planned})

    def _on(self, event: Event) -> None:
        match event:
            case TeacherReady():
                self._ready(event)
            case TeacherAnswered():
                self._answered(event)
            case TeacherLost():
                self._lost(event)
            case ChunkStaged():
                self._committed(event.chunk)
            case StageFailed():
                raise SynthRayError(f"chunk {event.chunk} could not be staged: {event.why}")

    def _committed(self, chunk: int) -> None:
        self._waiting.committed(chunk)
        self._window.staged(chunk)
        self._pool.committed(chunk)

    def _ready(self, event: TeacherReady) -> None:
        facts = dict(event.facts)
        self.teacher_facts = self.teacher_facts or facts
        room = self._job.cluster.in_flight or _FULL * facts["teacher"].max_running
        self._replicas[event.teacher] = Replica(facts, room)
        self._tally.teachers = len(self._replicas)
        log.info("teacher %d is ready: %s", event.teacher, dict(facts["teacher"].engine_args))

    def _answered(self, event: TeacherAnswered) -> None:
        replica = self._replicas.get(event.teacher)
        self.loads[event.teacher] = dict(event.load)
        self.first_answer_s = self.first_answer_s or self._clock() - self._began
        for answered in event.answered:
            if replica is not None:
                for position in answered.positions:
                    replica.asked.pop((answered.chunk, position), None)
            self._take(answered)

    def _take(self, answered: Answered) -> None:
        """Keep what is new: a request asked twice, because its replica was thought lost, counts once."""
        new = self._window.answered(answered.chunk, answered.positions)
        if not new:
            return
        if len(new) < len(answered.positions):
            answered = only(answered, new)
        self._waiting.add(answered)
        self._tally.requests_done += len(new)
        self._tally.tokens.update(answered.tokens)
        if self._recalled or self._suspects.heard:
            self._forget(answered.rows["request"].to_pylist())
        if self._window.complete(answered.chunk):
            self._to_stage.append(answered.chunk)

    def _lost(self, event: TeacherLost) -> None:
        replica = self._replicas.pop(event.teacher, None)
        self._tally.teachers = len(self._replicas)
        self._tally.teachers_lost += 1
        if replica is not None:
            self._ask_elsewhere(replica)
        if not event.replaced and not self._replicas:
            self.stop(f"no teacher is left and none may be replaced (limits.engine_replacements): {event.why}")

    def _ask_elsewhere(self, replica: Replica) -> None:
        again, guilty = self._suspects.died(replica.asked.values(), alone=replica.alone)
        self._pending = deque(sorted([*again, *self._pending], key=lambda r: (r.chunk, r.position)))
        for chunk in {r.chunk for r in replica.asked.values()}:
            self._recalled.update(self._recall(chunk))
        for request in guilty:
            log.error("request %d of chunk %d kills engines: it is not asked again", request.position, request.chunk)
            self._take(failed(request, GUILTY))

    def _forget(self, requests: list[str]) -> None:
        self._suspects.cleared(requests)
        for request in requests:
            self._recalled.pop(request, None)

    def _admit(self) -> None:
        while (chunk := self._window.admittable()) is not None:
            self._admit_chunk(chunk)
            self._window.admitted(chunk)
            self._tally.chunks_admitted += 1

    def _count_time(self) -> None:
        now = self._clock()
        replicas = max(1, len(self._replicas)) if not self._replicas else len(self._replicas)
        self.replica_seconds += (now - self._last) * replicas
        self._last = now
        budget = self._job.budget
        if budget.max_seconds is not None and now - self._began >= budget.max_seconds:
            self.stop(f"budget.max_seconds: {budget.max_seconds:g} s are spent")
        if budget.max_usd is not None and self.usd >= budget.max_usd:
            self.stop(f"budget.max_usd: ${budget.max_usd:g} are spent")
        self._watch_failures()

    def _watch_failures(self) -> None:
        slots, failed = self._tally.slots, self._tally.failed.total()
        most = self._job.limits.max_failed_share
        if slots >= _FAILED_SHARE_AFTER and failed > most * slots:
            self.stop(f"limits.max_failed_share: {failed} of {slots} slots failed, at most {most:.0%} may")

    @property
    def usd(self) -> float:
        return self.replica_seconds / 3600 * self._job.budget.gpu_hour_usd
