"""A bounded sample of rows, the same however the rows arrive, and mergeable across workers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
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
        self._rows: dict[str, SampledRow] = {}
        self._largest: list[_Largest] = []

    def add(self, rows: Iterable[SampledRow]) -> None:
        for row in rows:
            if row.id < self.limit and row.id not in self._rows:
                self._keep(row if len(row.text) <= MAX_CHARACTERS else replace(row, text=row.text[:MAX_CHARACTERS]))

    def _keep(self, row: SampledRow) -> None:
        self._rows[row.id] = row
        if len(self._largest) < self._max_rows:
            heapq.heappush(self._largest, _Largest(row.id))
        else:
            del self._rows[heapq.heapreplace(self._largest, _Largest(row.id)).id]

    def merge(self, other: RowSample) -> None:
        self.add(other._rows.values())

    @property
    def limit(self) -> str:
        """Rows with this id or a larger one are not sampled: whoever has many need not read those at all."""
        return self._largest[0].id if len(self._largest) == self._max_rows else "~"

    @property
    def rows(self) -> Sequence[SampledRow]:
        """The sampled rows, by their ids."""
        return [self._rows[name] for name in sorted(self._rows)]


@dataclass(frozen=True, slots=True)
class _Largest:
    """An id, ordered so that the largest is first on a heap."""

    id: str

    def __lt__(self, other: _Largest) -> bool:
        return self.id > other.id
