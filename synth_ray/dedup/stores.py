"""Where the memory of admission is: what it asks of tables of keys and of stores of kept rows, their vectors and their labels.

The forms in this process, in actors and on disk fulfil the same protocols. A call that adds may be deferred until the next
question; the answers are as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import numpy as np

from synth_ray.dedup.cells import Centroids
from synth_ray.dedup.hashing import U8, U32, U64, Array
from synth_ray.dedup.label_store import MemoryLabels
from synth_ray.dedup.table import GrowableArray, Table
from synth_ray.dedup.vectors import MemoryVectors, Near

_SCAN = 1 << 20


class KeyTable(Protocol):
    """64-bit keys to row numbers. A key of 0 is none. Which bits of a key count is the table's choice."""

    def insert(self, keys: Array, ids: Array, *, cap: int) -> None:
        """Add (key, number) pairs in order, at most `cap` numbers to a key. One table is always given the same `cap`."""
        ...

    def lookup(self, keys: Array) -> tuple[Array, Array]:
        """(position in `keys`, number) of everything under the keys: by position, then as inserted."""
        ...

    def pairs(self, part: int, parts: int) -> tuple[Array, Array]:
        """The (key, number) pairs whose keys lie in one of `parts` equal ranges; of one key, as inserted."""
        ...

    @property
    def nbytes(self) -> int: ...


class StoredRows(NamedTuple):
    """Rows in order of their numbers: ids (N×16 bytes), positions in `records.SPLITS`, digests (N×2), and runs of shingles."""

    ids: Array
    splits: Array
    digests: Array
    shingles: Array
    ends: Array
    """N+1, from 0."""


class Compared(NamedTuple):
    """What a new row is compared with: digests (N×2), and runs of shingles with their N+1 ends, from 0."""

    digests: Array
    shingles: Array
    ends: Array


class RowStore(Protocol):
    """The kept rows by their number, which counts from 0."""

    def __len__(self) -> int: ...

    def append(self, rows: StoredRows) -> None:
        """Add rows; they are numbered on from the last."""
        ...

    def fetch(self, numbers: Array) -> Compared:
        """The rows with these numbers, which ascend."""
        ...

    def ids_of(self, numbers: Array) -> Array:
        """Their ids, N×16 bytes, for numbers in any order."""
        ...

    def splits_of(self, numbers: Array) -> Array: ...

    def numbers_of(self, ids: Array) -> tuple[Array, Array]:
        """(position in `ids`, the lowest number) of the ids that kept rows have; one pass over all rows."""
        ...

    @property
    def nbytes(self) -> int: ...


class VectorStore(Protocol):
    """The vectors of the kept rows (int8, none of zeros), each under its row's number, in the cells that were set last.

    Law: the answers follow from the vectors, the cells and the question alone, not from the order or the place of anything.
    """

    def append(self, vectors: Array, numbers: Array) -> None:
        """Add vectors, N×D."""
        ...

    def set_cells(self, centroids: Centroids) -> None:
        """Put every vector, and those that follow, into the cell of its nearest centroid."""
        ...

    def near(self, vectors: Array, cells: Array, threshold: float) -> Near:
        """The kept vectors that lie in each row's cells (N×k, each once; with k of 0, all of them) and whose cosine with the row
        is at least `threshold`.
        """
        ...

    @property
    def nbytes(self) -> int: ...


class LabelStore(Protocol):
    """The inputs of labelled rows, each with the label and the number of the first kept row that has it."""

    def append(self, entries: Array) -> None:
        """Add inputs that are not there, N×4: both halves of the input's digest, half of its label's, the row's number."""
        ...

    def find(self, inputs: Array) -> Array:
        """Half of the label's digest and the row's number for each input (N×2); `label_store.NO_ROW` twice where none has it."""
        ...

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that admission remembers of each kept row: the index's keys and rows, the long n-grams of both sides, and where
    a job compares them vectors and labels.
    """

    keys: KeyTable
    rows: RowStore
    train: KeyTable
    evaluation: KeyTable
    vectors: VectorStore
    labels: LabelStore

    @classmethod
    def in_memory(cls, *, keys: int = 0, rows: int = 0) -> Stores:
        """In this process, with space for so many keys and rows at once."""
        tables = Table(expected=keys), Table(is_wide=True), Table(is_wide=True)
        return cls(tables[0], MemoryRows(expected=rows), *tables[1:], MemoryVectors(), MemoryLabels())

    @property
    def nbytes(self) -> int:
        return sum(self.sizes())

    def sizes(self) -> list[int]:
        """Bytes of each store, in order of the fields."""
        return [getattr(self, field.name).nbytes for field in fields(self)]


class MemoryRows:
    """See `RowStore`: growing arrays. Compiled code appends to them itself, after `reserve`, and then calls `take_over`."""

    def __init__(self, *, expected: int = 0) -> None:
        self.ids, self.splits = GrowableArray(U8, width=16, expected=expected), GrowableArray(U8, expected=expected)
        self.digests, self.shingles = GrowableArray(U64, width=2, expected=expected), GrowableArray(U32)
        self.ends = GrowableArray(np.int64, expected=expected)
        self.ends.append(np.zeros(1, np.int64))

    def __len__(self) -> int:
        return self.splits.length

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.ids, self.splits, self.digests, self.shingles, self.ends))

    def reserve(self, rows: int, shingles: int) -> None:
        self.digests.reserve(rows)
        self.ends.reserve(rows)
        self.shingles.reserve(shingles)

    def reserve_all(self, rows: int, shingles: int) -> None:
        """Space for so many rows more, which `append` then does not have to make step by step."""
        self.reserve(rows, shingles)
        self.ids.reserve(rows)
        self.splits.reserve(rows)

    def take_over(self, ids: Array, splits: Array) -> None:
        """Count the rows whose digests and shingles are already behind the last one's."""
        self.digests.length += len(ids)
        self.ends.length += len(ids)
        self.shingles.length = int(self.ends.array[self.ends.length - 1])
        self.ids.append(ids)
        self.splits.append(splits)

    def append(self, rows: StoredRows) -> None:
        self.ends.append(rows.ends[1:] + self.shingles.length)
        self.ids.append(rows.ids)
        self.splits.append(rows.splits)
        self.digests.append(rows.digests)
        self.shingles.append(rows.shingles)

    def fetch(self, numbers: Array) -> Compared:
        begins = self.ends.array[numbers]
        sizes = self.ends.array[numbers + 1] - begins
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        places = np.repeat(begins - ends[:-1], sizes) + np.arange(ends[-1])
        return Compared(self.digests.array[numbers], self.shingles.array[places], ends)

    def ids_of(self, numbers: Array) -> Array:
        return self.ids.array[numbers]

    def splits_of(self, numbers: Array) -> Array:
        return self.splits.array[numbers]

    def numbers_of(self, ids: Array) -> tuple[Array, Array]:
        return rows_with_ids(ids, len(self), lambda first, last: self.ids.view[first:last])


def rows_with_ids(ids: Array, rows: int, read: Callable[[int, int], Array]) -> tuple[Array, Array]:
    """(position in `ids`, the lowest number) of those that kept rows have. `read` gives the ids of rows `first:last`."""
    wanted = {row.tobytes(): position for position, row in reversed(list(enumerate(ids)))}
    firsts = np.unique(np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)[:, 0])
    found: dict[int, int] = {}
    for start in range(0, rows if wanted else 0, _SCAN):
        block = read(start, min(rows, start + _SCAN))
        for place in np.flatnonzero(np.isin(block.view("<u8")[:, 0], firsts)).tolist():
            position = wanted.get(block[place].tobytes())
            if position is not None:
                found.setdefault(position, start + place)
    return np.array(list(found), np.int64), np.array(list(found.values()), np.int64)
