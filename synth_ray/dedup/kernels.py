"""The hot loops, compiled by numba. Hashing is fixed for ever: a change here is a new fingerprint version.

A word is hashed as sum T[b_j] * P**j (mod 2**64) over its bytes, a shingle as sum w_k * Q**k over its words; both are
finished by MurmurHash3's fmix64. Signatures are datasketch 2's affine32 over the upper half of the shingle hash.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

U32, U64 = np.uint32, np.uint64
VERSION = 1
_EMPTY = np.uint32(0xFFFFFFFF)

_draw = np.random.RandomState(20240601)  # legacy generator: its stream is frozen by numpy's policy


def _random64(n: int) -> np.ndarray:
    high = _draw.randint(0, 2**32, n, dtype=np.uint64)
    return (high << U64(32)) | _draw.randint(0, 2**32, n, dtype=np.uint64)


def _letters() -> np.ndarray:
    """A random odd number per word byte, the same for both cases; 0 for a byte that separates words."""
    table = _random64(256) | U64(1)
    for upper in range(65, 91):
        table[upper] = table[upper + 32]
    word = [c >= 128 or chr(c).isalnum() for c in range(256)]
    table[~np.array(word)] = 0
    return table


LETTERS = _letters()
P = U64(int(_random64(1)[0]) | 1)
Q = int(_random64(1)[0]) | 1


def powers_of_q(n: int) -> np.ndarray:
    return np.array([pow(Q, k, 2**64) for k in range(n)], U64)


@nb.njit(inline="always")
def fmix64(h: Any) -> Any:
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@nb.njit(inline="always")
def fmix32(h: Any) -> Any:
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@nb.njit(nogil=True, cache=True, boundscheck=False)
def words(data: Any, offsets: Any, letters: Any, p: Any, out: Any, out_offsets: Any) -> int:
    """Word hashes of every text, one after the other; returns how many."""
    n = 0
    out_offsets[0] = 0
    for d in range(offsets.size - 1):
        h = np.uint64(0)
        power = np.uint64(1)
        inside = False
        for i in range(offsets[d], offsets[d + 1]):
            t = letters[data[i]]
            if t != 0:
                h += t * power
                power *= p
                inside = True
            elif inside:
                out[n] = fmix64(h)
                n += 1
                h = np.uint64(0)
                power = np.uint64(1)
                inside = False
        if inside:
            out[n] = fmix64(h)
            n += 1
        out_offsets[d + 1] = n
    return n


@nb.njit(nogil=True, cache=True, boundscheck=False)
def shingles(hashes: Any, offsets: Any, lengths: Any, q: Any, out: Any, out_offsets: Any) -> int:
    """n-gram hashes of every text, n by text; a text with fewer words is one shingle of them all, an empty one none."""
    o = 0
    out_offsets[0] = 0
    for d in range(offsets.size - 1):
        start, m, n = offsets[d], offsets[d + 1] - offsets[d], lengths[d]
        width = min(m, n)
        for i in range(m - width + 1 if m > 0 else 0):
            s = np.uint64(0)
            for k in range(width):
                s += hashes[start + i + k] * q[k]
            out[o] = fmix64(s)
            o += 1
        out_offsets[d + 1] = o
    return o


@nb.njit(nogil=True, cache=True, boundscheck=False)
def signatures(hashes: Any, offsets: Any, a: Any, b: Any, out: Any, mixed: Any) -> None:
    """Min over shingles of fmix32(x) * a_k + b_k (mod 2**32), 64 permutations at a time so that they stay in registers."""
    best = np.empty(64, np.uint32)
    for d in range(offsets.size - 1):
        start = offsets[d]
        n = offsets[d + 1] - start
        for i in range(n):
            mixed[i] = fmix32(np.uint32(hashes[start + i] >> np.uint64(32)))
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


@nb.njit(nogil=True, cache=True, boundscheck=False)
def band_keys(signature: Any, multipliers: Any, start: Any, out: Any) -> None:
    bands, rows = multipliers.shape
    for d in range(signature.shape[0]):
        for j in range(bands):
            s = start[j]
            for k in range(rows):
                s += np.uint64(signature[d, j * rows + k]) * multipliers[j, k]
            out[d, j] = fmix64(s)


@nb.njit(nogil=True, cache=True, boundscheck=False)
def jaccard(a: Any, b: Any) -> float:
    """Of two ascending arrays of distinct hashes."""
    i = j = same = 0
    while i < a.size and j < b.size:
        if a[i] == b[j]:
            same += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return same / (a.size + b.size - same)


@nb.njit(nogil=True, cache=True, boundscheck=False)
def lookup(slots: Any, values: Any, key: Any, cap: int, out: Any, n: int) -> int:
    """Append to `out` the ids kept under a key, the first `cap` of them, each once; returns the new length."""
    mask = np.uint64(values.size - 1)
    s = key & mask
    seen = 0
    while values[s] != np.uint32(0xFFFFFFFF) and seen < cap:
        if slots[s] == key:
            seen += 1
            known = False
            for q in range(n):
                known = known or out[q] == values[s]
            if not known:
                out[n] = values[s]
                n += 1
        s = (s + np.uint64(1)) & mask
    return n


@nb.njit(nogil=True, cache=True, boundscheck=False)
def insert(slots: Any, values: Any, key: Any, value: Any, cap: int) -> int:
    """Keep an id under a key, unless `cap` are there; returns how many slots it took."""
    mask = np.uint64(values.size - 1)
    s = key & mask
    seen = 0
    while values[s] != np.uint32(0xFFFFFFFF):
        if slots[s] == key:
            seen += 1
            if seen >= cap:
                return 0
        s = (s + np.uint64(1)) & mask
    slots[s] = key
    values[s] = value
    return 1


@nb.njit(nogil=True, cache=True, boundscheck=False)
def rehash(slots: Any, values: Any, new_slots: Any, new_values: Any) -> None:
    """Move every entry to a larger table, keeping the order of the ids under each key."""
    mask = np.uint64(new_values.size - 1)
    first = 0
    while values[first] != np.uint32(0xFFFFFFFF):
        first += 1
    for q in range(values.size):
        i = (first + q) & (values.size - 1)
        if values[i] != np.uint32(0xFFFFFFFF):
            s = slots[i] & mask
            while new_values[s] != np.uint32(0xFFFFFFFF):
                s = (s + np.uint64(1)) & mask
            new_slots[s] = slots[i]
            new_values[s] = values[i]
