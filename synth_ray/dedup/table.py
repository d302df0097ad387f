"""Growing flat arrays: a table from 48-bit or 64-bit keys to values, and arrays that are appended to."""

from __future__ import annotations

from typing import Any

import numpy as np

from synth_ray.dedup import table_kernels as kernels
from synth_ray.dedup.growing import Growing
from synth_ray.dedup.hashing import U32, U64, Array

_SLACK = 4096
LOAD = 0.8
_GROWTH = 1.1  # of a table: each step reads and writes all of it
_ARRAY_GROWTH = 1.08  # of an array: nothing is copied


class Table:
    """Key → values, in insertion order. Ten bytes a slot, at a load between 0.73 and 0.8 while it grows.

    It keeps the upper 48 bits of a key: for candidates, which are compared in full afterwards. One that `is_wide` keeps all 64,
    in twelve bytes a slot: for keys whose equality is taken as it is. `expected` entries are allocated at once, which saves
    growing. Growing is in place: it needs no second table.
    """

    def __init__(self, *, expected: int = 0, is_wide: bool = False) -> None:
        self.kind = kernels.WIDE_ENTRY if is_wide else kernels.ENTRY
        self._allocate(max(1024, int(expected / LOAD) + 1))

    def _allocate(self, size: int) -> None:
        self.size = size
        self._entries = Growing(self.kind, size + _SLACK)
        self._used = np.zeros(1, np.int64)

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
        """The entries for compiled code. Let go of them before the table grows."""
        return kernels.Slots(self._entries.array, self.size)

    @property
    def nbytes(self) -> int:
        return self._entries.array.nbytes

    def reserve(self, more: int) -> None:
        """Reserve space for `more` entries, so that compiled code can add them without checking."""
        needed = int((len(self) + more) / LOAD) + 1
        if needed > self.size:
            self._grow(max(needed, int(self.size * _GROWTH)))

    def grow_step(self) -> None:
        """Grow by one step: for compiled code that has used up the slack."""
        self._grow(int(self.size * _GROWTH))

    def _grow(self, size: int) -> None:
        total = self.size + _SLACK
        self._entries.resize(size + _SLACK)
        self.size = size
        if not kernels.grow(self.slots, total):
            raise uneven_keys()

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

    def clear(self) -> None:
        """Remove every entry; the space stays."""
        self.slots.entries["hi"] = 0
        self.used = 0

    def sorted_entries(self) -> Array:
        """A copy of all entries, in ascending order of `hi`; equal keys as inserted."""
        entries = self.slots.entries
        return entries[entries["hi"] != 0]

    def pairs(self, part: int, parts: int) -> tuple[Array, Array]:
        """The (key, value) pairs whose keys lie in one of `parts` equal ranges; of one key, as inserted. Bits of a key that are
        not kept are 0.
        """
        first, end = ((number << 32) // parts for number in (part, part + 1))
        entries, size = self.slots
        key_hi = entries["hi"]
        begin, stop = (min(edge * size >> 32, len(key_hi)) for edge in (first, end))
        while stop < len(key_hi) and (last := key_hi[stop : stop + _SLACK]).any() and last[last > 0][-1] < end:
            stop += _SLACK  # entries lie past their place, and these all belong to this range
        his = key_hi[begin : stop + _SLACK].astype(np.int64)
        taken = entries[begin + np.flatnonzero((his >= max(first, 1)) & (his < end))]
        return keys_of(taken), taken["value"].copy()

    def make_empty(self, expected: int) -> None:
        """Drop every entry, and have space for so many."""
        self._allocate(max(self.size, int(expected / LOAD) + 1))


def keys_of(entries: Array) -> Array:
    """Keys of which a table keeps these entries."""
    los = entries["lo"]
    return entries["hi"].astype(U64) << U64(32) | los.astype(U64) << U64(8 * (4 - los.itemsize))


def uneven_keys() -> OverflowError:
    return OverflowError(
        f"an index table: wanted evenly spread keys, got a run of more than {_SLACK} slots; these keys are no hashes"
    )


class GrowableArray:
    """An array that is appended to. Do not keep `view` across an `append`."""

    def __init__(self, kind: Any, *, width: int | None = None, expected: int = 0) -> None:
        self._growing = Growing(kind, max(1024, expected), width=width)
        self.length = 0

    @property
    def array(self) -> Array:
        return self._growing.array

    @property
    def view(self) -> Array:
        return self.array[: self.length]

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def reserve(self, more: int) -> None:
        needed = self.length + more
        if needed > len(self.array):
            self._growing.resize(max(needed, int(len(self.array) * _ARRAY_GROWTH) + 1))

    def append(self, values: Array) -> None:
        self.reserve(len(values))
        self.array[self.length : self.length + len(values)] = values
        self.length += len(values)
