"""The stagers on Ray: each chunk goes to the least loaded one, and again to its successor where that is lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError

from synth_ray.cluster.actors import StagerActor
from synth_ray.cluster.ending import to_synth_ray_error
from synth_ray.job.document import Job
from synth_ray.workers.pool import ChunkCommitted, Event, StageFailed

log = logging.getLogger(__name__)

_STAGES_PER_ACTOR = 2
_STAGE_RETRIES = 3

Work = tuple[int, Sequence[pa.RecordBatch], Mapping[str, object]]


class RayStagers:
    """A lost stager is replaced at once and its chunks are staged again: commits are conditional writes, so staging twice has the
    effect of staging once. `refs` are the calls whose results are to come, with their chunks.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.refs: dict[Any, int] = {}
        self._stagers: dict[int, Any] = {}
        self._stages: dict[int, tuple[int, Any, Work]] = {}
        self._deaths: dict[int, int] = {}

    def open(self) -> None:
        for stager in range(self._job.cluster.stagers):
            self._start(stager)

    def _start(self, stager: int) -> None:
        self._stagers[stager] = ray.remote(num_cpus=1)(StagerActor).options(max_restarts=0).remote(self._job)

    def stage(self, work: Work) -> None:
        load = dict.fromkeys(self._stagers, 0)
        for stager, _, _ in self._stages.values():
            load[stager] += 1
        self._stage_on(min(load, key=lambda s: (load[s], s)), work)

    def _stage_on(self, stager: int, work: Work) -> None:
        actor = self._stagers[stager]
        self._stages[work[0]] = (stager, actor, work)
        self.refs[actor.stage.remote(*work)] = work[0]

    def capacity(self) -> int:
        return _STAGES_PER_ACTOR * len(self._stagers) - len(self._stages)

    def events_of(self, ref: Any) -> list[Event]:
        """What the result of one of `refs` says."""
        chunk = self.refs.pop(ref)
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            raise to_synth_ray_error(error) from None
        except RayError as error:
            return self._on_death(chunk, str(error).splitlines()[0] if str(error) else type(error).__name__)
        del self._stages[chunk]
        return [result] if isinstance(result, ChunkCommitted) else []

    def _on_death(self, chunk: int, cause: str) -> list[Event]:
        stager, actor, work = self._stages.pop(chunk)
        self._deaths[chunk] = self._deaths.get(chunk, 0) + 1
        if self._deaths[chunk] > _STAGE_RETRIES:
            return [StageFailed(chunk, f"{_STAGE_RETRIES} workers died staging it; the last: {cause}")]
        log.error("stager %d is gone (%s); staging chunk %d again", stager, cause, chunk)
        if self._stagers[stager] is actor:  # another of its chunks may have replaced it already
            ray.kill(actor)
            self._start(stager)
        self._stage_on(stager, work)
        return []

    def close(self) -> None:
        for actor in self._stagers.values():
            ray.kill(actor)
