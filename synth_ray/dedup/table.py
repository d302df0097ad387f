"""Flat arrays that grow: a table from 48-bit keys to values, and arrays that are appended to."""

from __future__ import annotations

from typing import Any

import numpy as np

from synth_ray.dedup import table_kernels as kernels
from synth_ray.dedup.hashing import U32, Array

_SLACK = 4096
_LOAD = 0.84
_GROWTH = 1.08
_TAIL = 1 << 16


class Table:
    """Key → values, in the order they came. Ten bytes a slot, at a load between 0.77 and 0.84 while it grows.

    `expected` entries are given room at once, which saves the growing. Growing is in place: it needs no second table.
    """

    def __init__(self, *, expected: int = 0, value: Any = U32) -> None:
        self.size = max(1024, int(expected / _LOAD) + 1)
        total = self.size + _SLACK
        self.his, self.los, self.values = np.zeros(total, U32), np.zeros(total, np.uint16), np.zeros(total, value)
        self._used = np.zeros(2, np.int64)  # entries; and what keeps the compiler from leaving reads out

    def __len__(self) -> int:
        return int(self._used[0])

    @property
    def used(self) -> int:
        return int(self._used[0])

    @used.setter
    def used(self, entries: int) -> None:
        """Compiled code that added entries says how many there are now."""
        self._used[0] = entries

    @property
    def slots(self) -> kernels.Slots:
        """What compiled code is handed; void once the table grows."""
        return kernels.Slots(self.his, self.los, self.values, self.size)

    @property
    def nbytes(self) -> int:
        return self.his.nbytes + self.los.nbytes + self.values.nbytes

    def reserve(self, more: int) -> None:
        """Make room for `more` entries, so that compiled code can add them without asking."""
        needed = int((len(self) + more) / _LOAD) + 1
        if needed > self.size:
            self._grow(max(needed, int(self.size * _GROWTH)))

    def widen(self) -> None:
        """Grow by a step: what compiled code needs when the slack ran out."""
        self._grow(int(self.size * _GROWTH))

    def _grow(self, size: int) -> None:
        total = len(self.his)
        for array in (self.his, self.los, self.values):
            array.resize(size + _SLACK, refcheck=False)  # realloc: large blocks are remapped, not copied
        # An entry lies some way past its place, rarely more than a few hundred slots: the tail covers that many times over.
        tail = max(_TAIL, int(8 * _SLACK * total / (size - self.size)))
        if not kernels.grow(self.his, self.los, self.values, total, size, tail):
            raise _uneven()
        self.size = size

    def insert(self, keys: Array, ids: Array, *, cap: int) -> None:
        """Add pairs in order, at most `cap` ids to a key. A key of 0 is none."""
        self.reserve(len(keys))
        done = kernels.insert(self.slots, keys, ids, cap, self._used)
        while done < len(keys):
            self.widen()
            done += kernels.insert(self.slots, keys[done:], ids[done:], cap, self._used)

    def lookup(self, keys: Array) -> tuple[Array, Array]:
        """(position in `keys`, id) of everything under the keys, in order."""
        room = max(256, len(keys) // 4)
        while True:
            at, ids = np.empty(room, U32), np.empty(room, U32)
            found = kernels.lookup(self.slots, keys, at, ids)
            if found <= room:
                return at[:found], ids[:found]
            room = found

    def entries(self) -> dict[str, Array]:
        """What a table of any size can be made of again: its own arrays, empty slots and all, for a copy would double it."""
        return {"his": self.his, "los": self.los, "values": self.values}


def _uneven() -> OverflowError:
    return OverflowError(
        f"an index table: wanted evenly spread keys, got a run of more than {_SLACK} slots; these keys are no hashes"
    )


class Appended:
    """An array that is appended to. `view` is what was appended; it is not to be kept across an `append`."""

    def __init__(self, kind: Any, *, width: int | None = None, expected: int = 0) -> None:
        shape = (max(1024, expected),) if width is None else (max(1024, expected), width)
        self.array: Array = np.zeros(shape, kind)
        self.length = 0

    @property
    def view(self) -> Array:
        return self.array[: self.length]

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def reserve(self, more: int) -> None:
        needed = self.length + more
        if needed > len(self.array):
            size = max(needed, int(len(self.array) * _GROWTH) + 1)
            self.array.resize((size, *self.array.shape[1:]), refcheck=False)

    def append(self, values: Array) -> None:
        self.reserve(len(values))
        self.array[self.length : self.length + len(values)] = values
        self.length += len(values)
