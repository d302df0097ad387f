"""Open addressing in the order of the keys, compiled.

The place of a key is `hi * size >> 32`: larger keys lie further on, and entries are in ascending order of `hi`. So a search for
an absent key ends at the first larger key, and growing is one forward pass over the table instead of random access. A key is 48
bits: `hi` (32, 0 marks an empty slot) and `lo` (16). There is no wrap-around: the arrays have slack past `size`. Equal keys are
in insertion order. Source: Amble & Knuth, Ordered hash tables, 1974.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import COMPILED, INLINED, U32S, U64S, UNCOUNTED, tuple_type

_U64, _U32 = np.uint64, np.uint32
_PREFETCH_KEYS = 64


class Slots(NamedTuple):
    """The arrays of a table, and its size: the number of places for keys. The arrays are longer, by the slack."""

    key_hi: Any
    key_lo: Any
    values: Any
    size: int


SLOTS = tuple_type(Slots, nb.u4[::1], nb.u2[::1], nb.u4[::1], nb.i8)


@nb.njit
def high(key: Any) -> Any:
    return _U32(max(key >> _U64(32), _U64(1)))


@nb.njit
def low(key: Any) -> Any:
    return np.uint16(key >> _U64(16))


@nb.njit
def place(hi: Any, size: Any) -> Any:
    return np.int64(_U64(hi) * _U64(size) >> _U64(32))


@nb.njit(**INLINED)
def put(slots: Slots, key: Any, value: Any, cap: int) -> int:
    """Add an entry unless its key has `cap` entries or this very value: returns 1 if added, 0 if not, -1 past the slack."""
    key_hi, key_lo, values = slots.key_hi, slots.key_lo, slots.values
    hi, lo = high(key), low(key)
    s = place(hi, slots.size)
    same = 0
    last = key_hi.size - 1  # always empty, so that every search ends
    while key_hi[s] != 0 and key_hi[s] <= hi:
        if key_hi[s] == hi and key_lo[s] == lo:
            same += 1
            if same >= cap or values[s] == value:
                return 0
        s += 1
    free = s
    while key_hi[free] != 0:
        free += 1
    if free >= last:
        return -1
    for q in range(free, s, -1):
        key_hi[q] = key_hi[q - 1]
        key_lo[q] = key_lo[q - 1]
        values[q] = values[q - 1]
    key_hi[s] = hi
    key_lo[s] = lo
    values[s] = value
    return 1


@nb.njit(**INLINED)
def prefetch(slots: Slots, key: Any) -> Any:
    """Read a key's place before it is searched, so that the memory is in the cache by then; many such reads overlap."""
    s = place(high(key), slots.size)
    return slots.key_hi[s] ^ slots.key_lo[s] ^ slots.values[s]


@nb.njit(nb.i8(SLOTS, U64S, U32S, nb.i8, nb.i8[::1]), **UNCOUNTED)
def insert(slots: Slots, keys: Any, ids: Any, cap: int, used: Any) -> int:
    """Add (key, id) pairs in order; a key of 0 is skipped. Returns the pairs processed: fewer when the slack is used up."""
    seen = _U32(0)
    for i in range(keys.size):
        if i % _PREFETCH_KEYS == 0:
            for q in range(i, min(i + _PREFETCH_KEYS, keys.size)):
                seen ^= prefetch(slots, keys[q])
        if keys[i] != 0:
            added = put(slots, keys[i], ids[i], cap)
            if added < 0:
                return i
            used[0] += added
    used[-1] = np.int64(seen)
    return keys.size


@nb.njit(nb.i8(SLOTS, U64S, nb.u4[::1], nb.u4[::1]), **UNCOUNTED)
def lookup(slots: Slots, keys: Any, at: Any, ids: Any) -> int:
    """Every (position in `keys`, id) pair, in order; returns their number, which is larger than the pairs written if space ran
    out.
    """
    key_hi, key_lo, values = slots.key_hi, slots.key_lo, slots.values
    n = 0
    for i in range(keys.size):
        key = keys[i]
        if key == 0:
            continue
        hi, lo = high(key), low(key)
        s = place(hi, slots.size)
        while key_hi[s] != 0 and key_hi[s] <= hi:
            if key_hi[s] == hi and key_lo[s] == lo:
                if n < at.size:
                    at[n] = i
                    ids[n] = values[s]
                n += 1
            s += 1
    return n


@nb.njit
def _shift(key_hi: Any, key_lo: Any, values: Any, total: int, by: int) -> None:
    for s in range(total - 1, -1, -1):
        key_hi[s + by] = key_hi[s]
        key_lo[s + by] = key_lo[s]
        values[s + by] = values[s]
    key_hi[: min(by, total)] = 0


@nb.njit(nb.b1(nb.u4[::1], nb.u2[::1], nb.u4[::1], nb.i8, nb.i8, nb.i8), **COMPILED)
def grow(key_hi: Any, key_lo: Any, values: Any, total: int, size: int, tail: int) -> bool:
    """Spread the entries of the first `total` slots over `size`, in place and in order; returns whether the slack sufficed.

    Entries are moved to the end first, so that writing never overtakes reading; the last ones, where the two meet, are set aside.
    """
    aside = max(0, total - tail)
    last_hi, last_lo, last_value = key_hi[aside:total].copy(), key_lo[aside:total].copy(), values[aside:total].copy()
    key_hi[aside:total] = 0
    by = key_hi.size - total
    _shift(key_hi, key_lo, values, total, by)
    free = 0
    for s in range(by, by + aside):
        if key_hi[s] != 0:
            hi, lo, value = key_hi[s], key_lo[s], values[s]
            key_hi[s] = 0
            free = max(free, place(hi, size))
            if free > s:
                return False
            key_hi[free] = hi
            key_lo[free] = lo
            values[free] = value
            free += 1
    for s in range(last_hi.size):
        if last_hi[s] != 0:
            free = max(free, place(last_hi[s], size))
            if free >= key_hi.size - 1:
                return False
            key_hi[free] = last_hi[s]
            key_lo[free] = last_lo[s]
            values[free] = last_value[s]
            free += 1
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
