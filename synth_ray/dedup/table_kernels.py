"""Open addressing in the order of the keys, compiled.

The place of a key is `hi * size >> 32`: larger keys lie further on, and entries are in ascending order of `hi`. So a search for
an absent key ends at the first larger key, and growing is one forward pass over the table instead of random access. A key is
`hi` (32 bits, 0 marks an empty slot) and `lo`: 16 bits, or 32 in a wide table. There is no wrap-around: the array has slack
past `size`. Equal keys are in insertion order. Source: Amble & Knuth, Ordered hash tables, 1974.

An entry is one packed record: of a table larger than the caches what costs time is the number of cache lines.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import COMPILED, INLINED, U32S, U64S, UNCOUNTED, tuple_type
from synth_ray.dedup.prefetching import prefetch_item

_U64, _U32 = np.uint64, np.uint32
_AHEAD = 32  # keys between the one that is prefetched and the one that is handled
_A_LINE = 6  # slots, which are as long as a cache line, about
_BLOCK = 1 << 14  # slots moved at once: they stay in the processor's cache

ENTRY = np.dtype([("hi", "u4"), ("lo", "u2"), ("value", "u4")])
WIDE_ENTRY = np.dtype([("hi", "u4"), ("lo", "u4"), ("value", "u4")])
_ENTRY_BYTES = ENTRY.itemsize


class Slots(NamedTuple):
    """A table's entries, packed, and its size: the number of places for keys. There are more slots than that, by the slack."""

    entries: Any
    size: int


ENTRIES = nb.from_dtype(ENTRY)[::1]
WIDE_ENTRIES = nb.from_dtype(WIDE_ENTRY)[::1]
SLOTS = tuple_type(Slots, ENTRIES, nb.i8)
WIDE_SLOTS = tuple_type(Slots, WIDE_ENTRIES, nb.i8)


@nb.njit
def high(key: Any) -> Any:
    return _U32(max(key >> _U64(32), _U64(1)))


@nb.njit
def low(key: Any) -> Any:
    return np.uint16(key >> _U64(16))


@nb.njit
def low_in(entries: Any, key: Any) -> Any:
    """What a table keeps of a key in `lo`."""
    return _U32(low(key)) if entries.itemsize == _ENTRY_BYTES else _U32(key & _U64(0xFFFFFFFF))


@nb.njit
def place(hi: Any, size: Any) -> Any:
    return np.int64(_U64(hi) * _U64(size) >> _U64(32))


@nb.njit(**INLINED)
def put(slots: Slots, key: Any, value: Any, cap: int) -> int:
    """Add an entry unless its key has `cap` entries or this very value: returns 1 if added, 0 if not, -1 past the slack.

    An index is unsigned: numba would look at the sign of another one at each access.
    """
    entries = slots.entries
    if entries[entries.size - 2].hi != 0:  # the last slot is always empty, so that every search ends
        return -1
    hi, lo = high(key), low_in(entries, key)
    s = _U64(place(hi, slots.size))
    same = 0
    while entries[s].hi != 0 and entries[s].hi <= hi:
        if entries[s].hi == hi and entries[s].lo == lo:
            same += 1
            if same >= cap or entries[s].value == value:
                return 0
        s += _U64(1)
    _push(entries, s, hi, lo, value)
    return 1


@nb.njit(**INLINED)
def _push(entries: Any, s: Any, hi: Any, lo: Any, value: Any) -> None:
    """Put an entry into a slot; what is there moves to the next one, and so on up to an empty slot."""
    while hi != 0:
        next_hi, next_lo, next_value = entries[s].hi, _U32(entries[s].lo), entries[s].value
        entries[s].hi = hi
        entries[s].lo = lo
        entries[s].value = value
        hi, lo, value = next_hi, next_lo, next_value
        s += _U64(1)


@nb.njit(**INLINED)
def prefetch(slots: Slots, key: Any) -> None:
    """Fetch what a key's search and insertion will mostly need: the cache line of its place, and the next."""
    s = place(high(key), slots.size)
    prefetch_item(slots.entries, s)
    prefetch_item(slots.entries, s + _A_LINE)


@nb.njit([nb.i8(slots, U64S, U32S, nb.i8, nb.i8[::1]) for slots in (SLOTS, WIDE_SLOTS)], **UNCOUNTED)
def insert(slots: Slots, keys: Any, ids: Any, cap: int, used: Any) -> int:
    """Add (key, id) pairs in order; a key of 0 is skipped. Returns the pairs processed: fewer when the slack is used up."""
    for i in range(keys.size):
        prefetch(slots, keys[min(i + _AHEAD, keys.size - 1)])
        if keys[i] != 0:
            added = put(slots, keys[i], ids[i], cap)
            if added < 0:
                return i
            used[0] += added
    return keys.size


@nb.njit([nb.i8(slots, U64S, nb.u4[::1], nb.u4[::1]) for slots in (SLOTS, WIDE_SLOTS)], **UNCOUNTED)
def lookup(slots: Slots, keys: Any, at: Any, ids: Any) -> int:
    """Every (position in `keys`, id) pair, in order; returns their number, which is larger than the pairs written if space ran
    out.
    """
    entries = slots.entries
    n = 0
    for i in range(keys.size):
        prefetch(slots, keys[min(i + _AHEAD, keys.size - 1)])
        key = keys[i]
        if key == 0:
            continue
        hi, lo = high(key), low_in(entries, key)
        s = _U64(place(hi, slots.size))
        while entries[s].hi != 0 and entries[s].hi <= hi:
            if entries[s].hi == hi and entries[s].lo == lo:
                if n < at.size:
                    at[n] = i
                    ids[n] = entries[s].value
                n += 1
            s += _U64(1)
    return n


@nb.njit(**INLINED)
def _take_out(entries: Any, begin: int, end: int, taken: Any) -> int:
    """Copy the entries of these slots, and empty them; returns their number. Without branches, which no predictor could guess."""
    n: Any = _U64(0)
    for s in range(_U64(begin), _U64(end)):
        taken[n] = entries[s]
        n += _U64(entries[s].hi != 0)
        entries[s].hi = 0
    return n


@nb.njit(**INLINED)
def _put_in(slots: Slots, taken: Any, n: int) -> bool:
    """Put n entries where they belong; returns whether the slack sufficed."""
    entries = slots.entries
    free, last = _U64(0), _U64(entries.size - 1)
    for q in range(_U64(n)):
        hi = taken[q].hi
        free = max(free, _U64(place(hi, slots.size)))
        if free >= last:
            return False
        entries[free] = taken[q]
        free += _U64(1)
    return True


@nb.njit([nb.b1(slots, nb.i8) for slots in (SLOTS, WIDE_SLOTS)], **COMPILED)
def grow(slots: Slots, total: int) -> bool:
    """Move the entries of the first `total` slots to where they belong in the larger table; returns whether the slack sufficed.

    Block by block from the last, each from an empty slot on. In a larger table no entry is nearer to the start, and none that
    was behind an empty slot is pushed by one before it: so a block goes where nothing is but what was moved before.
    """
    entries = slots.entries
    taken = np.empty(_BLOCK, entries.dtype)
    end = total
    while end > 0:
        begin = max(0, end - _BLOCK)
        while begin > 0 and entries[begin - 1].hi != 0:
            begin -= 1
        if end - begin > taken.size:
            taken = np.empty(end - begin, entries.dtype)
        n = _take_out(entries, begin, end, taken)
        if not _put_in(slots, taken, n):
            return False
        end = begin
    return True


@nb.njit(nb.void(U64S, nb.i8, nb.i8, nb.i8[::1], nb.u8[::1], nb.u4[::1]), **COMPILED)
def partition_by_shard(keys: Any, virtual: int, shards: int, ends: Any, out: Any, at: Any) -> None:
    """Sort keys by their shard, keeping their order; `at` is the original position of each. A key of 0 belongs to no shard.

    The shard is chosen by bits of `lo`: keys that a table treats as equal are in one shard, and each shard's `hi` stay evenly
    distributed.
    """
    ends[:] = 0
    for i in range(keys.size):
        if keys[i] != 0:
            ends[np.int64(keys[i] >> _U64(16) & _U64(virtual - 1)) * shards // virtual + 1] += 1
    for s in range(shards):
        ends[s + 1] += ends[s]
    for i in range(keys.size):
        if keys[i] != 0:
            shard = np.int64(keys[i] >> _U64(16) & _U64(virtual - 1)) * shards // virtual
            out[ends[shard]] = keys[i]
            at[ends[shard]] = i
            ends[shard] += 1
    for s in range(shards, 0, -1):
        ends[s] = ends[s - 1]
    ends[0] = 0
