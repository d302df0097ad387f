"""From word hashes to shingles, MinHash signatures and band keys, compiled. `reference` gives the same without a compiler."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.hash_kernels import fmix64
from synth_ray.dedup.kernel_types import COMPILED, I64S, INLINED, U32_ROWS, U32S, U64_ROWS, U64S, UNCOUNTED, tuple_type

_U64 = np.uint64


class NgramSpec(NamedTuple):
    """Words in an n-gram, the minimum words of a text that has any, and the multiplier of each position."""

    n: int
    min_words: int
    powers: Any


class Scratch(NamedTuple):
    """Buffers for the n-grams of the longest text: their hashes, these sorted, and bucket counts."""

    hashes: Any
    ordered: Any
    counts: Any


_GRAMS = tuple_type(NgramSpec, nb.i8, nb.i8, U64S)
_SCRATCH = tuple_type(Scratch, nb.u4[::1], nb.u4[::1], nb.i8[::1])


@nb.njit
def _fmix32(h: Any) -> Any:
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@nb.njit(**INLINED)
def _hash_grams(words: Any, width: int, size: int, powers: Any, shift: Any, scratch: Scratch) -> None:
    """The hash of each n-gram of `width` words, and the number of n-grams in each bucket."""
    for i in range(size):
        s = _U64(0)
        for k in range(width):
            s += words[i + k] * powers[k]
        x = np.uint32(fmix64(s) >> _U64(32))
        scratch.hashes[i] = x
        scratch.counts[np.int64(x >> shift) + 1] += 1


@nb.njit(**INLINED)
def _order_by_bucket(buckets: int, size: int, shift: Any, scratch: Scratch) -> None:
    """A counting sort by the leading bits."""
    for i in range(buckets):
        scratch.counts[i + 1] += scratch.counts[i]
    for i in range(size):
        bucket = np.int64(scratch.hashes[i] >> shift)
        scratch.ordered[scratch.counts[bucket]] = scratch.hashes[i]
        scratch.counts[bucket] += 1


@nb.njit(**INLINED)
def _append_distinct(ordered: Any, size: int, out: Any, first: int) -> int:
    """Insertion sort of nearly ordered hashes into `out` from `first` on, each once; returns where they end."""
    o = first
    for i in range(size):
        x = ordered[i]
        j = o
        while j > first and out[j - 1] > x:
            j -= 1
        if j > first and out[j - 1] == x:
            continue
        for k in range(o, j, -1):
            out[k] = out[k - 1]
        out[j] = x
        o += 1
    return o


@nb.njit(nb.i8(U64S, I64S, _GRAMS, _SCRATCH, nb.u4[::1], nb.i8[::1]), **UNCOUNTED)
def shingles(words: Any, offsets: Any, grams: NgramSpec, scratch: Scratch, out: Any, ends: Any) -> int:
    """Distinct n-gram hashes of each text, ascending; none for a text with fewer than `grams.min_words` words.

    A text of fewer than n words is one shingle. Sorted by buckets of the leading bits, because the hashes are uniform.
    """
    o = 0
    ends[0] = 0
    for d in range(offsets.size - 1):
        m = offsets[d + 1] - offsets[d]
        width = min(m, grams.n)
        size = m - width + 1 if m >= max(grams.min_words, 1) else 0
        bits = 1
        while 1 << bits < size:
            bits += 1
        shift = np.uint32(32 - bits)
        scratch.counts[: (1 << bits) + 1] = 0
        _hash_grams(words[offsets[d] : offsets[d + 1]], width, size, grams.powers, shift, scratch)
        _order_by_bucket(1 << bits, size, shift, scratch)
        o = _append_distinct(scratch.ordered, size, out, o)
        ends[d + 1] = o
    return o


@nb.njit(nb.void(U32S, I64S, U32S, U32S, nb.u4[:, ::1], nb.u4[::1]), **COMPILED)
def signatures(hashes: Any, offsets: Any, a: Any, b: Any, out: Any, mixed: Any) -> None:
    """Min over a text's hashes of fmix32(x) * a_k + b_k (mod 2**32), 64 permutations at a time: they fit into registers."""
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
    nb.void(U32_ROWS, U64_ROWS, U64S, nb.u8[:, ::1]),
    **COMPILED,
)
def band_keys(signature: Any, multipliers: Any, starts: Any, out: Any) -> None:
    """For each text and band: a multilinear hash of the band's rows of the signature, mixed."""
    bands, rows = multipliers.shape
    for d in range(signature.shape[0]):
        for j in range(bands):
            s = starts[j]
            for k in range(rows):
                s += _U64(signature[d, j * rows + k]) * multipliers[j, k]
            out[d, j] = fmix64(s)
