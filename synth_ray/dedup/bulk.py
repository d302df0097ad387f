"""Fills a table with many entries at once, several times as fast as entry by entry: each of those waits for memory.

Entries are collected by region of the table, in the table's own space; at the end threads sort the regions, each in the cache.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np

from synth_ray.dedup import bulk_kernels as kernels
from synth_ray.dedup.hashing import U32, Array
from synth_ray.dedup.stores import KeyTable
from synth_ray.dedup.table import Table, keys_of, uneven_keys

_REGION = 1 << kernels.REGION_BITS
_FEWEST = 1 << 20
"""Entries below which adding one by one, to a table that is in the cache, is as fast."""
_SPARE = 1.04
"""Space for what a run adds afterwards, before the table grows: as much as a growing table has."""
_OVERFLOW = 1 << 14
_MAX_THREADS = 8


class Filling:
    """Adds what `table.insert` would, in the same order, `cap` entries to a key. Until this is left the table answers nothing.

    `expected` entries are added in all; with more it goes on one by one. A table that is not in this process takes every call
    as an `insert`.
    """

    def __init__(self, table: KeyTable, *, expected: int, cap: int) -> None:
        self._table, self._cap = table, cap
        self._filled: Array | None = None
        if isinstance(table, Table) and len(table) + expected >= _FEWEST:
            self._begin(table, expected)

    def __enter__(self) -> Filling:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._filled is not None and isinstance(self._table, Table):
            self._finish(self._table, self._filled)

    def _begin(self, table: Table, expected: int) -> None:
        keys, ids = table.pairs(0, 1)
        table.make_empty(int(_SPARE * (len(keys) + expected)))
        self._filled = np.zeros(max(1, table.size // _REGION), np.int64)
        self.add(keys, ids)

    def add(self, keys: Array, ids: Array) -> None:
        """Add (key, number) pairs. A key of 0 is none."""
        table, filled, done = self._table, self._filled, 0
        if filled is not None and isinstance(table, Table):
            while (done := kernels.collect(table.slots, filled, keys, ids, done)) < len(keys):
                if not self._make_room(table, filled, int(keys[done]) >> 32):
                    self._finish(table, filled)
                    break
        if done < len(keys):
            table.insert(keys[done:], ids[done:], cap=self._cap)

    def _make_room(self, table: Table, filled: Array, hi: int) -> bool:
        """Drop the repeats of a full region. Returns whether that was worth it."""
        region = min((hi * table.size >> 32) // _REGION, len(filled) - 1)
        return kernels.compact(table.slots, filled, region, self._cap, _scratch(table)) > _REGION // 16

    def _finish(self, table: Table, filled: Array) -> None:
        """Threads sort the regions; what overflows a thread's last one is then put into the next, one by one."""
        self._filled = None
        threads = min(len(filled), _MAX_THREADS, os.cpu_count() or 1)
        edges = [len(filled) * thread // threads for thread in range(threads + 1)]
        overflows = [np.empty(_OVERFLOW, table.kind) for _ in range(threads)]

        def spread(thread: int) -> int:
            first, last = edges[thread], edges[thread + 1]
            return kernels.spread(table.slots, filled, first, last, self._cap, _scratch(table), overflows[thread])

        with ThreadPoolExecutor(threads, thread_name_prefix="fill") as pool:
            waiting = list(pool.map(spread, range(threads)))
        if min(waiting) < 0 or waiting[-1]:
            raise uneven_keys()
        table.used = int(filled.sum()) - sum(waiting)
        for over, size in zip(overflows, waiting, strict=True):
            table.insert(keys_of(over[:size]), over["value"][:size].copy(), cap=self._cap)


def _scratch(table: Table) -> kernels.Scratch:
    total = len(table.slots.entries)
    largest = total if table.size < 2 * _REGION else 2 * _REGION + total - table.size
    return kernels.Scratch(np.empty(largest, table.kind), np.empty(largest + 1, U32))
