"""Filling a table at once, compiled: entries are collected by region of the table, then each region is sorted while it is cached.

A region is a run of slots. Until it is sorted, its entries lie side by side at its beginning, in the order in which they came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import INLINED, U32S, U64S, UNCOUNTED, tuple_type
from synth_ray.dedup.table_kernels import SLOTS, WIDE_SLOTS, Slots, high, low_in, place

REGION_BITS = 15  # slots, as a power of two: with what sorting needs, a region fits into a core's own cache
_U32 = np.uint32


class Scratch(NamedTuple):
    """Space for one region's entries, and counters for its slots and one more."""

    key_hi: Any
    key_lo: Any
    values: Any
    counts: Any


class Overflow(NamedTuple):
    """Entries past the end of the last region that was sorted, in order."""

    key_hi: Any
    key_lo: Any
    values: Any


_SCRATCH = tuple_type(Scratch, nb.u4[::1], nb.u2[::1], nb.u4[::1], nb.u4[::1])
_WIDE_SCRATCH = tuple_type(Scratch, nb.u4[::1], nb.u4[::1], nb.u4[::1], nb.u4[::1])
_OVERFLOW = tuple_type(Overflow, nb.u4[::1], nb.u2[::1], nb.u4[::1])
_WIDE_OVERFLOW = tuple_type(Overflow, nb.u4[::1], nb.u4[::1], nb.u4[::1])


@nb.njit(**INLINED)
def _end(slots: Slots, region: int, regions: int) -> int:
    """Where the region's slots end. The last one has the rest of the table; the table's last slot stays empty."""
    return slots.key_hi.size - 1 if region == regions - 1 else (region + 1) << REGION_BITS


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
        slots.key_hi[at] = hi
        slots.key_lo[at] = low_in(slots.key_lo, keys[i])
        slots.values[at] = ids[i]
        filled[region] += 1
    return keys.size


@nb.njit(**INLINED)
def _sort(slots: Slots, begin: int, entries: int, span: int, scratch: Scratch) -> None:
    """Write the region's entries to `scratch`, in ascending order of `hi`; equal ones as they came."""
    counts = scratch.counts
    counts[: span + 1] = 0
    for s in range(begin, begin + entries):
        counts[place(slots.key_hi[s], slots.size) - begin + 1] += _U32(1)
    for p in range(span):
        counts[p + 1] += counts[p]
    for s in range(begin, begin + entries):
        p = place(slots.key_hi[s], slots.size) - begin
        to = counts[p]
        counts[p] += _U32(1)
        scratch.key_hi[to] = slots.key_hi[s]
        scratch.key_lo[to] = slots.key_lo[s]
        scratch.values[to] = slots.values[s]
    for i in range(1, entries):  # those of one slot, few, are not yet in order
        hi, lo, value = scratch.key_hi[i], scratch.key_lo[i], scratch.values[i]
        to = i
        while to > 0 and scratch.key_hi[to - 1] > hi:
            scratch.key_hi[to] = scratch.key_hi[to - 1]
            scratch.key_lo[to] = scratch.key_lo[to - 1]
            scratch.values[to] = scratch.values[to - 1]
            to -= 1
        scratch.key_hi[to] = hi
        scratch.key_lo[to] = lo
        scratch.values[to] = value


@nb.njit(**INLINED)
def _drop_repeats(scratch: Scratch, entries: int, cap: int) -> int:
    """Keep what `table_kernels.put` would: of each key the first `cap` values, each once. Returns how many entries are left."""
    left = first = 0  # `first`: of the entries that are left and have this `hi`
    for i in range(entries):
        hi, lo, value = scratch.key_hi[i], scratch.key_lo[i], scratch.values[i]
        if left and scratch.key_hi[left - 1] != hi:
            first = left
        same = 0
        for q in range(first, left):
            if scratch.key_lo[q] == lo:
                same = cap if scratch.values[q] == value else same + 1
                if same >= cap:
                    break
        if same < cap:
            scratch.key_hi[left] = hi
            scratch.key_lo[left] = lo
            scratch.values[left] = value
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
        slots.key_hi[begin + i] = scratch.key_hi[i]
        slots.key_lo[begin + i] = scratch.key_lo[i]
        slots.values[begin + i] = scratch.values[i]
    filled[region] = left
    return _end(slots, region, filled.size) - begin - left


@nb.njit(
    [
        nb.i8(SLOTS, nb.i8[::1], nb.i8, nb.i8, nb.i8, _SCRATCH, _OVERFLOW),
        nb.i8(WIDE_SLOTS, nb.i8[::1], nb.i8, nb.i8, nb.i8, _WIDE_SCRATCH, _WIDE_OVERFLOW),
    ],
    **UNCOUNTED,
)
def spread(slots: Slots, filled: Any, first: int, last: int, cap: int, scratch: Scratch, over: Overflow) -> int:
    """Put the entries of the regions from `first` to before `last` into their slots, and count them in `filled`. Returns how many
    lie past the end, which are in `over`; -1 where it has no space for them.
    """
    waiting = 0
    for region in range(first, last):
        left = _sorted(slots, filled, region, cap, scratch)
        filled[region] = left
        free, end = region << REGION_BITS, _end(slots, region, filled.size)
        for i in range(waiting):
            slots.key_hi[free] = over.key_hi[i]
            slots.key_lo[free] = over.key_lo[i]
            slots.values[free] = over.values[i]
            free += 1
        waiting = 0
        for i in range(left):
            to = max(free, place(scratch.key_hi[i], slots.size))
            if to < end:
                slots.key_hi[free:to] = 0
                slots.key_hi[to] = scratch.key_hi[i]
                slots.key_lo[to] = scratch.key_lo[i]
                slots.values[to] = scratch.values[i]
                free = to + 1
                continue
            if waiting == over.key_hi.size:
                return -1
            over.key_hi[waiting] = scratch.key_hi[i]
            over.key_lo[waiting] = scratch.key_lo[i]
            over.values[waiting] = scratch.values[i]
            waiting += 1
        slots.key_hi[free:end] = 0
    return waiting
