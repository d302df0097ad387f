"""A plan that can grow: the first requests, then added or repeated ones, in chunks with rising numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from synth_ray.records import Request


class Numbered(Protocol):
    def numbered(self, chunk: int, numbers: Sequence[int]) -> list[Request]: ...


class GrownPlan:
    """Segments of request numbers, each cut into its own chunks.

    Law: a segment added later changes no earlier chunk, so committed chunks stay valid. A number in a later segment supersedes
    the same number in an earlier one: the rows have the same ids, and only the latest count.
    """

    def __init__(self, planner: Numbered, segments: Sequence[Sequence[int]], *, chunk_requests: int) -> None:
        self._planner = planner
        self._segments = segments
        self._size = chunk_requests
        self._retried = [frozenset(s) if not isinstance(s, range) else frozenset[int]() for s in segments]

    @property
    def chunks(self) -> int:
        return sum(-(-len(segment) // self._size) for segment in self._segments)

    def chunk(self, number: int) -> list[Request]:
        """The requests of one chunk; an empty list past the end."""
        return self._planner.numbered(number, self.numbers(number))

    def numbers(self, chunk: int) -> Sequence[int]:
        _, numbers = self._place(chunk)
        return numbers

    def superseded(self, chunk: int) -> frozenset[int]:
        """The positions in a chunk that a later segment asks again: their rows do not count."""
        segment, numbers = self._place(chunk)
        later = self._retried[segment + 1 :]
        return (
            frozenset(i for i, n in enumerate(numbers) if any(n in retried for retried in later)) if any(later) else frozenset()
        )

    def _place(self, chunk: int) -> tuple[int, Sequence[int]]:
        for index, segment in enumerate(self._segments):
            chunks = -(-len(segment) // self._size)
            if chunk < chunks:
                return index, segment[chunk * self._size : (chunk + 1) * self._size]
            chunk -= chunks
        return len(self._segments), ()
