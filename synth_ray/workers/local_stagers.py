"""The stagers without a cluster: threads that take chunks from one queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import pyarrow as pa

from synth_ray.errors import SynthRayError
from synth_ray.job.document import Job
from synth_ray.workers.pool import Event, StageFailed
from synth_ray.workers.stager import Stager

Work = tuple[int, Sequence[pa.RecordBatch], Mapping[str, object]]

_CHUNKS_PER_STAGER = 2


class LocalStagers:
    """`put` takes events; `spawn` runs a function on a thread.

    Law: each chunk ends in one event, whoever stages it. A thread that was replaced may wake and commit its chunk: that is a
    conditional write of the same bytes, and its event is not told.
    """

    def __init__(self, job: Job, *, put: Callable[[Event], None], spawn: Callable[..., None]) -> None:
        self._job, self._put, self._spawn = job, put, spawn
        self._chunks: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._numbers = count()
        self._lock = threading.Lock()
        self._holding: dict[int, Work] = {}
        self._staging = 0

    def open(self) -> None:
        for _ in range(self._job.cluster.stagers):
            self._spawn(self._run, next(self._numbers))

    def stage(self, work: Work) -> None:
        with self._lock:
            self._staging += 1
        self._chunks.put(work)

    def capacity(self) -> int:
        return _CHUNKS_PER_STAGER * self._job.cluster.stagers - self._staging

    def holding(self) -> dict[int, list[int]]:
        """The chunk that each stager is at."""
        with self._lock:
            return {number: [work[0]] for number, work in self._holding.items()}

    def replace(self, number: int) -> None:
        """Another stager starts, and stages what this one has: a thread cannot be ended, so what it still does is ignored."""
        with self._lock:
            work = self._holding.pop(number, None)
        if work is not None:
            self._spawn(self._run, next(self._numbers), work)

    def close(self) -> None:
        for _ in range(self._job.cluster.stagers):
            self._chunks.put(None)

    def _run(self, number: int, first: Work | None = None) -> None:
        stager = Stager(self._job)
        work = first or self._chunks.get()
        while work is not None:
            with self._lock:
                self._holding[number] = work
            try:
                event: Event = stager.stage(*work)
            except SynthRayError as error:
                event = StageFailed(work[0], f"{type(error).__name__}: {error}")
            with self._lock:
                if self._holding.pop(number, None) is None:
                    return  # it was replaced meanwhile
                self._staging -= 1
            self._put(event)
            work = self._chunks.get()
