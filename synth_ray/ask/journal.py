"""The ask journal: finished asks, kept until their chunk commits, so that an interrupted request re-asks only what is missing.

A recipe makes the same drafts from the same answers, so a resumed run replays it: an ask found here is not sent again. Segments
hold text before scrubbing; `journal_sweeper` removes it once their chunks commit (docs/threats.md).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from synth_ray.ask.segments import block_of, is_plain, line_of, write_segment
from synth_ray.errors import StorageError
from synth_ray.job.document import Job
from synth_ray.recipes.contract import Completion
from synth_ray.records import Request
from synth_ray.storage import Storage
from synth_ray.storage.job_files import open_output
from synth_ray.storage.journal_names import group_of

log = logging.getLogger(__name__)

MAX_BUFFER_BYTES = 64 * 2**20
"""Limit of the finished asks that one replica keeps in memory until they are written."""
_REMEMBERED_DROPS = 10_000
"""Committed chunks of which late answers are known not to be recorded."""
_BYTES_OF_PLAIN = 500
"""What an answer takes in memory beside its text."""

Line = tuple[int, bytes | tuple[str, str, Sequence[Completion]]]
"""A line of a segment with its size in memory: as it is written, or as what it is made from. Where answers are short, most chunks
are committed before a flush, so that their lines are never made.
"""


class Journal:
    """One worker's journal. `record` is called from the recipes' event loop; a thread flushes.

    Law: a crash loses at most one flush interval, and nothing of `record_now`. A store that refuses a flush does not stop the
    run, for the journal only saves work: the asks stay buffered and the next flush tries again. The buffer holds at most
    `max_bytes`: at half of that a flush starts early; asks beyond the limit are not recorded and would be asked again after a
    crash.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        flush_s: float,
        on_error: Callable[[StorageError], None],
        max_bytes: int = MAX_BUFFER_BYTES,
    ) -> None:
        self._storage = storage
        self._flush_s = flush_s
        self._on_error = on_error
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # a record that is stored now must not overtake those that a flush is about to store
        self._buffer: dict[int, list[Line]] = {}
        self._dropped: dict[int, None] = {}
        self._max_bytes = max_bytes
        self.nbytes = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def record(self, request: Request, key: str, answers: Sequence[Completion]) -> None:
        line = _line(request, key, answers)
        with self._lock:
            before = self.nbytes
            if before + line[0] > self._max_bytes or request.chunk in self._dropped:
                return
            self._buffer.setdefault(request.chunk, []).append(line)
            self.nbytes += line[0]
            if before < self._max_bytes // 2 <= self.nbytes:
                self._wake.set()

    def record_now(self, request: Request, key: str, answers: Sequence[Completion]) -> None:
        """Record, and return once the record, and all of its chunk before it, is stored. Raises StorageError, and then keeps
        all but this record. Nothing is recorded of a committed chunk, which is never asked again.
        """
        line = _line(request, key, answers)
        with self._writing:
            with self._lock:
                if request.chunk in self._dropped:
                    return
                before = self._buffer.pop(request.chunk, [])
            try:
                self._write({request.chunk: [*before, line]})
            except StorageError:
                self._put_back({request.chunk: before})
                raise
            with self._lock:
                self.nbytes -= _size(before)

    def drop(self, chunk: int) -> None:
        """Forget the asks of a committed chunk, and record no more of it: a request may be answered twice, if late."""
        with self._lock:
            self.nbytes -= _size(self._buffer.pop(chunk, ()))
            self._dropped[chunk] = None
            if len(self._dropped) > _REMEMBERED_DROPS:
                del self._dropped[next(iter(self._dropped))]

    def flush(self) -> None:
        """Write the asks recorded since the last flush: a segment for each group of neighbouring chunks."""
        with self._writing:
            with self._lock:
                noted, self._buffer = self._buffer, {}
            for _, chunks in groupby(sorted(noted), key=group_of):
                lines = {chunk: noted[chunk] for chunk in chunks}
                try:
                    self._write(lines)
                except StorageError as error:
                    self._on_error(error)
                    self._put_back(lines)
                else:
                    with self._lock:
                        self.nbytes -= sum(map(_size, lines.values()))

    def _write(self, lines: dict[int, list[Line]]) -> None:
        """Write what is not of a chunk that was committed meanwhile."""
        kept = {chunk: of_chunk for chunk, of_chunk in lines.items() if chunk not in self._dropped}
        blocks = {chunk: [block_of(map(_encoded, of_chunk))] for chunk, of_chunk in kept.items()}
        if blocks:
            write_segment(self._storage, blocks)

    def _put_back(self, lines: dict[int, list[Line]]) -> None:
        """Keep lines that were not written for the next flush."""
        with self._lock:
            for chunk, of_chunk in lines.items():
                if chunk in self._dropped:
                    self.nbytes -= _size(of_chunk)
                elif of_chunk:
                    self._buffer[chunk] = of_chunk + self._buffer.get(chunk, [])

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._flush_s)
            self._wake.clear()
            if not self._closing.is_set():
                self.flush()

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self.flush()


def _line(request: Request, key: str, answers: Sequence[Completion]) -> Line:
    """What is more than text may be changed by a recipe, and is large: it is encoded at once."""
    if all(map(is_plain, answers)):
        size = sum(_BYTES_OF_PLAIN + sys.getsizeof(answer.text) for answer in answers)
        return size, (request.id, key, tuple(answers))
    line = line_of(request.id, key, answers)
    return len(line), line


def _encoded(line: Line) -> bytes:
    made_from = line[1]
    return made_from if isinstance(made_from, bytes) else line_of(*made_from)


def _size(lines: Iterable[Line]) -> int:
    return sum(line[0] for line in lines)


def open_journal(job: Job) -> Journal | None:
    """The journal of one worker of the job, or None where the job keeps none."""
    if job.limits.journal_flush_s == 0:
        return None
    return Journal(open_output(job.output), flush_s=job.limits.journal_flush_s, on_error=_log_flush_error)


def _log_flush_error(error: StorageError) -> None:
    log.warning("the ask journal could not be written, the next flush tries again: %s", error)
