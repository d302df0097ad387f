"""The decision itself, compiled: row after row, does it repeat a kept one? See `index.Index` for the law."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from synth_ray.dedup.table_kernels import high, low, place, put, touch

NEW, EXACT, NEAR, FULL, BARRED = range(5)

_AHEAD = 16  # rows whose slots are read before the first of them is decided
_U64 = np.uint64
_compiled = {"nogil": True, "cache": True, "boundscheck": False}
_u64s = nb.types.Array(nb.u8, 1, "C", readonly=True)
_u64ss = nb.types.Array(nb.u8, 2, "C", readonly=True)
_u32s = nb.types.Array(nb.u4, 1, "C", readonly=True)
_i64s = nb.types.Array(nb.i8, 1, "C", readonly=True)


@nb.njit
def jaccard(a: Any, b: Any) -> float:
    """Of two ascending arrays of distinct hashes. Without branches on the values, which no predictor could guess."""
    i = j = same = _U64(0)
    m, n = _U64(a.size), _U64(b.size)
    while i < m and j < n:
        x, y = a[i], b[j]
        same += _U64(x == y)
        i += _U64(x <= y)
        j += _U64(y <= x)
    return np.float64(same) / np.float64(m + n - same)


@nb.njit
def _noted(candidates: Any, n: int, one: Any) -> int:
    for q in range(n):
        if candidates[q] == one:
            return n
    candidates[n] = one
    return n + 1


@nb.njit
def _gather(his: Any, los: Any, values: Any, size: Any, key: Any, cap: int, below: Any, candidates: Any, n: int) -> int:
    """Note the ids under a key, at most `cap`, each once, and only those `below` the number now being given."""
    hi, lo = high(key), low(key)
    s = place(hi, size)
    found = 0
    while his[s] != 0 and his[s] <= hi and found < cap:
        if his[s] == hi and los[s] == lo:
            found += 1
            if values[s] < below:
                n = _noted(candidates, n, values[s])
        s += 1
    return n


@nb.njit(
    nb.i8(
        *(_u64ss, _u64ss, _u32s, _i64s),
        *(_i64s, _u32s),
        *(_i64s, _i64s, nb.types.Array(nb.f8, 1, "C", readonly=True)),
        *(nb.i8[::1], _i64s),
        *(nb.u4[::1], nb.u2[::1], nb.u4[::1], nb.i8, nb.i8[::1]),
        *(nb.u8[:, ::1], nb.u4[::1], nb.i8[::1]),
        *(nb.i8, nb.i8, nb.f8, nb.i8, nb.b1, nb.b1),
        *(nb.u4[::1], nb.i1[::1], nb.i8[::1], nb.f8[::1]),
    ),
    **_compiled,
)
def decide(
    identity: Any,
    bands: Any,
    shingles: Any,
    offsets: Any,
    found_ends: Any,
    found: Any,
    barred_ends: Any,
    barred_by: Any,
    barred_similarity: Any,
    room: Any,
    cell: Any,
    his: Any,
    los: Any,
    values: Any,
    size: int,
    used: Any,
    kept_identity: Any,
    store: Any,
    ends: Any,
    row: int,
    kept: int,
    threshold: float,
    cap: int,
    near: bool,
    force: bool,
    candidates: Any,
    code: Any,
    number: Any,
    similarity: Any,
) -> int:
    """Decide rows from `row` on. Returns the row at which the table's slack ran out, or the number of rows.

    `found` are the ids that shards hold under each key of each row (`found_ends`, one run a key; empty without shards).
    `kept` is counted in `used[1]`.
    """
    width = bands.shape[1] + 1
    elsewhere = found_ends.size > 1
    seen = np.uint32(0)
    for i in range(row, identity.shape[0]):
        if (i - row) % _AHEAD == 0:
            for q in range(i, min(i + _AHEAD, identity.shape[0])):
                seen ^= touch(his, los, values, size, identity[q, 0])
                for j in range(bands.shape[1]):
                    seen ^= touch(his, los, values, size, bands[q, j])
            used[2] = np.int64(seen)
        banded = near and offsets[i + 1] > offsets[i]
        keys = width if banded else 1
        code[i] = 0
        if not force:
            n = 0
            for j in range(keys):
                key = identity[i, 0] if j == 0 else bands[i, j - 1]
                there = 0
                if elsewhere:
                    first, last = found_ends[i * width + j], found_ends[i * width + j + 1]
                    there = last - first
                    for q in range(first, last):
                        n = _noted(candidates, n, found[q])
                if there < cap:
                    n = _gather(his, los, values, size, key, cap - there, kept, candidates, n)
                if j == 0:
                    for q in range(n):
                        k = candidates[q]
                        if kept_identity[k, 0] == identity[i, 0] and kept_identity[k, 1] == identity[i, 1]:
                            code[i] = 1
                            number[i] = k
                            similarity[i] = 1.0
                    if code[i] != 0:
                        break
            if code[i] == 0 and banded:
                mine = shingles[offsets[i] : offsets[i + 1]]
                for q in range(n):
                    k = np.int64(candidates[q])
                    theirs = store[ends[k] : ends[k + 1]]
                    if min(mine.size, theirs.size) < threshold * max(mine.size, theirs.size) or theirs.size == 0:
                        continue
                    same = jaccard(mine, theirs)
                    best = same > similarity[i] or (same == similarity[i] and k < number[i])
                    if same >= threshold and (code[i] == 0 or best):
                        code[i] = 2
                        number[i] = k
                        similarity[i] = same
            if code[i] == 0 and barred_ends.size > 1:
                for q in range(barred_ends[i], barred_ends[i + 1]):
                    other = barred_by[q]
                    if other < 0 and code[-1 - other] != 0:
                        continue
                    code[i] = 4
                    number[i] = other if other >= 0 else number[-1 - other]
                    similarity[i] = barred_similarity[q]
                    break
            if code[i] == 0 and room[cell[i]] <= 0:
                code[i] = 3
            if code[i] != 0:
                continue
        for j in range(keys):
            key = identity[i, 0] if j == 0 else bands[i, j - 1]
            there = found_ends[i * width + j + 1] - found_ends[i * width + j] if elsewhere else 0
            if there < cap:
                added = put(his, los, values, size, high(key), low(key), np.uint32(kept), cap - there)
                if added < 0:
                    return i
                used[0] += added
        room[cell[i]] -= 1
        number[i] = kept
        kept_identity[kept, 0] = identity[i, 0]
        kept_identity[kept, 1] = identity[i, 1]
        begin = ends[kept]
        if banded:
            store[begin : begin + offsets[i + 1] - offsets[i]] = shingles[offsets[i] : offsets[i + 1]]
            begin += offsets[i + 1] - offsets[i]
        ends[kept + 1] = begin
        kept += 1
        used[1] = kept
    return identity.shape[0]
