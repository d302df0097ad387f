"""Stages committed chunks again, for a curation whose job stages differently: here, or in a few processes of this machine."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress

import pyarrow as pa

from synth_ray.child_process import ChildEnded, ChildProcess
from synth_ray.dataset.ledger import CommittedChunk, Ledger
from synth_ray.errors import SynthRayError
from synth_ray.job.cores import usable_cores
from synth_ray.job.document import Job
from synth_ray.workers.prefetch import prefetched

log = logging.getLogger(__name__)

_WORTH_S = 10.0
"""A process takes 2 to 3 seconds of a core to start, so two of them pay where there are several times as many to share."""
_MEASURED = 2  # the first chunk opens what later ones only use: the second tells what they take
_MOST_PROCESSES = 16


def processes_for(work_s: float) -> int:
    """How many processes stage again what takes this one `work_s` seconds; 0 where it is so little, or the cores, that this
    process does it itself.
    """
    wanted = min(usable_cores(), _MOST_PROCESSES)
    return wanted if wanted > 1 and work_s >= _WORTH_S else 0


def restaged_chunks(
    job: Job, ledger: Ledger, chunks: int, run_again: Callable[[pa.Table], pa.Table]
) -> Generator[CommittedChunk, None, None]:
    """The first `chunks` chunks, in order, staged again. Law: the rows do not depend on who stages them.

    Memory: no more than two chunks a process wait for the caller. Close the iterator, and nothing is at work any more.
    """
    here, chunk_s = restaged_here(ledger, run_again), 0.0
    measured = min(chunks, _MEASURED)
    for chunk in range(measured):
        began = time.monotonic()
        committed = here(chunk)
        chunk_s = time.monotonic() - began
        yield committed
    processes = 0 if _has_models(job) else processes_for(chunk_s * (chunks - measured))
    with RestagingPool(job, processes) as pool:
        load, threads = (pool.load, pool.size) if pool.size else (here, 1)
        yield from prefetched(range(measured, chunks), load, ahead=2 * threads, threads=threads)


def _has_models(job: Job) -> bool:
    """Whether staging needs a model, of which each process would load its own."""
    semantic = job.dedup.semantic
    return job.scrub.engine != "patterns" or (semantic is not None and bool(semantic.model))


def restaged_here(ledger: Ledger, run_again: Callable[[pa.Table], pa.Table]) -> Callable[[int], CommittedChunk]:
    """Loads a chunk and stages it again in this process. One thread at a time may call it."""

    def load(chunk: int) -> CommittedChunk:
        committed = ledger.read_committed(chunk)
        return CommittedChunk(committed.commit, run_again(committed.rows))

    return load


class RestagingPool:
    """Processes that load chunks and stage them again. Law: `load` gives what `restaged_here` gives.

    As many threads as there are processes may call `load`; one more waits for a process. Use as a context: the processes start
    with it, side by side, and end with it. They also end by themselves when this process does, however it ends. Where the machine
    lets fewer start, there are fewer, or none: see `size`.
    """

    def __init__(self, job: Job, processes: int) -> None:
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._stack = ExitStack()
        self._job, self._wanted = job, processes
        self.size = 0

    def __enter__(self) -> RestagingPool:
        try:
            while self.size < self._wanted:
                process = _Process(self._job)
                self._stack.callback(process.close)
                self._free.put(process)
                self.size += 1
        except OSError as error:
            log.warning("%d of %d processes that stage again could start (%s)", self.size, self._wanted, error.strerror)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def load(self, chunk: int) -> CommittedChunk:
        """Raises what staging raises, and SynthRayError where the process ended."""
        process = self._free.get()
        try:
            return process.load(chunk)
        finally:
            self._free.put(process)


class _Process:
    """See `restaging_child`. Raises OSError where none can be started."""

    def __init__(self, job: Job) -> None:
        self._child = ChildProcess("synth_ray.workers.restaging_child")
        with suppress(ChildEnded):  # one that ended at once is noticed at its first chunk
            self._child.send(job)

    def load(self, chunk: int) -> CommittedChunk:
        try:
            answer = self._child.ask(chunk)
        except ChildEnded as ended:
            raise SynthRayError(
                f"chunk {chunk}: wanted it staged again, got its process {ended}; where nothing above says "
                "why, the machine may be short of memory: curate on one with more of it, nothing is lost"
            ) from None
        if isinstance(answer, CommittedChunk):
            return answer
        raise answer

    def close(self) -> None:
        self._child.end()  # and so do the processes of its verifiers
