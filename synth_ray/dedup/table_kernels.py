"""Open addressing in the order of the keys, compiled.

The place of a key is `hi * size >> 32`: larger keys lie further on, and entries are in ascending order of `hi`. So a search for
an absent key ends at the first larger key, and growing is one forward pass over the table instead of random access. A key is
`hi` (32 bits, 0 marks an empty slot) and `lo`: 16 bits, or 32 in a wide table. There is no wrap-around: the arrays have slack
past `size`. Equal keys are in insertion order. Source: Amble & Knuth, Ordered hash tables, 1974.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import COMPILED, INLINED, U32S, U64S, UNCOUNTED, tuple_type

_U64, _U32 = np.uint64, np.uint32
_PREFETCH_KEYS = 64
_BLOCK = 1 << 14  # slots moved at once: they stay in the processor's cache


class Slots(NamedTuple):
    """The arrays of a table, and its size: the number of places for keys. The arrays are longer, by the slack."""

    key_hi: Any
    key_lo: Any
    values: Any
    size: int


SLOTS = tuple_type(Slots, nb.u4[::1], nb.u2[::1], nb.u4[::1], nb.i8)
WIDE_SLOTS = tuple_type(Slots, nb.u4[::1], nb.u4[::1], nb.u4[::1], nb.i8)


@nb.njit
def high(key: Any) -> Any:
    return _U32(max(key >> _U64(32), _U64(1)))


@nb.njit
def low(key: Any) -> Any:
    return np.uint16(key >> _U64(16))


@nb.njit
def low_in(key_lo: Any, key: Any) -> Any:
    """What a table keeps of a key in `key_lo`. The compiler knows the item size, so nothing is compared when it runs."""
    return _U32(low(key)) if key_lo.itemsize == 2 else _U32(key & _U64(0xFFFFFFFF))


@nb.njit
def place(hi: Any, size: Any) -> Any:
    return np.int64(_U64(hi) * _U64(size) >> _U64(32))


@nb.njit(**INLINED)
def put(slots: Slots, key: Any, value: Any, cap: int) -> int:
    """Add an entry unless its key has `cap` entries or this very value: returns 1 if added, 0 if not, -1 past the slack.

    An index is unsigned: numba would look at the sign of another one at each access.
    """
    key_hi, key_lo, values = slots.key_hi, slots.key_lo, slots.values
    if key_hi[key_hi.size - 2] != 0:  # the last slot is always empty, so that every search ends
        return -1
    hi, lo = high(key), low_in(key_lo, key)
    s = _U64(place(hi, slots.size))
    same = 0
    while key_hi[s] != 0 and key_hi[s] <= hi:
        if key_hi[s] == hi and key_lo[s] == lo:
            same += 1
            if same >= cap or values[s] == value:
                return 0
        s += _U64(1)
    _push(slots, s, hi, lo, value)
    return 1


@nb.njit(**INLINED)
def _push(slots: Slots, s: Any, hi: Any, lo: Any, value: Any) -> None:
    """Put an entry into a slot; what is there moves to the next one, and so on up to an empty slot."""
    key_hi, key_lo, values = slots.key_hi, slots.key_lo, slots.values
    while hi != 0:
        next_hi, next_lo, next_value = key_hi[s], _U32(key_lo[s]), values[s]
        key_hi[s] = hi
        key_lo[s] = lo
        values[s] = value
        hi, lo, value = next_hi, next_lo, next_value
        s += _U64(1)


@nb.njit(**INLINED)
def prefetch(slots: Slots, key: Any) -> Any:
    """Read a key's place before it is searched, so that the memory is in the cache by then; many such reads overlap."""
    s = place(high(key), slots.size)
    return slots.key_hi[s] ^ slots.key_lo[s] ^ slots.values[s]


@nb.njit([nb.i8(slots, U64S, U32S, nb.i8, nb.i8[::1]) for slots in (SLOTS, WIDE_SLOTS)], **UNCOUNTED)
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


@nb.njit([nb.i8(slots, U64S, nb.u4[::1], nb.u4[::1]) for slots in (SLOTS, WIDE_SLOTS)], **UNCOUNTED)
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
        hi, lo = high(key), low_in(key_lo, key)
        s = place(hi, slots.size)
        while key_hi[s] != 0 and key_hi[s] <= hi:
            if key_hi[s] == hi and key_lo[s] == lo:
                if n < at.size:
                    at[n] = i
                    ids[n] = values[s]
                n += 1
            s += 1
    return n


@nb.njit(**INLINED)
def _take_out(slots: Slots, begin: int, end: int, hi: Any, lo: Any, values: Any) -> int:
    """Copy the entries of these slots, and empty them; returns their number. Without branches, which no predictor could guess."""
    n: Any = 0
    for s in range(begin, end):
        hi[n] = slots.key_hi[s]
        lo[n] = slots.key_lo[s]
        values[n] = slots.values[s]
        n += np.int64(slots.key_hi[s] != 0)
    slots.key_hi[begin:end] = 0
    return n


@nb.njit(**INLINED)
def _put_in(slots: Slots, hi: Any, lo: Any, values: Any, n: int) -> bool:
    """Put n entries where they belong; returns whether the slack sufficed."""
    free, last = np.int64(0), slots.key_hi.size - 1
    for q in range(n):
        free = max(free, place(hi[q], slots.size))
        if free >= last:
            return False
        slots.key_hi[free] = hi[q]
        slots.key_lo[free] = lo[q]
        slots.values[free] = values[q]
        free += 1
    return True


@nb.njit([nb.b1(slots, nb.i8) for slots in (SLOTS, WIDE_SLOTS)], **COMPILED)
def grow(slots: Slots, total: int) -> bool:
    """Move the entries of the first `total` slots to where they belong in the larger table; returns whether the slack sufficed.

    Block by block from the last, each from an empty slot on. In a larger table no entry is nearer to the start, and none that
    was behind an empty slot is pushed by one before it: so a block goes where nothing is but what was moved before.
    """
    key_hi, key_lo = slots.key_hi, slots.key_lo
    his, los, values = np.empty(_BLOCK, _U32), np.empty(_BLOCK, key_lo.dtype), np.empty(_BLOCK, _U32)
    end = total
    while end > 0:
        begin = max(0, end - _BLOCK)
        while begin > 0 and key_hi[begin - 1] != 0:
            begin -= 1
        if end - begin > his.size:
            his, los, values = np.empty(end - begin, _U32), np.empty(end - begin, key_lo.dtype), np.empty(end - begin, _U32)
        n = _take_out(slots, begin, end, his, los, values)
        if not _put_in(slots, his, los, values, n):
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
