"""Drive the window: plan when there is room, keep every replica full, stage whole chunks, admit in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from synth_ray.ask.rows import GUILTY, Answered, failed, only
from synth_ray.ask.teacher import Load
from synth_ray.ask.worker import Recalled
from synth_ray.drive.answer_buffer import Waiting
from synth_ray.drive.dispatch import Dispatch
from synth_ray.drive.window import Window
from synth_ray.errors import SynthRayError
from synth_ray.job.document import Job
from synth_ray.meter.spending import Spending
from synth_ray.meter.tally import Tally
from synth_ray.meter.throughput import Throughput
from synth_ray.prepare.gold import gold_requests
from synth_ray.prepare.plan_record import plan_facts
from synth_ray.prepare.schedule import Plans
from synth_ray.records import Seed
from synth_ray.workers.pool import (
    ChunkStaged,
    Event,
    Pool,
    StageFailed,
    TeacherAnswered,
    TeacherLeaving,
    TeacherLost,
    TeacherReady,
    TeacherReturned,
)

_WAIT_S = 0.25
_FAILED_SHARE_AFTER = 512  # slots, before which a share of failures says nothing


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
        gold: Sequence[Seed] = (),
        spending: Spending | None = None,
        recall: Callable[[int], Recalled] = lambda _: {},
        journalled: Collection[int] = (),
        at_end: Callable[[], None] = lambda: None,
        watch: Callable[[Tally], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = job.limits
        self._chunk_requests = job.plan.chunk_requests
        self._fewest = job.cluster.min_teachers
        self._plans = plans
        self._pool = pool
        self._window = window
        self._admit_chunk = admit
        self._tally = tally
        self._gold = gold
        self._at_end = at_end
        self._watch = watch
        self._waiting = Waiting()
        self._to_stage: deque[int] = deque()
        self._ended = False
        self.dispatch = Dispatch(pool, in_flight=job.cluster.in_flight, recall=recall, journalled=journalled)
        self.spending = spending or Spending(job.budget, clock)
        self.throughput = Throughput(job.cluster, clock)
        self._is_last = False
        self.stopped = ""

    def stop(self, why: str) -> None:
        """Stop cleanly: nothing more is asked; what is committed stays and is admitted. Safe from a signal handler."""
        self.stopped = self.stopped or why

    def run(self) -> None:
        """Until everything planned is admitted, or the run is stopped; see `stopped`."""
        self.spending.begin()
        self.throughput.begin()
        try:
            self._pool.open()
            while not self._done():
                self._turn()
            self._release(down_to=0)
            self._admit()
            self._at_end()
        finally:
            self._pool.close()

    def _turn(self) -> None:
        self._give()  # what is planned already: a replica that has just come up does not wait for more
        self._plan()
        self._give()
        self._stage()
        for event in self._pool.events(_WAIT_S):
            self._on(event)
        self._admit()
        self._measure()
        self._watch_limits()
        self._watch(self._tally)

    def _done(self) -> bool:
        return bool(self.stopped) or (self._ended and self._window.idle)

    def _release(self, *, down_to: int) -> None:
        """Give back replicas that hold nothing when nothing is left for them; all of them, whatever they hold, at the end."""
        free = list(self.dispatch.idle()) if down_to else list(self.dispatch.all)
        for replica in free[: max(0, self.dispatch.replicas - down_to)]:
            self.dispatch.release(replica)
            self._gone(replica)

    def _gone(self, replica: int) -> None:
        self.spending.gone(replica)
        self.throughput.gone(replica)

    def _measure(self) -> None:
        none_waits = self._ended and not self.dispatch.waiting
        binds = not self._ended and self.dispatch.is_hungry and not self._window.has_room()
        self.throughput.turn(asked=self.dispatch.asked, none_waits=none_waits, window_binds=binds)
        if none_waits and self.dispatch.replicas > self._fewest:
            self._release(down_to=self._fewest)

    def _plan(self) -> None:
        while not self._ended and self.dispatch.is_hungry and self._window.has_room():
            chunk = self._window.next_chunk
            requests = self._plans.next_requests(chunk, frontier=self._window.frontier)
            if requests is None:
                return
            if not requests:
                self._ended = True
                self.dispatch.all_planned()
                return
            if chunk == 0:
                requests = [*requests, *gold_requests(self._gold, start=len(requests))]
            self._window.planned(chunk, requests)
            self.dispatch.add(chunk, requests)
            self._tally.chunks_planned += 1

    def _give(self) -> None:
        """With too many bytes waiting, nothing is asked while the store takes some, else the oldest chunk's rest alone."""
        full = self._waiting.nbytes >= self._limits.waiting_bytes
        staging = self._to_stage or self._window.is_staging
        if not self._is_last:
            self.dispatch.give(only=None if staging else self._window.oldest_open, full=full)
        self._tally.in_flight = self.dispatch.asked
        self._tally.waiting_bytes = self._waiting.nbytes

    def _stage(self) -> None:
        while self._to_stage and self._pool.stage_room() > 0:
            chunk = self._to_stage.popleft()
            planned = plan_facts(self._window.staging(chunk))
            self._pool.stage(chunk, self._waiting.rows(chunk), self._waiting.facts(chunk) | planned)

    def _on(self, event: Event) -> None:
        match event:
            case TeacherReady():
                self.dispatch.ready(event)
                self._window.widen(-(-self.dispatch.wanted // self._chunk_requests) + 1)
                self.spending.ready(event.teacher, event.facts["teacher"].start_s)
                self.throughput.ready(event.teacher, event.facts["teacher"])
            case TeacherReturned():
                self.dispatch.returned(event)
            case TeacherAnswered():
                self.spending.answered(sum(len(one.positions) for one in event.answered))
                self.throughput.answered(event.teacher, event.answered, event.load.get("teacher", Load()))
                self.dispatch.answered(event)
                for answered in event.answered:
                    self._take(answered)
            case TeacherLeaving():
                self.dispatch.leaving(event)
            case TeacherLost():
                self._lost(event)
            case ChunkStaged():
                self._committed(event.chunk)
            case StageFailed():
                raise SynthRayError(f"chunk {event.chunk} could not be staged: {event.why}")
        self._tally.teachers = self.dispatch.replicas

    def _committed(self, chunk: int) -> None:
        self._waiting.committed(chunk)
        self._window.staged(chunk)
        self._pool.committed(chunk)

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
        self.dispatch.forget(answered)
        if self._window.complete(answered.chunk):
            self._to_stage.append(answered.chunk)

    def _lost(self, event: TeacherLost) -> None:
        self._tally.teachers_lost += 1
        self._gone(event.teacher)
        for request in self.dispatch.lost(event):
            self._take(failed(request, GUILTY))
        if not event.replaced and not self.dispatch.replicas:
            self.stop(f"no teacher is left and none may be replaced (limits.engine_replacements): {event.why}")

    def _admit(self) -> None:
        while (chunk := self._window.admittable()) is not None:
            self._admit_chunk(chunk)
            self._window.admitted(chunk)
            self._tally.chunks_admitted += 1

    def _watch_limits(self) -> None:
        if spent := self.spending.stop():
            self.stop(spent)
        self._wind_down()
        slots, failed = self._tally.slots, self._tally.failed.total()
        most = self._limits.max_failed_share
        if slots >= _FAILED_SHARE_AFTER and failed > most * slots:
            self.stop(f"limits.max_failed_share: {failed} of {slots} slots failed, at most {most:.0%} may")

    def _wind_down(self) -> None:
        """With money left for what is in flight alone, nothing more is begun; what was begun ends and is kept."""
        if not self._is_last and self.spending.is_last(self.dispatch.asked):
            self._is_last = True
            self.dispatch.withdraw_all()
        if self._is_last and not self.dispatch.asked and not (self._to_stage or self._window.is_staging):
            self.stop(self.spending.told())
