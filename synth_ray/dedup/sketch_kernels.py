"""From word hashes to shingles, MinHash signatures and band keys, compiled. `text_vectors` gives the same without a compiler."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from synth_ray.dedup.reading_kernels import fmix64

_U64 = np.uint64
_u32s = nb.types.Array(nb.u4, 1, "C", readonly=True)
_u64s = nb.types.Array(nb.u8, 1, "C", readonly=True)
_i64s = nb.types.Array(nb.i8, 1, "C", readonly=True)
_compiled = {"nogil": True, "cache": True, "boundscheck": False}


@nb.njit
def _fmix32(h: Any) -> Any:
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@nb.njit(nb.i8(_u64s, _i64s, nb.i8, nb.i8, _u64s, nb.u4[::1], nb.u4[::1], nb.i8[::1], nb.u4[::1], nb.i8[::1]), **_compiled)
def shingles(
    words: Any,
    offsets: Any,
    n: int,
    fewest: int,
    powers: Any,
    found: Any,
    sorted_: Any,
    counts: Any,
    out: Any,
    ends: Any,
) -> int:
    """Distinct n-gram hashes of each text, ascending; none of a text with fewer than `fewest` words.

    A text of fewer than n words is one shingle. Sorting is by buckets of the leading bits: the hashes are uniform.
    """
    o = 0
    ends[0] = 0
    for d in range(offsets.size - 1):
        start, m = offsets[d], offsets[d + 1] - offsets[d]
        width = min(m, n)
        size = m - width + 1 if m >= max(fewest, 1) else 0
        bits = 1
        while 1 << bits < size:
            bits += 1
        shift = np.uint32(32 - bits)
        counts[: (1 << bits) + 1] = 0
        for i in range(size):
            s = _U64(0)
            for k in range(width):
                s += words[start + i + k] * powers[k]
            x = np.uint32(fmix64(s) >> _U64(32))
            found[i] = x
            counts[np.int64(x >> shift) + 1] += 1
        for i in range(1 << bits):
            counts[i + 1] += counts[i]
        for i in range(size):
            bucket = np.int64(found[i] >> shift)
            sorted_[counts[bucket]] = found[i]
            counts[bucket] += 1
        first = o
        for i in range(size):
            x = sorted_[i]
            j = o
            while j > first and out[j - 1] > x:
                j -= 1
            if j > first and out[j - 1] == x:
                continue
            for k in range(o, j, -1):
                out[k] = out[k - 1]
            out[j] = x
            o += 1
        ends[d + 1] = o
    return o


@nb.njit(nb.void(_u32s, _i64s, _u32s, _u32s, nb.u4[:, ::1], nb.u4[::1]), **_compiled)
def signatures(hashes: Any, offsets: Any, a: Any, b: Any, out: Any, mixed: Any) -> None:
    """Min over a text's hashes of fmix32(x) * a_k + b_k (mod 2**32), 64 permutations at a time: they stay in registers."""
    best = np.empty(64, np.uint32)
    for d in range(offsets.size - 1):
        start, n = offsets[d], offsets[d + 1] - offsets[d]
        for i in range(n):
            mixed[i] = _fmix32(hashes[start + i])
        for block in range(0, a.size, 64):
            aa = a[block : block + 64]
            bb = b[block : block + 64]
            for k in range(64):
                best[k] = np.uint32(0xFFFFFFFF)
            i = 0
            while i + 4 <= n:
                x0, x1, x2, x3 = mixed[i], mixed[i + 1], mixed[i + 2], mixed[i + 3]
                for k in range(64):
                    v0 = np.uint32(np.uint32(x0 * aa[k]) + bb[k])
                    v1 = np.uint32(np.uint32(x1 * aa[k]) + bb[k])
                    v2 = np.uint32(np.uint32(x2 * aa[k]) + bb[k])
                    v3 = np.uint32(np.uint32(x3 * aa[k]) + bb[k])
                    best[k] = min(best[k], min(min(v0, v1), min(v2, v3)))
                i += 4
            while i < n:
                x = mixed[i]
                for k in range(64):
                    best[k] = min(best[k], np.uint32(np.uint32(x * aa[k]) + bb[k]))
                i += 1
            for k in range(64):
                out[d, block + k] = best[k]


@nb.njit(
    nb.void(nb.types.Array(nb.u4, 2, "C", readonly=True), nb.types.Array(nb.u8, 2, "C", readonly=True), _u64s, nb.u8[:, ::1]),
    **_compiled,
)
def band_keys(signature: Any, multipliers: Any, starts: Any, out: Any) -> None:
    """Of each text and band: a multilinear hash of the band's rows of the signature, mixed."""
    bands, rows = multipliers.shape
    for d in range(signature.shape[0]):
        for j in range(bands):
            s = starts[j]
            for k in range(rows):
                s += _U64(signature[d, j * rows + k]) * multipliers[j, k]
            out[d, j] = fmix64(s)
