"""For every text of a batch, the earlier texts it is near, compiled. The law is in `neighbours.Neighbours`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.index_kernels import AHEAD, jaccard, key_of, prefetch_row
from synth_ray.dedup.kernel_types import I64S, INLINED, U32S, U64_ROWS, UNCOUNTED, tuple_type
from synth_ray.dedup.table_kernels import SLOTS, Slots, high, low, place, put

_U64 = np.uint64
# positions in `counters`
ENTRIES, TEXTS, NEAR = range(3)


class Prints(NamedTuple):
    """The fingerprints of the batch, read-only."""

    digests: Any
    bands: Any
    shingles: Any
    offsets: Any


class Earlier(NamedTuple):
    """The digests and shingles of all texts so far, with space for the batch."""

    digests: Any
    shingles: Any
    ends: Any


class Near(NamedTuple):
    """`numbers[ends[i]:ends[i + 1]]` are the texts that text i of the batch is near, ascending; `candidates` is scratch."""

    ends: Any
    numbers: Any
    candidates: Any


class Rules(NamedTuple):
    """The similarity from which texts are near, and how many texts are kept under one key."""

    threshold: float
    cap: int


_RULES = tuple_type(Rules, nb.f8, nb.i8)
_PRINTS = tuple_type(Prints, U64_ROWS, U64_ROWS, U32S, I64S)
_EARLIER = tuple_type(Earlier, nb.u8[:, ::1], nb.u4[::1], nb.i8[::1])
_NEAR = tuple_type(Near, nb.i8[::1], nb.u4[::1], nb.u4[::1])


@nb.njit(**INLINED)
def _add_in_order(numbers: Any, n: int, number: Any) -> int:
    """Add to the n ascending numbers, unless it is among them."""
    at = n
    while at > 0 and numbers[at - 1] >= number:
        if numbers[at - 1] == number:
            return n
        at -= 1
    for q in range(n, at, -1):
        numbers[q] = numbers[q - 1]
    numbers[at] = number
    return n + 1


@nb.njit(**INLINED)
def _search(slots: Slots, key: Any, below: int, candidates: Any, n: int) -> int:
    """Add the texts under a key to the n candidates: only those `below` the next number."""
    entries = slots.entries
    hi, lo = high(key), low(key)
    s = _U64(place(hi, slots.size))
    while entries[s].hi != 0 and entries[s].hi <= hi:
        if entries[s].hi == hi and entries[s].lo == lo and entries[s].value < below:
            n = _add_in_order(candidates, n, entries[s].value)
        s += _U64(1)
    return n


@nb.njit(**INLINED)
def _is_near(rows: Prints, earlier: Earlier, threshold: float, i: int, k: Any) -> bool:
    if earlier.digests[k, 0] == rows.digests[i, 0] and earlier.digests[k, 1] == rows.digests[i, 1]:
        return True
    new = rows.shingles[rows.offsets[i] : rows.offsets[i + 1]]
    old = earlier.shingles[earlier.ends[k] : earlier.ends[k + 1]]
    if new.size == 0 or old.size == 0:
        return False
    bound = np.float64(min(new.size, old.size)) / np.float64(max(new.size, old.size))
    return bool(bound >= threshold and jaccard(new, old) >= threshold)


@nb.njit(**INLINED)
def _find(rows: Prints, earlier: Earlier, slots: Slots, threshold: float, out: Near, counters: Any, i: int) -> None:
    n = 0
    for j in range(rows.bands.shape[1] + 1 if rows.offsets[i + 1] > rows.offsets[i] else 1):
        key = key_of(rows, i, j)
        if key != 0:
            n = _search(slots, key, counters[TEXTS], out.candidates, n)
    found = counters[NEAR]
    for q in range(n):
        k = np.int64(out.candidates[q])
        if _is_near(rows, earlier, threshold, i, k):
            out.numbers[found] = k
            found += 1
    out.ends[i + 1] = found


@nb.njit(**INLINED)
def _insert(rows: Prints, slots: Slots, cap: int, counters: Any, i: int) -> bool:
    """Insert the keys of a text; returns False if the table's slack was used up."""
    for j in range(rows.bands.shape[1] + 1 if rows.offsets[i + 1] > rows.offsets[i] else 1):
        key = key_of(rows, i, j)
        if key != 0:
            added = put(slots, key, np.uint32(counters[TEXTS]), cap)
            if added < 0:
                return False
            counters[ENTRIES] += added
    return True


@nb.njit(**INLINED)
def _store(rows: Prints, earlier: Earlier, counters: Any, i: int) -> None:
    number = counters[TEXTS]
    earlier.digests[number, 0] = rows.digests[i, 0]
    earlier.digests[number, 1] = rows.digests[i, 1]
    begin, size = earlier.ends[number], rows.offsets[i + 1] - rows.offsets[i]
    for q in range(size):
        earlier.shingles[begin + q] = rows.shingles[rows.offsets[i] + q]
    earlier.ends[number + 1] = begin + size
    counters[TEXTS] = number + 1


@nb.njit(nb.i8(_PRINTS, _EARLIER, SLOTS, _RULES, _NEAR, nb.i8[::1], nb.i8), **UNCOUNTED)
def find_and_add(rows: Prints, earlier: Earlier, slots: Slots, rules: Rules, out: Near, counters: Any, row: int) -> int:
    """Find and add texts from `row` on. Returns the number of texts; or the text at which the table's slack was used up, or
    `out.numbers` had no room for all that it may be near.
    """
    for i in range(row, row + AHEAD):
        prefetch_row(rows, slots, i)
    for i in range(row, rows.digests.shape[0]):
        if out.numbers.size - counters[NEAR] < out.candidates.size:
            return i
        prefetch_row(rows, slots, i + AHEAD)
        _find(rows, earlier, slots, rules.threshold, out, counters, i)
        if not _insert(rows, slots, rules.cap, counters, i):
            return i
        counters[NEAR] = out.ends[i + 1]
        _store(rows, earlier, counters, i)
    return rows.digests.shape[0]
