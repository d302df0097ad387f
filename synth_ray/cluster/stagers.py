"""The stagers on Ray: each chunk goes to the least loaded one that is up, and again to another where that is lost."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError

from synth_ray.cluster.actors import StagerActor
from synth_ray.cluster.draining import DrainTracker
from synth_ray.cluster.ending import first_line, to_synth_ray_error
from synth_ray.cluster.head_room import KeptOffHead
from synth_ray.cluster.nodes import Nodes
from synth_ray.cluster.placement import stager_options
from synth_ray.errors import SynthRayError
from synth_ray.job.document import Job
from synth_ray.workers.pool import ChunkCommitted, Event, StageFailed

log = logging.getLogger(__name__)

_STAGES_PER_ACTOR = 2
_RETRIES = 3

Work = tuple[int, Sequence[pa.RecordBatch], Mapping[str, object]]


class RayStagers:
    """A lost stager is replaced at once and its chunks are staged again: commits are conditional writes, so staging twice has the
    effect of staging once. One on a draining node gets no more chunks, and its successor starts at once. One that waits for a
    node holds up no chunk. One starts first, the others when `start_all` is called; none while the head is silent. `refs` are the
    calls whose results are to come: of an actor's start (None) or of a chunk.
    """

    def __init__(self, job: Job, nodes: Nodes) -> None:
        self._job, self._nodes = job, nodes
        self.refs: dict[Any, tuple[int, int | None]] = {}
        self._actors: dict[int, Any] = {}
        self._up: set[int] = set()
        self._waiting: deque[Work] = deque()
        self._stages: dict[int, tuple[int, Work]] = {}
        self._deaths: Counter[int] = Counter()
        self._failed_starts = self._due = self._not_asked_for = 0
        self._numbers = count()
        self._draining = DrainTracker(nodes.clock, nodes.draining)
        self._kept_off_head = KeptOffHead(job)

    def open(self) -> None:
        self._start()
        self._not_asked_for = self._job.cluster.stagers - 1

    def start_all(self) -> None:
        """Start the others, if they are not started."""
        self._due, self._not_asked_for = self._due + self._not_asked_for, 0

    def starting(self) -> int:
        """How many are not up yet."""
        return sum(chunk is None for _, chunk in self.refs.values())

    def placed(self) -> int:
        return len(self._up)

    def _start(self) -> None:
        number, options = next(self._numbers), stager_options(self._job)
        self._actors[number] = actor = ray.remote(num_cpus=1)(StagerActor).options(max_restarts=0, **options).remote(self._job)
        self.refs[actor.open.remote()] = (number, None)
        self._kept_off_head.note(number, "stager")

    def place_again(self) -> int:
        """See `KeptOffHead`. Returns how many ended: one starts again if none is up, the others when `start_all` is called."""
        opening = {number: ref for ref, (number, chunk) in self.refs.items() if chunk is None}
        moving = self._kept_off_head.may_move(opening)
        for number in moving:
            del self.refs[opening[number]]
            self._end(number)
        self._not_asked_for += len(moving)
        if moving and not self._up:
            self._not_asked_for -= 1
            self._start()
        return len(moving)

    def stage(self, work: Work) -> None:
        self._waiting.append(work)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and (free := self._least_loaded()) is not None:
            work = self._waiting.popleft()
            self._stages[work[0]] = (free, work)
            self.refs[self._actors[free].stage.remote(*work)] = (free, work[0])

    def _least_loaded(self) -> int | None:
        load = dict.fromkeys(sorted(self._taking()), 0)
        for stager, _ in self._stages.values():
            if stager in load:
                load[stager] += 1
        least = min(load, key=lambda stager: load[stager], default=None)
        return least if least is not None and load[least] < _STAGES_PER_ACTOR else None

    def _taking(self) -> set[int]:
        return {stager for stager in self._up if stager not in self._draining}

    def capacity(self) -> int:
        busy = sum(stager not in self._draining for stager, _ in self._stages.values())
        return _STAGES_PER_ACTOR * len(self._taking()) - busy - len(self._waiting)

    def tick(self) -> None:
        """Replace what is on draining nodes, start what is due, and end what has finished there."""
        for number in self._draining.new_notices():
            log.warning("stager %d: its node is being taken away; another starts elsewhere", number)
            self._due += 1
        while self._due and not self._nodes.head.is_silent:
            self._due -= 1
            self._start()
        staging = {stager for stager, _ in self._stages.values()}
        for number in [n for n in self._up if n in self._draining and n not in staging]:
            self._end(number)

    def _end(self, number: int) -> None:
        self._up.discard(number)
        self._draining.forget(number)
        ray.kill(self._actors.pop(number))  # where it is lost, it may be alive but unreachable

    def events_of(self, ref: Any) -> list[Event]:
        """What the result of one of `refs` says."""
        number, chunk = self.refs.pop(ref)
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            raise to_synth_ray_error(error) from None
        except RayError as error:
            cause = first_line(error)
            return self._on_death(number, cause) if chunk is None else self._on_stage_lost(number, chunk, cause)
        if chunk is None:
            self._failed_starts = 0
            self._draining.on_placed(number, self._nodes.node_of(result))
            self._up.add(number)
        else:
            del self._stages[chunk]
        self._hand_out()
        return [result] if isinstance(result, ChunkCommitted) else []

    def _on_stage_lost(self, number: int, chunk: int, cause: str) -> list[Event]:
        _, work = self._stages.pop(chunk)
        self._deaths[chunk] += number not in self._draining
        if self._deaths[chunk] > _RETRIES:
            return [StageFailed(chunk, f"{_RETRIES} workers died staging it; the last: {cause}")]
        log.error("stager %d is gone (%s); staging chunk %d again", number, cause, chunk)
        self._waiting.appendleft(work)
        if number in self._up:  # another of its chunks may have replaced it already
            self._replace(number)
        self._hand_out()
        return []

    def _replace(self, number: int) -> None:
        """One on a draining node has its successor already."""
        if number not in self._draining:
            self._due += 1
        self._end(number)

    def holding(self) -> dict[int, list[int]]:
        """The chunks that each has."""
        holding: dict[int, list[int]] = {}
        for chunk, (number, _) in self._stages.items():
            holding.setdefault(number, []).append(chunk)
        return holding

    def replace(self, number: int) -> None:
        """End one that stands still; its chunks go to others first. Where it is draining, its successor was started already."""
        for chunk in self.holding().get(number, ()):
            self._waiting.appendleft(self._stages.pop(chunk)[1])
        self.refs = {ref: call for ref, call in self.refs.items() if call[0] != number}
        if number in self._up:
            self._replace(number)
        self._hand_out()

    def _on_death(self, number: int, cause: str) -> list[Event]:
        """It died before it was up."""
        self._failed_starts += 1
        if self._failed_starts > _RETRIES:
            raise SynthRayError(f"cluster.stagers: wanted a stager to start, got {_RETRIES} that died at once; the last: {cause}")
        log.error("stager %d is gone before it was up (%s); replacing it", number, cause)
        self._replace(number)
        return []

    def close(self) -> None:
        for actor in self._actors.values():
            ray.kill(actor)
