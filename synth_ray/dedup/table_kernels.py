"""Open addressing in the order of the keys, compiled.

The place of a key is `hi * size >> 32`: larger keys lie further on, and entries stand in ascending order of `hi`. So a search for
what is not there ends at the first larger key, and growing is one forward pass over the table instead of a random walk. A key is
48 bits: `hi` (32, 0 marks an empty slot) and `lo` (16). There is no wrap-around: the arrays have slack past `size`. Equal keys
lie in the order in which they came. Source: Amble & Knuth, Ordered hash tables, 1974.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import COMPILED, INLINED, U8S, U32S, U64S, UNCOUNTED, tuple_type

_U64, _U32 = np.uint64, np.uint32
_AHEAD = 64


class Slots(NamedTuple):
    """The arrays of a table, and its size: the places that keys have. The arrays are longer, by the slack."""

    his: Any
    los: Any
    values: Any
    size: int


SLOTS = tuple_type(Slots, nb.u4[::1], nb.u2[::1], nb.u4[::1], nb.i8)
SMALL_SLOTS = tuple_type(Slots, nb.u4[::1], nb.u2[::1], nb.u1[::1], nb.i8)


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
    """Add an entry unless its key has `cap` or this very value: returns 1 when added, 0 when not, -1 past the slack."""
    his, los, values = slots.his, slots.los, slots.values
    hi, lo = high(key), low(key)
    s = place(hi, slots.size)
    same = 0
    last = his.size - 1  # always empty: it ends every search
    while his[s] != 0 and his[s] <= hi:
        if his[s] == hi and los[s] == lo:
            same += 1
            if same >= cap or values[s] == value:
                return 0
        s += 1
    free = s
    while his[free] != 0:
        free += 1
    if free >= last:
        return -1
    for q in range(free, s, -1):
        his[q] = his[q - 1]
        los[q] = los[q - 1]
        values[q] = values[q - 1]
    his[s] = hi
    los[s] = lo
    values[s] = value
    return 1


@nb.njit(**INLINED)
def prefetch(slots: Slots, key: Any) -> Any:
    """Read where a key would be, so that the memory is at hand when it is searched: many such reads are under way at once."""
    s = place(high(key), slots.size)
    return slots.his[s] ^ slots.los[s] ^ slots.values[s]


@nb.njit(
    [nb.i8(SLOTS, U64S, U32S, nb.i8, nb.i8[::1]), nb.i8(SMALL_SLOTS, U64S, U8S, nb.i8, nb.i8[::1])],
    **UNCOUNTED,
)
def insert(slots: Slots, keys: Any, ids: Any, cap: int, used: Any) -> int:
    """Add (key, id) pairs in order; a key of 0 is none. Returns how many were looked at: fewer when the slack ran out."""
    seen = _U32(0)
    for i in range(keys.size):
        if i % _AHEAD == 0:
            for q in range(i, min(i + _AHEAD, keys.size)):
                seen ^= prefetch(slots, keys[q])
        if keys[i] != 0:
            added = put(slots, keys[i], ids[i], cap)
            if added < 0:
                return i
            used[0] += added
    used[-1] = np.int64(seen)
    return keys.size


@nb.njit(
    [nb.i8(SLOTS, U64S, nb.u4[::1], nb.u4[::1]), nb.i8(SMALL_SLOTS, U64S, nb.u4[::1], nb.u4[::1])],
    **UNCOUNTED,
)
def lookup(slots: Slots, keys: Any, at: Any, ids: Any) -> int:
    """Every (position in `keys`, id) pair, in order; returns how many there are, more than were written if short of room."""
    his, los, values = slots.his, slots.los, slots.values
    n = 0
    for i in range(keys.size):
        key = keys[i]
        if key == 0:
            continue
        hi, lo = high(key), low(key)
        s = place(hi, slots.size)
        while his[s] != 0 and his[s] <= hi:
            if his[s] == hi and los[s] == lo:
                if n < at.size:
                    at[n] = i
                    ids[n] = values[s]
                n += 1
            s += 1
    return n


@nb.njit
def _shift(his: Any, los: Any, values: Any, total: int, by: int) -> None:
    for s in range(total - 1, -1, -1):
        his[s + by] = his[s]
        los[s + by] = los[s]
        values[s + by] = values[s]
    his[: min(by, total)] = 0


@nb.njit(
    [
        nb.b1(nb.u4[::1], nb.u2[::1], nb.u4[::1], nb.i8, nb.i8, nb.i8),
        nb.b1(nb.u4[::1], nb.u2[::1], nb.u1[::1], nb.i8, nb.i8, nb.i8),
    ],
    **COMPILED,
)
def grow(his: Any, los: Any, values: Any, total: int, size: int, tail: int) -> bool:
    """Spread the entries of the first `total` slots over `size`, in place and in order; returns whether the slack sufficed.

    Entries move to the end first, so that writing never overtakes reading; the last ones, where the two meet, wait aside.
    """
    aside = max(0, total - tail)
    last_hi, last_lo, last_value = his[aside:total].copy(), los[aside:total].copy(), values[aside:total].copy()
    his[aside:total] = 0
    by = his.size - total
    _shift(his, los, values, total, by)
    free = 0
    for s in range(by, by + aside):
        if his[s] != 0:
            hi, lo, value = his[s], los[s], values[s]
            his[s] = 0
            free = max(free, place(hi, size))
            if free > s:
                return False
            his[free] = hi
            los[free] = lo
            values[free] = value
            free += 1
    for s in range(last_hi.size):
        if last_hi[s] != 0:
            free = max(free, place(last_hi[s], size))
            if free >= his.size - 1:
                return False
            his[free] = last_hi[s]
            los[free] = last_lo[s]
            values[free] = last_value[s]
            free += 1
    return True


@nb.njit(nb.void(U64S, nb.i8, nb.i8, nb.i8[::1], nb.u8[::1], nb.u4[::1]), **COMPILED)
def route(keys: Any, virtual: int, shards: int, ends: Any, out: Any, at: Any) -> None:
    """Sort keys by the shard that owns them, keeping their order; `at` is where each was. A key of 0 goes nowhere.

    The shard is told by bits of `lo`: keys that a table takes for one are in one shard, and each shard's `hi` stay even.
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
