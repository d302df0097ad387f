"""The inputs of the kept rows that have a label, in this process or on the local disk."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from synth_ray.dedup.disk_array import DiskArray
from synth_ray.dedup.hashing import U32, U64, Array
from synth_ray.dedup.table import GrowableArray, Table
from synth_ray.dedup.two_level import TwoLevelTable

NO_ROW = 2**64 - 1
"""The number of the kept row of an input that none has."""

_CAP = 8  # inputs whose 48-bit keys are equal by chance
_WIDTH = 4


class _Entries(Protocol):
    @property
    def length(self) -> int: ...
    @property
    def view(self) -> Array: ...
    def append(self, values: Array) -> None: ...


class MemoryLabels:
    """See `stores.LabelStore`. 48 bytes an input."""

    def __init__(self) -> None:
        self._table, self._entries = Table(), GrowableArray(U64, width=_WIDTH)

    @property
    def nbytes(self) -> int:
        return self._table.nbytes + self._entries.nbytes

    def append(self, entries: Array) -> None:
        _append(self._table, self._entries, entries)

    def find(self, inputs: Array) -> Array:
        return _find(self._table, self._entries, inputs)


class LabelFile:
    """See `stores.LabelStore`. 38 bytes of disk an input, 2.2 of memory. `folder` is a new one of this store alone; `close`
    deletes its files.
    """

    def __init__(self, folder: Path, *, hot_bytes: int) -> None:
        self._folder, self._hot_bytes = folder, hot_bytes
        self._table: TwoLevelTable | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def nbytes(self) -> int:
        """Bytes of memory. A store without labels has none."""
        return self._table.nbytes if self._table is not None else 0

    def append(self, entries: Array) -> None:
        """Raises SynthRayError where the disk is full."""
        if self._table is None:
            self._table = TwoLevelTable(self._folder / "inputs", cap=_CAP, hot_bytes=self._hot_bytes)
            self._entries = DiskArray(self._folder / "entries", U64, width=_WIDTH)
        _append(self._table, self._entries, entries)

    def find(self, inputs: Array) -> Array:
        if self._table is None:
            return _none_of(inputs)
        return _find(self._table, self._entries, inputs)

    def close(self) -> None:
        """Delete the files."""
        if self._table is not None:
            self._table.close()
            self._entries.close()


def _append(table: Table | TwoLevelTable, held: _Entries, entries: Array) -> None:
    places = np.arange(held.length, held.length + len(entries), dtype=U32)
    held.append(entries)
    table.insert(np.ascontiguousarray(entries[:, 0]), places, cap=_CAP)


def _find(table: Table | TwoLevelTable, held: _Entries, inputs: Array) -> Array:
    found = _none_of(inputs)
    at, places = table.lookup(np.ascontiguousarray(inputs[:, 0]))
    entries = held.view[places]
    same = entries[:, 1] == inputs[at, 1]
    found[at[same]] = entries[same, 2:]
    return found


def _none_of(inputs: Array) -> Array:
    return np.full((len(inputs), 2), NO_ROW, U64)
