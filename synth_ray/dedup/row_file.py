"""The kept rows on the local disk: one read a row for what a new row is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synth_ray.dedup import run_kernels as kernels
from synth_ray.dedup.disk_array import DiskArray
from synth_ray.dedup.hashing import U8, U32, U64, Array
from synth_ray.dedup.stores import Compared, StoredRows, rows_with_ids

_DIGEST_WORDS = 4


class RowFile:
    """See `stores.RowStore`. A row is its digest and its shingles, one after the other, 16 + 4 × shingles bytes; 25 more for its
    id, split and end.

    Shingles are hashes: what a text of 200 has between two, in ascending order, is 25 bits of 32. Packing them would save a
    fifth of the disk, and no memory. `folder` is a new one of this store alone; `close` deletes its files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._words, self._ends = DiskArray(folder / "rows", U32), DiskArray(folder / "ends", np.int64)
        self._ids, self._splits = DiskArray(folder / "ids", U8, width=16), DiskArray(folder / "splits", U8)
        self._ends.append(np.zeros(1, np.int64))

    def __len__(self) -> int:
        return self._splits.length

    @property
    def nbytes(self) -> int:
        """Bytes of memory: none that the kernel cannot take back."""
        return 0

    @property
    def disk_nbytes(self) -> int:
        return sum(file.nbytes for file in self.files)

    @property
    def files(self) -> tuple[DiskArray, ...]:
        return self._words, self._ends, self._ids, self._splits

    def append(self, rows: StoredRows) -> None:
        """Raises SynthRayError where the disk is full."""
        words = np.empty(len(rows.shingles) + _DIGEST_WORDS * len(rows.splits), U32)
        ends = rows.ends + _DIGEST_WORDS * np.arange(len(rows.ends))
        kernels.join_rows(rows.digests.view(U32).reshape(-1), rows.shingles, rows.ends, words)
        before = self._words.length
        self._words.append(words)
        self._ids.append(rows.ids)
        self._splits.append(rows.splits)
        self._ends.append(ends[1:] + before)

    def fetch(self, numbers: Array) -> Compared:
        """The rows with these numbers, which ascend."""
        begins, stops = self._ends.view[numbers], self._ends.view[numbers + 1]
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(stops - begins - _DIGEST_WORDS)))
        digests, shingles = np.empty((len(numbers), 2), U64), np.empty(int(ends[-1]), U32)
        kernels.part_rows(self._words.view, begins, digests.view(U32).reshape(-1), shingles, ends)
        return Compared(digests, shingles, ends)

    def ids_of(self, numbers: Array) -> Array:
        return self._ids.view[numbers]

    def splits_of(self, numbers: Array) -> Array:
        return self._splits.view[numbers]

    def numbers_of(self, ids: Array) -> tuple[Array, Array]:
        """See `stores.rows_with_ids`."""
        return rows_with_ids(ids, len(self), self._ids.read)

    def close(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.close()
