"""The state of every chunk between planning and admission. Pure: holds chunk numbers and open requests, and does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from synth_ray.records import Request

DEFAULT_CHUNKS = 32


@dataclass(slots=True)
class OpenChunk:
    """A planned chunk with requests that have not ended."""

    requests: Sequence[Request]
    missing: set[int] = field(default_factory=set)


class Window:
    """Chunks from planned to admitted: every chunk from `frontier` on, or every `step`-th.

    Law: at most `size` chunks, or as many as it has grown to, lie between the admission frontier and the newest planned chunk;
    chunks are admitted in order, each once; a position counts as answered once, however often it is delivered.
    """

    def __init__(self, *, size: int | None, frontier: int = 0, committed: Iterable[int] = (), step: int = 1) -> None:
        """Without `size` it starts at DEFAULT_CHUNKS and may grow."""
        self._step = step
        self._is_fixed = size is not None
        self._size = DEFAULT_CHUNKS if size is None else size
        self.frontier = frontier
        self._next = frontier
        self._open: dict[int, OpenChunk] = {}
        self._staging: set[int] = set()
        self._committed: set[int] = {k for k in committed if k >= frontier and (k - frontier) % step == 0}

    @property
    def next_chunk(self) -> int:
        """The chunk to plan next; chunks that are staged already are skipped."""
        while self._next in self._committed:
            self._next += self._step
        return self._next

    def grow_to(self, size: int) -> None:
        """Allow at least `size` chunks from now on, unless the size was given."""
        if not self._is_fixed:
            self._size = max(self._size, size)

    def has_room(self) -> bool:
        return self.next_chunk - self.frontier < self._size * self._step

    def mark_planned(self, chunk: int, requests: Sequence[Request]) -> None:
        if chunk != self.next_chunk:
            raise ValueError(f"chunk {chunk} planned out of order, {self.next_chunk} is next")
        self._open[chunk] = OpenChunk(requests, {r.position for r in requests})
        self._next += self._step

    def mark_answered(self, chunk: int, positions: Iterable[int]) -> set[int]:
        """Mark positions as answered; returns those that are new."""
        open_chunk = self._open.get(chunk)
        if open_chunk is None:
            return set()
        new = open_chunk.missing.intersection(positions)
        open_chunk.missing -= new
        return new

    def is_complete(self, chunk: int) -> bool:
        return chunk in self._open and not self._open[chunk].missing

    @property
    def oldest_open(self) -> int | None:
        """The first chunk with requests that have not ended."""
        return min((chunk for chunk, open_chunk in self._open.items() if open_chunk.missing), default=None)

    @property
    def is_staging(self) -> bool:
        return bool(self._staging)

    def begin_staging(self, chunk: int) -> list[Request]:
        """The chunk goes to a stager. Returns its planned requests."""
        self._staging.add(chunk)
        return list(self._open.pop(chunk).requests)

    def mark_committed(self, chunk: int) -> None:
        self._staging.discard(chunk)
        self._committed.add(chunk)

    def next_admittable(self) -> int | None:
        return self.frontier if self.frontier in self._committed else None

    def mark_admitted(self, chunk: int) -> None:
        if chunk != self.frontier:
            raise ValueError(f"chunk {chunk} admitted out of order, {self.frontier} is next")
        self._committed.remove(chunk)
        self.frontier += self._step
        self._next = max(self._next, self.frontier)

    @property
    def is_idle(self) -> bool:
        """Whether no chunk is open, being staged, or waiting for admission."""
        return not self._open and not self._staging and not self._committed
