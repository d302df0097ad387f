"""The ask journal: finished asks, kept until their chunk commits, so that an interrupted request re-asks only what is missing.

A recipe makes the same drafts from the same answers, so a resumed run replays it: an ask found here is not sent again. Segments
hold text before scrubbing; they are deleted when their chunk commits (docs/threats.md).
"""

from __future__ import annotations

import json
import logging
import threading
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from dataclasses import fields as dataclass_fields
from typing import Any

from synth_ray.errors import StorageError
from synth_ray.job.document import Job
from synth_ray.recipes.contract import Completion
from synth_ray.records import Request, TopK, digest
from synth_ray.storage import Storage
from synth_ray.storage.job_files import open_output

log = logging.getLogger(__name__)

Answers = dict[str, list[Completion]]
"""Answers by ask key."""

_FOLDER = "_synth/asks"
MAX_BUFFER_BYTES = 64 * 2**20
"""Limit of the finished asks that one replica keeps in memory until they are written."""


_ENCODER = json.JSONEncoder(separators=(",", ":"))
_FIELDS = 5
"""Fields of a completion that have a value in nearly every answer."""
_DEFAULTS = [own.default for own in dataclass_fields(Completion)]
_TOP_K = Completion.__slots__.index("top_k")


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
        self._buffer: dict[int, list[bytes]] = {}
        self._max_bytes = max_bytes
        self.nbytes = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def record(self, request: Request, key: str, answers: Sequence[Completion]) -> None:
        line = _ENCODER.encode([request.id, key, [_plain(a) for a in answers]]).encode()
        with self._lock:
            before = self.nbytes
            if before + len(line) > self._max_bytes:
                return
            self._buffer.setdefault(request.chunk, []).append(line)
            self.nbytes += len(line)
            if before < self._max_bytes // 2 <= self.nbytes:
                self._wake.set()

    def record_now(self, request: Request, key: str, answers: Sequence[Completion]) -> None:
        """Record, and return once the record, and all of its chunk before it, is stored. Raises StorageError, and then keeps
        all but this record.
        """
        line = _ENCODER.encode([request.id, key, [_plain(a) for a in answers]]).encode()
        with self._writing:
            with self._lock:
                before = self._buffer.pop(request.chunk, [])
            try:
                self._write(request.chunk, [*before, line])
            except StorageError:
                with self._lock:
                    self._buffer[request.chunk] = before + self._buffer.get(request.chunk, [])
                raise
            with self._lock:
                self.nbytes -= _size(before)

    def drop(self, chunk: int) -> None:
        """Forget the buffered asks of a committed chunk."""
        with self._lock:
            self.nbytes -= _size(self._buffer.pop(chunk, ()))

    def flush(self) -> None:
        """Write the asks recorded since the last flush: one segment per chunk, named by its content."""
        with self._writing:
            with self._lock:
                noted, self._buffer = self._buffer, {}
            for chunk, lines in sorted(noted.items()):
                try:
                    self._write(chunk, lines)
                except StorageError as error:
                    self._on_error(error)
                    with self._lock:
                        self._buffer[chunk] = lines + self._buffer.get(chunk, [])
                else:
                    with self._lock:
                        self.nbytes -= _size(lines)

    def _write(self, chunk: int, lines: list[bytes]) -> None:
        data = zlib.compress(b"\n".join(lines), 1)
        self._storage.write(f"{_folder(chunk)}{digest(data.hex())}.jsonl.z", data)

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


def read_journal(storage: Storage, chunk: int) -> dict[str, Answers]:
    """Everything journalled of an uncommitted chunk, by request."""
    by_request: dict[str, Answers] = {}
    for entry in storage.list(_folder(chunk)):
        for line in zlib.decompress(storage.read(entry.path)).splitlines():
            request, key, answers = json.loads(line)
            by_request.setdefault(request, {})[key] = [_completion(a) for a in answers]
    return by_request


def journalled_chunks(storage: Storage) -> Iterator[int]:
    """The chunks that have journal segments, ascending."""
    last = -1
    for entry in storage.list(_FOLDER + "/"):
        chunk = int(entry.path.removeprefix(_FOLDER + "/").split("/")[0])
        if chunk != last:
            last = chunk
            yield chunk


def delete_segments(storage: Storage, chunk: int) -> None:
    """Delete a committed chunk's segments: they hold text before it was scrubbed."""
    for entry in list(storage.list(_folder(chunk))):
        storage.delete(entry.path)


def _folder(chunk: int) -> str:
    return f"{_FOLDER}/{chunk:08d}/"


def _size(lines: Iterable[bytes]) -> int:
    return sum(map(len, lines))


def _plain(answer: Completion) -> list[Any]:
    """The fields in order, without the last ones where these have their defaults."""
    fields = [getattr(answer, name) for name in Completion.__slots__]
    if answer.top_k is not None:
        fields[_TOP_K] = [part if isinstance(part, int) else b64encode(part).decode() for part in astuple(answer.top_k)]
    while len(fields) > _FIELDS and _is_default(fields[-1], _DEFAULTS[len(fields) - 1]):
        fields.pop()
    return fields


def _is_default(value: Any, default: Any) -> bool:
    """Whether they are the same, of one type: 0 tokens is another thing than no number of them."""
    return type(value) is type(default) and bool(value == default)


def _completion(fields: list[Any]) -> Completion:
    if len(fields) > _TOP_K and fields[_TOP_K] is not None:
        k, *parts = fields[_TOP_K]
        fields[_TOP_K] = TopK(k, *map(b64decode, parts))
    return Completion(*fields)


def open_journal(job: Job) -> Journal | None:
    """The journal of one worker of the job, or None where the job keeps none."""
    if job.limits.journal_flush_s == 0:
        return None
    return Journal(open_output(job.output), flush_s=job.limits.journal_flush_s, on_error=_log_flush_error)


def _log_flush_error(error: StorageError) -> None:
    log.warning("the ask journal could not be written, the next flush tries again: %s", error)
