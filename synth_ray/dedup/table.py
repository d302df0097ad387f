"""Growing flat arrays: a table from 48-bit keys to values, and arrays that are appended to."""

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
    """Key → values, in insertion order. Ten bytes a slot, at a load between 0.77 and 0.84 while it grows.

    `expected` entries are allocated at once, which saves growing. Growing is in place: it needs no second table.
    """

    def __init__(self, *, expected: int = 0) -> None:
        self.size = max(1024, int(expected / _LOAD) + 1)
        total = self.size + _SLACK
        self.key_hi, self.key_lo, self.values = np.zeros(total, U32), np.zeros(total, np.uint16), np.zeros(total, U32)
        # `[entries, sink]`: the sink holds the prefetches' result, so that LLVM does not remove them
        self._used = np.zeros(2, np.int64)

    def __len__(self) -> int:
        return int(self._used[0])

    @property
    def used(self) -> int:
        return int(self._used[0])

    @used.setter
    def used(self, entries: int) -> None:
        """Compiled code that added entries sets their number."""
        self._used[0] = entries

    @property
    def slots(self) -> kernels.Slots:
        """The arrays for compiled code; invalid once the table grows."""
        return kernels.Slots(self.key_hi, self.key_lo, self.values, self.size)

    @property
    def nbytes(self) -> int:
        return self.key_hi.nbytes + self.key_lo.nbytes + self.values.nbytes

    def reserve(self, more: int) -> None:
        """Reserve space for `more` entries, so that compiled code can add them without checking."""
        needed = int((len(self) + more) / _LOAD) + 1
        if needed > self.size:
            self._grow(max(needed, int(self.size * _GROWTH)))

    def grow_step(self) -> None:
        """Grow by one step: for compiled code that has used up the slack."""
        self._grow(int(self.size * _GROWTH))

    def _grow(self, size: int) -> None:
        total = len(self.key_hi)
        for array in (self.key_hi, self.key_lo, self.values):
            array.resize(size + _SLACK, refcheck=False)  # realloc: large blocks are remapped, not copied
        # An entry lies some slots past its place, rarely more than a few hundred: the tail is many times that.
        tail = max(_TAIL, int(8 * _SLACK * total / (size - self.size)))
        if not kernels.grow(self.key_hi, self.key_lo, self.values, total, size, tail):
            raise _uneven_keys()
        self.size = size

    def insert(self, keys: Array, ids: Array, *, cap: int) -> None:
        """Add pairs in order, at most `cap` ids to a key. A key of 0 is none."""
        self.reserve(len(keys))
        done = kernels.insert(self.slots, keys, ids, cap, self._used)
        while done < len(keys):
            self.grow_step()
            done += kernels.insert(self.slots, keys[done:], ids[done:], cap, self._used)

    def lookup(self, keys: Array) -> tuple[Array, Array]:
        """(position in `keys`, id) of everything under the keys, in order."""
        room = max(256, len(keys) // 4)
        while True:
            at, ids = np.empty(room, U32), np.empty(room, U32)
            count = kernels.lookup(self.slots, keys, at, ids)
            if count <= room:
                return at[:count], ids[:count]
            room = count

    def entries(self) -> dict[str, Array]:
        """What a table of any size can be rebuilt from: its own arrays, empty slots included, because a copy would double the
        memory.
        """
        return {"his": self.key_hi, "los": self.key_lo, "values": self.values}


def _uneven_keys() -> OverflowError:
    return OverflowError(
        f"an index table: wanted evenly spread keys, got a run of more than {_SLACK} slots; these keys are no hashes"
    )


class GrowableArray:
    """An array that is appended to. Do not keep `view` across an `append`."""

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
