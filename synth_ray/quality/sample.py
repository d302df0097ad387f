"""A bounded sample of rows, the same however the rows arrive, and mergeable across workers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace

MAX_ROWS = 10_000
MAX_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class SampledRow:
    """`text` is what is measured, `label` the row's class or empty. `id` is a hexadecimal digest. Rows of one `group` have the
    same origin, such as one seed; empty where none is known.
    """

    id: str
    text: str
    label: str = ""
    split: str = ""
    group: str = ""


class RowSample:
    """The rows with the smallest ids (a bottom-k sample: ids are digests, so it is a random sample without replacement).

    Law: the sample depends on the rows alone, not on their order or on how they were divided: `merge` of the samples of two
    parts is the sample of both. Texts are cut at MAX_CHARACTERS.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._heap: list[tuple[int, SampledRow]] = []
        self.seen = 0

    def add(self, rows: Iterable[SampledRow]) -> None:
        for row in rows:
            self.seen += 1
            self._push(-int(row.id[:16], 16), row)

    def _push(self, place: int, row: SampledRow) -> None:
        if len(self._heap) < self._max_rows:
            heapq.heappush(self._heap, (place, _cut(row)))
        elif place > self._heap[0][0]:
            heapq.heapreplace(self._heap, (place, _cut(row)))

    @property
    def bar(self) -> int:
        """The largest id, by its first eight bytes as a number, that a new row may have to be sampled."""
        return -self._heap[0][0] if len(self._heap) == self._max_rows else 2**64 - 1

    def merge(self, other: RowSample) -> None:
        self.seen += other.seen
        for place, row in other._heap:
            self._push(place, row)

    @property
    def rows(self) -> list[SampledRow]:
        """The sampled rows, by their ids."""
        return sorted((row for _, row in self._heap), key=lambda row: row.id)


def _cut(row: SampledRow) -> SampledRow:
    return row if len(row.text) <= MAX_CHARACTERS else replace(row, text=row.text[:MAX_CHARACTERS])
