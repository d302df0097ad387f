"""Filling a table at once, compiled: entries are collected by region of the table, then each region is sorted while it is cached.

A region is a run of slots. Until it is sorted, its entries lie side by side at its beginning, in the order in which they came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import INLINED, U32S, U64S, UNCOUNTED, tuple_type
from synth_ray.dedup.table_kernels import ENTRIES, SLOTS, WIDE_ENTRIES, WIDE_SLOTS, Slots, high, low_in, place

REGION_BITS = 15  # slots, as a power of two: with what sorting needs, a region fits into a core's own cache
_U32 = np.uint32


class Scratch(NamedTuple):
    """Space for one region's entries, and counters for its slots and one more."""

    entries: Any
    counts: Any


_SCRATCH = tuple_type(Scratch, ENTRIES, nb.u4[::1])
_WIDE_SCRATCH = tuple_type(Scratch, WIDE_ENTRIES, nb.u4[::1])


@nb.njit(**INLINED)
def _end(slots: Slots, region: int, regions: int) -> int:
    """Where the region's slots end. The last one has the rest of the table; the table's last slot stays empty."""
    return slots.entries.size - 1 if region == regions - 1 else (region + 1) << REGION_BITS


@nb.njit(**INLINED)
def _empty(slots: Slots, begin: int, end: int) -> None:
    for s in range(begin, end):
        slots.entries[s].hi = 0


@nb.njit([nb.i8(slots, nb.i8[::1], U64S, U32S, nb.i8) for slots in (SLOTS, WIDE_SLOTS)], **UNCOUNTED)
def collect(slots: Slots, filled: Any, keys: Any, ids: Any, start: int) -> int:
    """Add pairs from `start` on to their regions; returns the position of the first whose region is full, or their number."""
    regions = filled.size
    for i in range(start, keys.size):
        if keys[i] == 0:
            continue
        hi = high(keys[i])
        region = min(place(hi, slots.size) >> REGION_BITS, regions - 1)
        at = (region << REGION_BITS) + filled[region]
        if at >= _end(slots, region, regions):
            return i
        slots.entries[at].hi = hi
        slots.entries[at].lo = low_in(slots.entries, keys[i])
        slots.entries[at].value = ids[i]
        filled[region] += 1
    return keys.size


@nb.njit(**INLINED)
def _sort(slots: Slots, begin: int, entries: int, span: int, scratch: Scratch) -> None:
    """Write the region's entries to `scratch`, in ascending order of `hi`; equal ones as they came."""
    counts = scratch.counts
    counts[: span + 1] = 0
    for s in range(begin, begin + entries):
        counts[place(slots.entries[s].hi, slots.size) - begin + 1] += _U32(1)
    for p in range(span):
        counts[p + 1] += counts[p]
    for s in range(begin, begin + entries):
        p = place(slots.entries[s].hi, slots.size) - begin
        to = counts[p]
        counts[p] += _U32(1)
        scratch.entries[to] = slots.entries[s]
    for i in range(1, entries):  # those of one slot, few, are not yet in order
        hi, lo, value = scratch.entries[i].hi, scratch.entries[i].lo, scratch.entries[i].value
        to = i
        while to > 0 and scratch.entries[to - 1].hi > hi:
            scratch.entries[to] = scratch.entries[to - 1]
            to -= 1
        scratch.entries[to].hi = hi
        scratch.entries[to].lo = lo
        scratch.entries[to].value = value


@nb.njit(**INLINED)
def _drop_repeats(scratch: Scratch, entries: int, cap: int) -> int:
    """Keep what `table_kernels.put` would: of each key the first `cap` values, each once. Returns how many entries are left."""
    left = first = 0  # `first`: of the entries that are left and have this `hi`
    for i in range(entries):
        hi, lo, value = scratch.entries[i].hi, scratch.entries[i].lo, scratch.entries[i].value
        if left and scratch.entries[left - 1].hi != hi:
            first = left
        same = 0
        for q in range(first, left):
            if scratch.entries[q].lo == lo:
                same = cap if scratch.entries[q].value == value else same + 1
                if same >= cap:
                    break
        if same < cap:
            scratch.entries[left] = scratch.entries[i]
            left += 1
    return left


@nb.njit(**INLINED)
def _sorted(slots: Slots, filled: Any, region: int, cap: int, scratch: Scratch) -> int:
    begin, end = region << REGION_BITS, _end(slots, region, filled.size)
    _sort(slots, begin, filled[region], end - begin, scratch)
    return _drop_repeats(scratch, filled[region], cap)


@nb.njit(
    [
        nb.i8(SLOTS, nb.i8[::1], nb.i8, nb.i8, _SCRATCH),
        nb.i8(WIDE_SLOTS, nb.i8[::1], nb.i8, nb.i8, _WIDE_SCRATCH),
    ],
    **UNCOUNTED,
)
def compact(slots: Slots, filled: Any, region: int, cap: int, scratch: Scratch) -> int:
    """Drop a region's repeats. Returns how many more entries it has space for."""
    begin = region << REGION_BITS
    left = _sorted(slots, filled, region, cap, scratch)
    for i in range(left):
        slots.entries[begin + i] = scratch.entries[i]
    filled[region] = left
    return _end(slots, region, filled.size) - begin - left


@nb.njit(
    [
        nb.i8(SLOTS, nb.i8[::1], nb.i8, nb.i8, nb.i8, _SCRATCH, ENTRIES),
        nb.i8(WIDE_SLOTS, nb.i8[::1], nb.i8, nb.i8, nb.i8, _WIDE_SCRATCH, WIDE_ENTRIES),
    ],
    **UNCOUNTED,
)
def spread(slots: Slots, filled: Any, first: int, last: int, cap: int, scratch: Scratch, over: Any) -> int:
    """Put the entries of the regions from `first` to before `last` into their slots, and count them in `filled`. Returns how many
    lie past the end, which are in `over`; -1 where it has no space for them.
    """
    waiting = 0
    for region in range(first, last):
        left = _sorted(slots, filled, region, cap, scratch)
        filled[region] = left
        free, end = region << REGION_BITS, _end(slots, region, filled.size)
        for i in range(waiting):
            slots.entries[free] = over[i]
            free += 1
        waiting = 0
        for i in range(left):
            to = max(free, place(scratch.entries[i].hi, slots.size))
            if to < end:
                _empty(slots, free, to)
                slots.entries[to] = scratch.entries[i]
                free = to + 1
                continue
            if waiting == over.size:
                return -1
            over[waiting] = scratch.entries[i]
            waiting += 1
        _empty(slots, free, end)
    return waiting
