"""The driver's loop: plan while the window has room, keep every replica full, stage complete chunks, admit them in order."""

from __future__ import annotations

import math
from collections import deque

from synth_ray.ask.rows import POISON_DETAIL, AnsweredRows, engine_failure, keep_positions
from synth_ray.ask.teacher import Load
from synth_ray.drive.answer_buffer import AnswerBuffer
from synth_ray.drive.dispatch import Dispatcher
from synth_ray.drive.failed_share import FailedShare
from synth_ray.drive.frontier import Frontier
from synth_ray.drive.hooks import NOTHING_TO_RESUME, Hooks, Meters, Resume
from synth_ray.drive.memory_limit import MemoryLimit
from synth_ray.drive.observation import Observation
from synth_ray.drive.role_pools import RolePools
from synth_ray.drive.stalls import StallWatch
from synth_ray.drive.window import Window
from synth_ray.errors import SynthRayError
from synth_ray.job.document import Job
from synth_ray.prepare.plan_record import plan_facts
from synth_ray.prepare.schedule import Schedule
from synth_ray.workers.pool import (
    AsksRefused,
    ChunkCommitted,
    DriverDraining,
    Event,
    Pool,
    ReplicaAnswered,
    ReplicaDraining,
    ReplicaLost,
    ReplicaPhase,
    ReplicaReady,
    ReplicaReturned,
    ReplicaStarting,
    RoleLoad,
    StageFailed,
)

_EVENT_WAIT_S = 0.25
_ADMISSION_TURN_S = 1.0


class Driver:
    """Runs one job to its end, or to a stop."""

    def __init__(
        self,
        job: Job,
        *,
        schedule: Schedule,
        pool: Pool,
        window: Window,
        hooks: Hooks,
        meters: Meters,
        resume: Resume = NOTHING_TO_RESUME,
    ) -> None:
        self._limits = job.limits
        self._chunk_requests = job.plan.chunk_requests
        self._min_replicas = job.cluster.min_teachers
        self._replicas = job.cluster.first_teachers
        self._schedule = schedule
        self._pool = pool
        self._window = window
        self._hooks = hooks
        self._tally, self.spending, self.throughput = meters.tally, meters.spending, meters.throughput
        self.frontier = Frontier(window, self._tally, hooks.admit, is_full=lambda: self._memory.is_passed)
        self._buffer = AnswerBuffer()
        self._to_stage: deque[int] = deque()
        self._plan_ended = False
        self.dispatcher = Dispatcher(pool, in_flight=job.cluster.in_flight, resume=resume)
        spent, meter = self.spending, self.throughput.pools
        self._pools = RolePools(job, pool=pool, dispatcher=self.dispatcher, tally=self._tally, spending=spent, meter=meter)
        self._observation = Observation(self._tally, self.throughput, dispatcher=self.dispatcher, window=window)
        self.failed_share = FailedShare(job.limits.max_failed_share)
        self._memory = MemoryLimit(job.limits, tally=self._tally)
        self._stalls = StallWatch(job, pool=pool, dispatcher=self.dispatcher, tally=self._tally)
        self._is_winding_down = False
        self.stop_reason = ""
        self.is_hurried = False
        """Whether it is stopped because its own node is about to go."""

    def stop(self, reason: str) -> None:
        """Stop cleanly: submit nothing more, keep and admit what is committed. The first reason stays. Safe in a signal
        handler.
        """
        self.stop_reason = self.stop_reason or reason

    def run(self, *, only_admit: str = "") -> None:
        """Run until everything planned is admitted, or until stopped; see `stop_reason`. `only_admit`: why nothing is asked."""
        self.spending.begin()
        self.throughput.begin()
        self._observation.begin()
        try:
            self._catch_up()
            self.stop(only_admit)
            if not self.stop_reason:
                self._work()
            if not self.frontier.is_behind:
                self._hooks.before_close()
        finally:
            self._pool.close()

    def _catch_up(self) -> None:
        """Admit what earlier runs committed before any replica is held, and stop between two chunks where the run is stopped."""
        with self._observation.admitting():
            while self.frontier.is_behind and not self.stop_reason:
                self.frontier.admit_next()
                self._stop_at_limits()
                self._hooks.watch(self._tally)

    def _work(self) -> None:
        self._pool.open()
        self._tally.replicas_starting = self._replicas
        while not self._done():
            self._tick()
        self._release_replicas(down_to=0)
        self._pools.hear_last_loads()
        self._pools.release_all()
        self.frontier.admit(for_s=math.inf)

    def _tick(self) -> None:
        self._dispatch()  # first what is planned already: a replica that has just started does not wait for planning
        with self._observation.planning():
            self._plan()
        self._dispatch()
        self._stage()
        for event in self._pool.events(_EVENT_WAIT_S):
            self._handle(event)
        self._observation.tick(plan_ended=self._plan_ended, buffer_full=self._is_buffer_full, to_stage=bool(self._to_stage))
        with self._observation.admitting():
            self.frontier.admit(for_s=_ADMISSION_TURN_S)
        self._measure()
        self._stop_at_limits()
        self._hooks.watch(self._tally)

    def _done(self) -> bool:
        return bool(self.stop_reason) or (self._plan_ended and self._window.is_idle)

    def _release_replicas(self, *, down_to: int) -> None:
        """Release idle replicas until `down_to` are left; with `down_to=0` all of them, busy or not."""
        free = list(self.dispatcher.idle_replicas()) if down_to else list(self.dispatcher.replica_ids)
        for replica in free[: max(0, self.dispatcher.replica_count - down_to)]:
            self._release(replica)

    def _release(self, replica: int) -> None:
        self.dispatcher.release(replica)
        self._pools.on_released(replica)
        self._forget_replica(replica)

    def _forget_replica(self, replica: int) -> None:
        self.spending.on_replica_gone(replica)
        self.throughput.on_replica_gone(replica)

    def _measure(self) -> None:
        none_waits = self._plan_ended and not self.dispatcher.queued
        binds = not self._plan_ended and self.dispatcher.needs_planning and not self._window.has_room()
        self.throughput.tick(in_flight=self.dispatcher.in_flight, queue_is_empty=none_waits, window_binds=binds)
        if none_waits and self.dispatcher.replica_count > self._min_replicas:
            self._release_replicas(down_to=self._min_replicas)
        elif not (none_waits or self._is_winding_down):
            self._pools.resize(left=self._requests_left(), release=self._release)

    def _requests_left(self) -> float | None:
        planned, tally = self._tally.requests_planned, self._tally
        return None if planned is None else max(0, planned - tally.requests_earlier - tally.requests_done)

    def _plan(self) -> None:
        while not self._plan_ended and self.dispatcher.needs_planning and self._window.has_room():
            chunk = self._window.next_chunk
            requests = self._schedule.next_requests(chunk)
            if requests is None:
                return
            if not requests:
                self._plan_ended = True
                self.dispatcher.on_all_planned()
                return
            requests = [*requests, *self._hooks.extra_requests(chunk, len(requests))]
            self._window.mark_planned(chunk, requests)
            self.dispatcher.add(chunk, requests)
            self.failed_share.on_planned(chunk, requests)
            self._tally.chunks_planned += 1

    def _dispatch(self) -> None:
        """Over `limits.waiting_bytes`: submit nothing while a chunk is being staged, else only requests of the oldest open
        chunk.
        """
        staging = self._to_stage or self._window.is_staging
        if not self._is_winding_down:
            self.dispatcher.top_up(only_chunk=None if staging else self._window.oldest_open, buffer_full=self._is_buffer_full)
        self._tally.in_flight = self.dispatcher.in_flight
        self._tally.buffered_bytes = self._buffer.nbytes

    @property
    def _is_buffer_full(self) -> bool:
        return self._buffer.nbytes >= self._limits.waiting_bytes

    def _stage(self) -> None:
        while self._to_stage and self._pool.stage_capacity() > 0:
            chunk = self._to_stage.popleft()
            planned = plan_facts(self._window.begin_staging(chunk))
            self._pool.stage(chunk, self._buffer.rows(chunk), self._buffer.facts(chunk) | planned)

    def _handle(self, event: Event) -> None:
        match event:
            case ReplicaReady() if event.role != "teacher":
                self._pools.on_ready(event)
            case RoleLoad() | ReplicaPhase():
                self._pools.on_told(event)
            case ReplicaReady():
                self._pools.on_ready(event)
                self._tally.replicas_starting = max(0, self._tally.replicas_starting - 1)
                self.dispatcher.on_ready(event)
                self._window.grow_to(-(-self.dispatcher.target_open_requests // self._chunk_requests) + 1)
                self.spending.on_ready(event.replica, event.facts["teacher"].start_s)
                self.throughput.on_ready(event.replica, event.facts["teacher"])
            case ReplicaReturned():
                self.dispatcher.on_returned(event)
            case ReplicaAnswered():
                self.spending.on_answered(sum(len(rows.positions) for rows in event.answered))
                self.throughput.on_answered(event.replica, event.answered, event.load.get("teacher", Load()))
                self._pools.on_answered(event)
                self.dispatcher.on_answered(event)
                for answered in event.answered:
                    self._accept_answers(answered)
            case AsksRefused():
                self.stop(event.cause)
            case DriverDraining():
                self.is_hurried = True
                self.stop(f"the node of this driver is taken away in {event.seconds:.0f} s")
            case ReplicaStarting():
                self._tally.replicas_starting += 1
                self._pools.on_starting()
            case ReplicaDraining():
                self.dispatcher.on_draining(event)
            case ReplicaLost() if event.role != "teacher":
                if reason := self._pools.on_lost(event):
                    self.stop(reason)
            case ReplicaLost():
                self._on_lost(event)
            case ChunkCommitted():
                self._on_committed(event.chunk)
            case StageFailed():
                raise SynthRayError(f"chunk {event.chunk} could not be staged: {event.cause}")
        self._tally.replicas = self.dispatcher.replica_count

    def _on_committed(self, chunk: int) -> None:
        self._buffer.drop(chunk)
        self._window.mark_committed(chunk)
        self._tally.chunks_committed += 1
        self._pool.drop_journal(chunk)
        self._hooks.on_committed(chunk)

    def _accept_answers(self, answered: AnsweredRows) -> None:
        """Keep only new answers: a request asked twice, because its replica seemed lost, counts once."""
        new = self._window.mark_answered(answered.chunk, answered.positions)
        if not new:
            return
        if len(new) < len(answered.positions):
            answered = keep_positions(answered, new)
        self._buffer.add(answered)
        self.failed_share.on_answered(answered)
        self._tally.requests_done += len(new)
        self._tally.slots_done += answered.rows.num_rows
        self._tally.tokens.update(answered.tokens)
        self.dispatcher.clear_answered(answered)
        if self._window.is_complete(answered.chunk):
            self._to_stage.append(answered.chunk)

    def _on_lost(self, event: ReplicaLost) -> None:
        self._tally.replicas_lost += not event.gave_way
        self._pools.on_lost(event)
        is_replaced = event.replaced and not event.drained  # a drained one's successor was counted when the notice came
        was_starting = event.replica not in self.dispatcher.replica_ids
        self._tally.replicas_starting = max(0, self._tally.replicas_starting + is_replaced - was_starting)
        self._forget_replica(event.replica)
        for request in self.dispatcher.on_lost(event):
            self._accept_answers(engine_failure(request, POISON_DETAIL))
        if not event.replaced and not self.dispatcher.replica_count:
            self.stop(f"no replica is left and none may be replaced (limits.engine_replacements): {event.cause}")

    def _stop_at_limits(self) -> None:
        self.stop(self.spending.stop_reason())
        self._wind_down_if_budget_is_short()
        if self._memory.is_passed:
            self.stop(self._memory.message())
        self.stop(self._stalls.tick())
        if self.failed_share.is_above_limit:
            self.stop(self.failed_share.message())

    def _wind_down_if_budget_is_short(self) -> None:
        """When the rest of the budget covers only the requests in flight: withdraw the queued ones, and stop once the rest is
        committed.
        """
        if not self._is_winding_down and self.spending.should_wind_down(self.dispatcher.in_flight):
            self._is_winding_down = True
            self.dispatcher.withdraw_all()
        if self._is_winding_down and not self.dispatcher.in_flight and not (self._to_stage or self._window.is_staging):
            self.stop(self.spending.budget_message())
