"""The pool without a cluster: replicas and stagers as threads of this process."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import pyarrow as pa

from synth_ray.ask.journal import open_journal
from synth_ray.ask.teacher import TeacherFacts
from synth_ray.ask.worker import AskWorker, JournalledAnswers
from synth_ray.errors import EngineDied, ServiceRefused
from synth_ray.job.document import Job
from synth_ray.records import Request
from synth_ray.storage.job_files import open_output
from synth_ray.workers.local_roles import LocalRoles
from synth_ray.workers.local_stagers import LocalStagers
from synth_ray.workers.pool import (
    MAX_ISOLATION_DEATHS,
    AsksRefused,
    Event,
    ReplicaAnswered,
    ReplicaLost,
    ReplicaPhase,
    ReplicaReady,
    ReplicaReturned,
    ReplicaStarting,
)

_COLLECT_WAIT_S = 0.5
_CLOSE_S = 60.0


class LocalPool:
    """See `pool.Pool`. A dead engine is replaced in place, `limits.engine_replacements` times in all."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._stagers = LocalStagers(job, put=self._events.put, spawn=self._spawn)
        self._workers: dict[int, AskWorker] = {}
        self._threads: list[threading.Thread] = []
        self._replacements = job.limits.engine_replacements
        self._isolating: set[int] = set()
        self._consecutive_deaths = 0
        self._released: set[int] = set()
        self._stalled: dict[int, str] = {}
        self._closing = threading.Event()
        self._numbers = count()
        self._telling = threading.Lock()
        self._roles = LocalRoles(
            job, numbers=self._numbers, put=self._events.put, may_replace=self._may_replace, on_change=self._tell_of_pools
        )

    def open(self) -> None:
        for _ in range(self._job.cluster.first_teachers):
            self.start("teacher")
        for role in self._job.pooled_models:
            for _ in range(self._job.cluster.judges):
                self._roles.start(role)
        self._stagers.open()

    def shards(self) -> None:
        return None

    def start(self, role: str) -> None:
        if role == "teacher":
            self._spawn(self._ask_loop, next(self._numbers))
        else:
            self._roles.start(role)

    def retire(self, replica: int) -> None:
        self._roles.retire(replica)

    def _tell_of_pools(self) -> None:
        with self._telling:  # what is told last is what is true
            workers = list(self._workers.values())
            for role in self._job.pooled_models:
                for worker in workers:
                    worker.set_pool(role, self._roles.replicas(role), retired=set(self._roles.retired), clients=len(workers))

    def _may_replace(self) -> bool:
        self._replacements -= 1
        return self._replacements >= 0

    def _spawn(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=self._forward_errors, args=(target, *arguments), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _forward_errors(self, target: Callable[..., None], *arguments: Any) -> None:
        try:
            target(*arguments)
        except BaseException as error:
            # A thread's error is the run's error: `events` raises it in the driver.
            self._events.put(error)

    def _ask_loop(self, replica: int) -> None:
        while self._is_active(replica):
            end = self._run_worker(replica)
            if (cause := self._stalled.pop(replica, "")) and self._is_active(replica):
                self._succeed(replica, cause)
                return
            if isinstance(end, ServiceRefused):
                self._events.put(AsksRefused(replica, str(end)))
                return
            if end is not None:
                self._on_death(replica, end)

    def _succeed(self, replica: int, cause: str) -> None:
        """Another replica takes the place of one that stood still, of whose requests none is suspected."""
        successor = next(self._numbers)
        self._events.put(ReplicaStarting(successor))
        self._events.put(ReplicaLost(replica, cause, replaced=True, drained=True))
        self._spawn(self._ask_loop, successor)

    def _run_worker(self, replica: int) -> EngineDied | ServiceRefused | None:
        """Run one worker and close it; returns what ended it. The driver reads the journal and asks again as soon as it hears of
        an end, so nothing of the worker may be at work then.
        """
        worker = AskWorker(self._job, journal=open_journal(self._job), storage=open_output(self._job.output))
        try:
            self._events.put(ReplicaReady(replica, self._start_worker(replica, worker)))
            self._collect_from(replica, worker)
        except (EngineDied, ServiceRefused) as end:
            return end
        finally:
            self._workers.pop(replica, None)
            worker.close()
        return None

    def _start_worker(self, replica: int, worker: AskWorker) -> Mapping[str, TeacherFacts]:
        facts = worker.open(lambda phase: self._events.put(ReplicaPhase(replica, phase)))
        self._workers[replica] = worker
        self._tell_of_pools()
        return facts

    def _is_active(self, replica: int) -> bool:
        return not self._closing.is_set() and replica not in self._released

    def _collect_from(self, replica: int, worker: AskWorker) -> None:
        while self._is_active(replica) and replica not in self._stalled:
            answered = worker.collect(_COLLECT_WAIT_S)
            if answered:
                self._consecutive_deaths = 0
            self._events.put(ReplicaAnswered(replica, answered, worker.load()))

    def _on_death(self, replica: int, death: EngineDied) -> None:
        self._consecutive_deaths += 1
        if replica not in self._isolating or self._consecutive_deaths > MAX_ISOLATION_DEATHS:
            self._may_replace()
        self._isolating.discard(replica)
        self._tell_of_pools()
        self._events.put(ReplicaLost(replica, str(death), replaced=self._replacements >= 0))
        if self._replacements < 0:
            self._closing.wait()

    def submit(self, replica: int, requests: Sequence[Request], journalled: JournalledAnswers) -> None:
        worker = self._workers.get(replica)
        if worker is not None:  # otherwise it was just lost: the driver is about to get the event and asks again
            worker.submit(requests, journalled)

    def withdraw(self, replica: int, limit: int) -> None:
        worker = self._workers.get(replica)
        if worker is not None:
            self._events.put(ReplicaReturned(replica, worker.withdraw(limit)))

    def release(self, replica: int) -> None:
        self._released.add(replica)
        if self._workers.pop(replica, None) is not None:
            self._tell_of_pools()

    def set_isolating(self, replica: int, *, on: bool) -> None:
        (self._isolating.add if on else self._isolating.discard)(replica)

    def drop_journal(self, chunk: int) -> None:
        for worker in list(self._workers.values()):
            worker.drop_journal(chunk)

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, object]) -> None:
        self._stagers.stage((chunk, batches, facts))

    def stage_capacity(self) -> int:
        return self._stagers.capacity()

    def stagers(self) -> Mapping[int, Sequence[int]]:
        return self._stagers.holding()

    def can_replace(self) -> bool:
        return True

    def replace(self, replica: int, cause: str) -> None:
        """A thread cannot be ended: the replica's worker is closed, as far as it lets itself, before its requests go back."""
        if replica in self._workers:
            self._stalled[replica] = cause
        else:
            self._roles.replace(replica, cause)

    def replace_stager(self, stager: int, cause: str) -> None:
        self._stagers.replace(stager)

    def events(self, wait_s: float) -> list[Event]:
        events: list[Event] = []
        try:
            events.append(_raise_error(self._events.get(timeout=wait_s)))
            while True:
                events.append(_raise_error(self._events.get_nowait()))
        except queue.Empty:
            return events + self._roles.loads()

    def close(self) -> None:
        self._closing.set()
        self._stagers.close()
        until = time.monotonic() + _CLOSE_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))
        self._roles.close()


def _raise_error(event: Event | BaseException) -> Event:
    if isinstance(event, BaseException):
        raise event
    return event
