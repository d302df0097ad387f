"""Sorted runs, compiled: where a key may lie in one, and several merged into one.

A run is a table's entries without its empty slots: in ascending order of `hi`, equal keys in insertion order (see
`table_kernels`). A bucket is a range of `hi` with four and a half to nine entries on average. In memory are some bits of each
`lo` (its mark), the number of entries before every 16th bucket, and of each bucket how many more there are before it: one byte.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import I64S, INLINED, U32S, U64S, UNCOUNTED, tuple_type
from synth_ray.dedup.prefetching import prefetch_item
from synth_ray.dedup.table_kernels import ENTRIES, WIDE_ENTRIES, high

GROUP_BITS = 4
"""A group is 16 buckets."""
_IN_GROUP = (1 << GROUP_BITS) - 1
_PREFETCH_KEYS = 64
_NO_HEAD = 1 << 32  # larger than every `hi`
_U64 = np.uint64
_U16S = nb.types.Array(nb.u2, 1, "C", readonly=True)
_U8S = nb.types.Array(nb.u1, 1, "C", readonly=True)


class Marks(NamedTuple):
    """What of a run is in memory. `marks`: the upper 16 or 8 bits that a table keeps of `lo`, by entry. `firsts`: entries before
    each group of buckets. `offsets`: entries before each bucket in its group; 8 bits, or 32 where keys are so uneven that a group
    has more than 255. Both are one longer than there are groups, and buckets. `shift`: bits of `hi` below its bucket.
    """

    marks: Any
    firsts: Any
    offsets: Any
    shift: int


_OFFSETS = (_U8S, U32S)
_MARKS = [tuple_type(Marks, marks, U32S, offsets, nb.i8) for marks in (_U16S, _U8S) for offsets in _OFFSETS]


@nb.njit
def _bucket(hi: Any, shift: int) -> Any:
    return np.int64(_U64(hi) >> _U64(shift))


@nb.njit(**INLINED)
def _begin(firsts: Any, offsets: Any, bucket: Any) -> Any:
    """The entries before a bucket."""
    return np.int64(firsts[bucket >> GROUP_BITS]) + np.int64(offsets[bucket])


@nb.njit
def _mark(marks: Any, key: Any) -> Any:
    return np.uint32(key >> _U64(16) & _U64(0xFFFF)) if marks.itemsize == 2 else np.uint32(key >> _U64(24) & _U64(0xFF))


@nb.njit(**INLINED)
def _note_until(bucket: Any, entry: Any, firsts: Any, offsets: Any, noted: Any) -> Any:
    """Note that buckets up to this one begin with an entry; -1 if it does not fit."""
    while noted <= bucket:
        if noted & _IN_GROUP == 0:
            firsts[noted >> GROUP_BITS] = entry
        offset = entry - np.int64(firsts[noted >> GROUP_BITS])
        if offset > 255 and offsets.itemsize == 1:
            return -1
        offsets[noted] = offset
        noted += 1
    return noted


@nb.njit(
    [nb.i8(U32S, nb.i8, nb.i8, nb.u4[::1], offsets, nb.i8, nb.i8) for offsets in (nb.u1[::1], nb.u4[::1])],
    **UNCOUNTED,
)
def note_buckets(key_hi: Any, first: int, shift: int, firsts: Any, offsets: Any, noted: int, last: int) -> int:
    """Note the first entry of each bucket that begins among these entries, which are numbered from `first`; then of all buckets
    up to `last`, if it is not negative. `noted` are noted before; returns how many are then, or -1 if one does not fit.
    """
    for i in range(key_hi.size):
        noted = _note_until(_bucket(key_hi[i], shift), first + i, firsts, offsets, noted)
        if noted < 0:
            return -1
    return _note_until(last, first + key_hi.size, firsts, offsets, noted)


@nb.njit([nb.void(marks, nb.i8, rests, nb.u4[::1]) for marks in _MARKS for rests in (_U16S, U32S)], **UNCOUNTED)
def restore_hi(run: Marks, bucket: int, rests: Any, out: Any) -> None:
    """`hi` of the entries from the first of a bucket on: their bucket, and their bits below it."""
    first = _begin(run.firsts, run.offsets, bucket)
    end = first
    for i in range(rests.size):
        while first + i >= end:
            bucket += 1
            end = _begin(run.firsts, run.offsets, bucket)
        out[i] = np.uint32(_U64(bucket - 1) << _U64(run.shift) | _U64(rests[i]))


@nb.njit([nb.i8(marks, U64S, nb.u4[::1], nb.i8[::1]) for marks in _MARKS], **UNCOUNTED)
def propose(run: Marks, keys: Any, at: Any, entries: Any) -> int:
    """Every (position in `keys`, entry) whose bucket and mark are the key's; the rest, on the disk, tells whether it is the key.

    Returns their number, which is larger than the pairs written if space ran out. No key is 0.
    """
    marks, firsts, offsets, shift = run.marks, run.firsts, run.offsets, run.shift
    n = 0
    for i in range(keys.size):
        if i % _PREFETCH_KEYS == 0:
            ahead = min(i + _PREFETCH_KEYS, keys.size)
            for q in range(i, ahead):
                bucket = _bucket(high(keys[q]), shift)
                prefetch_item(firsts, bucket >> GROUP_BITS)
                prefetch_item(offsets, bucket)
            for q in range(i, ahead):
                prefetch_item(marks, _begin(firsts, offsets, _bucket(high(keys[q]), shift)))
        bucket, mark = _bucket(high(keys[i]), shift), _mark(marks, keys[i])
        for entry in range(_begin(firsts, offsets, bucket), _begin(firsts, offsets, bucket + 1)):
            if marks[entry] == mark:
                if n < at.size:
                    at[n] = i
                    entries[n] = entry
                n += 1
    return n


@nb.njit(nb.i8(U64S, nb.i8, nb.i8[::1], nb.u8[::1], nb.u4[::1]), **UNCOUNTED)
def in_order(keys: Any, shift: int, ends: Any, out: Any, at: Any) -> int:
    """The keys that are not 0 by their bits from `shift` on, equal ones in their order; `at` is the position of each in `keys`.

    `ends` has one entry more than there are such bits' values. Returns how many keys there are.
    """
    ends[:] = 0
    for i in range(keys.size):
        if keys[i] != 0:
            ends[np.int64(keys[i] >> _U64(shift)) + 1] += 1
    for s in range(1, ends.size):
        ends[s] += ends[s - 1]
    for i in range(keys.size):
        if keys[i] != 0:
            value = np.int64(keys[i] >> _U64(shift))
            out[ends[value]] = keys[i]
            at[ends[value]] = i
            ends[value] += 1
    return ends[ends.size - 2]


@nb.njit(
    [nb.i8(entries, nb.u4[::1], lows, nb.u4[::1]) for entries, lows in ((ENTRIES, nb.u2[::1]), (WIDE_ENTRIES, nb.u4[::1]))],
    **UNCOUNTED,
)
def take_entries(entries: Any, hi_out: Any, lo_out: Any, values_out: Any) -> int:
    """The entries of a table's slots, in order. Returns how many; the outputs have room for one more."""
    n = 0
    for s in range(entries.size):
        hi_out[n] = entries[s].hi
        lo_out[n] = entries[s].lo
        values_out[n] = entries[s].value
        n += 1 if entries[s].hi != 0 else 0
    return n


class Entries(NamedTuple):
    """Entries in ascending order of `hi`, equal keys in insertion order."""

    key_hi: Any
    key_lo: Any
    values: Any

    def range_of(self, first: int, last: int) -> Entries:
        """Those whose `hi` is `first` to `last`."""
        begin, end = (
            np.searchsorted(self.key_hi, np.uint32(first), "left"),
            np.searchsorted(self.key_hi, np.uint32(last), "right"),
        )
        return self.part(int(begin), int(end))

    def part(self, first: int, last: int) -> Entries:
        return Entries(self.key_hi[first:last], self.key_lo[first:last], self.values[first:last])


class Stretches(NamedTuple):
    """Ascending stretches of entries, the earliest inserted first: r is `heads[r]:ends[r]`. `tops` is scratch space."""

    heads: Any
    ends: Any
    tops: Any


_STRETCHES = tuple_type(Stretches, nb.i8[::1], I64S, nb.i8[::1])


@nb.njit(**INLINED)
def _has_no_room(out: Entries, n: int, hi: Any, lo: Any, value: Any, cap: int) -> bool:
    """Whether the last of n entries are `cap` of this key, or this very entry."""
    same = 0
    for q in range(n - 1, -1, -1):
        if out.key_hi[q] != hi:
            return False
        if out.key_lo[q] == lo:
            same += 1
            if same >= cap or out.values[q] == value:
                return True
    return False


@nb.njit(
    [
        nb.i8(tuple_type(Entries, U32S, lows, U32S), _STRETCHES, nb.i8, tuple_type(Entries, nb.u4[::1], out_lows, nb.u4[::1]))
        for lows, out_lows in ((_U16S, nb.u2[::1]), (U32S, nb.u4[::1]))
    ],
    **UNCOUNTED,
)
def merge(entries: Entries, stretches: Stretches, cap: int, out: Entries) -> int:
    """Merge ascending stretches into one; returns its length. Of each key, the first `cap` distinct values are kept, as
    `table_kernels.put` keeps them.
    """
    heads, ends, tops = stretches.heads, stretches.ends, stretches.tops
    for r in range(heads.size):
        tops[r] = entries.key_hi[heads[r]] if heads[r] < ends[r] else _NO_HEAD
    n = 0
    while True:
        first = 0
        for r in range(1, heads.size):
            if tops[r] < tops[first]:
                first = r
        if tops[first] == _NO_HEAD:
            return n
        entry = heads[first]
        hi, lo, value = np.uint32(tops[first]), entries.key_lo[entry], entries.values[entry]
        heads[first] = entry + 1
        tops[first] = entries.key_hi[entry + 1] if entry + 1 < ends[first] else _NO_HEAD
        if not _has_no_room(out, n, hi, lo, value, cap):
            out.key_hi[n] = hi
            out.key_lo[n] = lo
            out.values[n] = value
            n += 1


@nb.njit(nb.i8(nb.u4[::1], nb.u4[::1], nb.i8), **UNCOUNTED)
def first_distinct(at: Any, ids: Any, cap: int) -> int:
    """Keep the first `cap` distinct ids of each position, in place; `at` ascends. Returns how many pairs are kept."""
    n = 0
    begin = 0
    for i in range(at.size):
        if i == 0 or at[i] != at[i - 1]:
            begin = n
        known = n - begin >= cap
        for q in range(begin, n):
            known |= ids[q] == ids[i]
        if not known:
            at[n] = at[i]
            ids[n] = ids[i]
            n += 1
    return n


@nb.njit(nb.void(U32S, U32S, I64S, nb.u4[::1]), **UNCOUNTED)
def join_rows(digests: Any, shingles: Any, ends: Any, words: Any) -> None:
    """Write each row's digest, four words, and its shingles behind it."""
    n = 0
    for row in range(ends.size - 1):
        for q in range(4 * row, 4 * row + 4):
            words[n] = digests[q]
            n += 1
        for q in range(ends[row], ends[row + 1]):
            words[n] = shingles[q]
            n += 1


@nb.njit(nb.void(U32S, I64S, nb.u4[::1], nb.u4[::1], I64S), **UNCOUNTED)
def part_rows(words: Any, begins: Any, digests: Any, shingles: Any, ends: Any) -> None:
    """The digests and the shingles of the rows that begin at `begins`: what `join_rows` has joined. `ends` are the shingles'."""
    for row in range(begins.size):
        begin = begins[row]
        for q in range(4):
            digests[4 * row + q] = words[begin + q]
        for q in range(ends[row + 1] - ends[row]):
            shingles[ends[row] + q] = words[begin + 4 + q]
