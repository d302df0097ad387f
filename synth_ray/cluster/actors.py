"""The actors: thin processes around the worker and the stager that the local pool runs as threads."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import ray

from synth_ray import gc_tuning
from synth_ray.ask.journal import open_journal
from synth_ray.ask.role_link import RoleLink
from synth_ray.ask.rows import AnsweredRows
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.worker import AskWorker, JournalledAnswers
from synth_ray.cluster.ending import end_process
from synth_ray.cluster.request_tuples import requests_from_tuples
from synth_ray.cluster.roles import Membership, call_of
from synth_ray.cluster.versions import Origin, origin_here
from synth_ray.errors import EngineDied
from synth_ray.job.document import Job
from synth_ray.storage.job_files import open_output
from synth_ray.workers.pool import ChunkCommitted


class TeacherActor:
    """One replica. Created with max_concurrency, so that `submit` is served while `collect` waits."""

    def __init__(self, job: Job) -> None:
        self._worker = AskWorker(job, journal=open_journal(job), storage=open_output(job.output))
        self._phase = ""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        """The node is being taken away: keep finished asks; the driver asks the rest elsewhere."""
        self._worker.flush()
        end_process("got SIGTERM")

    def node(self) -> str:
        """The id of the node that this replica has its place on: answered before its engine is up."""
        return str(ray.get_runtime_context().get_node_id())

    def open(self) -> tuple[dict[str, TeacherFacts], Origin]:
        """The facts of each role, and where this replica runs."""
        facts = self._worker.open(self._enter)
        gc_tuning.freeze_startup_objects()
        return facts, origin_here()

    def _enter(self, phase: str) -> None:
        self._phase = phase

    def phase(self, wait_s: float) -> str:
        """What it is doing while it starts, after a wait; empty before its engine does anything."""
        time.sleep(wait_s)
        return self._phase

    def submit(self, requests: Sequence[tuple[Any, ...]], journalled: JournalledAnswers) -> None:
        self._worker.submit(requests_from_tuples(requests), journalled)

    def set_pool(self, role: str, replicas: Membership, retired: Collection[int], clients: int) -> None:
        """See `AskWorker.set_pool`."""
        links = {number: partial(RoleLink, call_of(actor), max_running=n) for number, (actor, n) in replicas.items()}
        self._worker.set_pool(role, links, retired=retired, clients=clients)

    def withdraw(self, limit: int) -> list[tuple[int, int]]:
        return self._worker.withdraw(limit)

    def drop_journal(self, chunk: int) -> None:
        self._worker.drop_journal(chunk)

    def collect(self, wait_s: float) -> tuple[list[AnsweredRows], dict[str, Load]]:
        try:
            return self._worker.collect(wait_s), self._worker.load()
        except EngineDied as death:
            self._worker.flush()
            end_process(str(death))
            raise

    def flush_for_drain(self) -> None:
        """The node is about to go: write the journal. Requests in flight are asked elsewhere."""
        self._worker.flush()

    def close(self) -> None:
        self._worker.close()


class StagerActor:
    """One CPU worker."""

    def __init__(self, job: Job) -> None:
        from synth_ray.workers.stager import Stager  # imported here: a replica's process needs neither numba nor presidio

        self._stager = Stager(job)
        gc_tuning.freeze_startup_objects()

    def open(self) -> Origin:
        return origin_here()

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, object]) -> ChunkCommitted:
        return self._stager.stage(chunk, batches, facts)
