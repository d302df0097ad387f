"""A run that stands still: who holds work in vain is named and replaced, and a run that this does not help is stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from synth_ray.ask.asker import request_deadline
from synth_ray.ask.teacher import Load
from synth_ray.drive.dispatch import Dispatcher
from synth_ray.drive.progress_guard import ProgressGuard, Stall
from synth_ray.job.cores import usable_cores
from synth_ray.job.document import Job
from synth_ray.meter.tally import ReplicaLoad, Tally
from synth_ray.recipes.catalogue import options_of, recipe_of
from synth_ray.workers.pool import Pool

log = logging.getLogger(__name__)

LEAST_S = 1800.0
_DEADLINES = 1.5
"""As long as one request may take, and half as much again."""
_STAGED_ROW_S = 1.0
"""What staging a row takes at most, beside what has a limit in the job."""
_RUNS_OF_A_PROGRAM = 2
_CORES_OF_A_SMALL_NODE = 4
"""Stagers may be on other machines than this; each runs as many programs at once as it has cores."""
_MOST_NAMED = 8


class StallWatch:
    """Law: see `ProgressGuard`. Work is held by replicas with requests in flight and by stagers with chunks; while a role's pool
    has no replica up, its clients wait and hold nothing in vain. What waits for a place on the cluster is held by nobody, and
    while nobody can be replaced no time counts.
    """

    def __init__(
        self, job: Job, *, pool: Pool, dispatcher: Dispatcher, tally: Tally, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool, self._dispatcher, self._tally = pool, dispatcher, tally
        self._guard = ProgressGuard(clock, replacements=job.limits.engine_replacements)
        self._fixed_s, self._stage_s = job.limits.stall_s, _longest_staging_s(job)
        self._deadline = request_deadline(job, loads=self._loads)

    def _loads(self) -> Iterable[Load]:
        return [load for replica in self._dispatcher.replicas.values() for load in replica.load.values()]

    def _patience_s(self, *, is_staging: bool) -> float:
        if self._fixed_s is not None:
            return self._fixed_s
        return max(LEAST_S, self._stage_s * is_staging, _DEADLINES * self._deadline.seconds)

    def tick(self) -> str:
        """Replace who holds work in vain. Returns why the run must stop; empty if it need not."""
        tally, stagers = self._tally, self._pool.stagers()
        is_asked = tally.in_flight > 0 and all(tally.pools.values())
        is_held = (bool(stagers) or is_asked) and self._pool.can_replace()
        patience_s = self._patience_s(is_staging=bool(stagers))
        progress = tally.requests_done, tally.chunks_committed, tally.chunks_admitted
        stall = self._guard.look(progress, is_held=is_held, patience_s=patience_s)
        if stall is Stall.NONE:
            return ""
        replicas = self._replicas_with_work() if is_asked else {}
        said = f"limits.stall_s: nothing was answered, staged or admitted for {patience_s:g} s"
        held = "; ".join(_told(replicas, stagers, self._busy_of_roles()))
        if stall is Stall.STOP:
            return f"{said}, and new workers would not help: {held}; run it again to go on, or raise limits.stall_s"
        log.error("%s: %s; replacing them", said, held)
        for replica in [*self._busy_of_roles(), *replicas]:
            self._pool.replace(replica, said)
        for stager in stagers:
            self._pool.replace_stager(stager, said)
        return ""

    def _replicas_with_work(self) -> Mapping[int, Sequence[int]]:
        """The chunks of what each has in flight, one for each request."""
        replicas = self._dispatcher.replicas.items()
        return {number: [chunk for chunk, _ in replica.in_flight] for number, replica in replicas if replica.in_flight}

    def _busy_of_roles(self) -> Mapping[int, ReplicaLoad]:
        """Replicas of other pools, of which teacher replicas wait for answers."""
        loads = self._tally.replica_loads.items()
        return {number: load for number, load in loads if load.role != "teacher" and load.running + load.waiting}


def _longest_staging_s(job: Job) -> float:
    """What staging one chunk may honestly take: every row as long as its checks and its scrub may."""
    row_s = _STAGED_ROW_S
    if job.check.verify == "code":
        row_s += _RUNS_OF_A_PROGRAM * job.check.code_seconds / min(usable_cores(), _CORES_OF_A_SMALL_NODE)
    if job.scrub.engine != "patterns":
        row_s += job.scrub.record_timeout_s
    return job.plan.chunk_requests * recipe_of(job).slots(options_of(job.recipe)) * row_s


def _told(
    replicas: Mapping[int, Sequence[int]], stagers: Mapping[int, Sequence[int]], roles: Mapping[int, ReplicaLoad]
) -> list[str]:
    """Who has what, as far as a reader can use it."""
    told = [f"replica {number} has {len(chunks)} requests of {_chunks(chunks)}" for number, chunks in replicas.items()]
    told += [f"replica {number} of {load.role} has {load.running + load.waiting} asks" for number, load in roles.items()]
    told += [f"stager {number} has {_chunks(chunks)}" for number, chunks in stagers.items()]
    return told[:_MOST_NAMED] + ([f"{len(told) - _MOST_NAMED} more"] if len(told) > _MOST_NAMED else [])


def _chunks(chunks: Sequence[int]) -> str:
    numbers = sorted(set(chunks))
    kind = "chunk" if len(numbers) == 1 else "chunks"
    return f"{kind} " + ", ".join(map(str, numbers[:_MOST_NAMED])) + (", ..." if len(numbers) > _MOST_NAMED else "")
