"""The kernels' computations without a compiler: `normal_form`, hashed with numpy. Bit for bit the same values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synth_ray.dedup.hashing import DIGEST_SEEDS, FIELDS, LENGTH, STEP, U32, U64, Array, fmix32, fmix64
from synth_ray.dedup.normal_form import LINE, normal_form


def read(texts: Sequence[str], *, lines: bool = True) -> tuple[Array, Array, Array]:
    """Word hashes, their offsets per text, and digests (N×2). Without `lines` the beginnings of lines have no hash."""
    forms = [normal_form(text) for text in texts]
    words = [[word for field in form for word in field] for form in forms]
    hashes, ends = hash_texts([word.encode() for text in words for word in text], 0), offsets_of([len(text) for text in words])
    places = [[at for at, field in enumerate(form) for _ in field] for form in forms]
    fields = np.array([at for text in places for at in text], U64)
    last = np.array([len(form) - 1 for form in forms], U64)
    digests = np.stack([_digests(hashes, ends, fields, last, seed) for seed in DIGEST_SEEDS], axis=1)
    if lines:
        return hashes, ends, digests
    kept = np.array([not word.startswith(LINE) for text in words for word in text], bool)
    return hashes[kept], np.concatenate(([0], np.cumsum(kept)))[ends], digests


def _digests(hashes: Array, ends: Array, fields: Array, last: Array, seed: int) -> Array:
    """The digest of `hashing`, for each text."""
    counts = np.diff(ends)
    place = (np.arange(len(hashes)) - np.repeat(ends[:-1], counts) + 1).astype(U64)
    words = fmix64(hashes + place * U64(STEP) + fields * U64(FIELDS) + U64(seed))
    n = counts.astype(U64)
    return _sums(words, ends) + fmix64(n * U64(LENGTH) + (n + U64(1)) * U64(STEP) + last * U64(FIELDS) + U64(seed))


def offsets_of(counts: Sequence[int] | Array) -> Array:
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends


def hash_texts(texts: Sequence[bytes], seed: int) -> Array:
    """The hash of `hashing`, for each text."""
    lengths = np.array([len(t) for t in texts], np.int64)
    counts = -(-lengths // 8)
    ends = offsets_of(counts)
    chunks = np.frombuffer(b"".join(t + b"\0" * (-len(t) % 8) for t in texts), "<u8").astype(U64)
    place = (np.arange(len(chunks)) - np.repeat(ends[:-1], counts) + 1).astype(U64)
    salt = np.repeat(lengths.astype(U64) * U64(LENGTH) + U64(seed), counts)
    return _sums(fmix64(chunks + place * U64(STEP) + salt), ends)


def _sums(values: Array, ends: Array) -> Array:
    """Sum of each run, 0 for an empty one, mod 2**64."""
    total = np.concatenate((np.zeros(1, U64), np.cumsum(values, dtype=U64)))
    sums: Array = total[ends[1:]] - total[ends[:-1]]
    return sums


def shingles(hashes: Array, offsets: Array, n: int, min_words: int, powers: Array) -> tuple[Array, Array]:
    """Distinct n-gram hashes of each text, ascending, and their offsets."""
    hashes_of = [_distinct(hashes[a:b], n, powers) if b - a >= max(min_words, 1) else np.empty(0, U32) for a, b in _runs(offsets)]
    return np.concatenate([np.empty(0, U32), *hashes_of]), offsets_of([len(distinct) for distinct in hashes_of])


def _distinct(hashes: Array, n: int, powers: Array) -> Array:
    width = min(len(hashes), n)
    size = len(hashes) - width + 1
    total = np.zeros(size, U64)
    for k in range(width):
        total += hashes[k : k + size] * powers[k]
    return np.unique((fmix64(total) >> U64(32)).astype(U32))


def signatures(hashes: Array, offsets: Array, a: Array, b: Array) -> Array:
    """MinHash signatures, N×permutations."""
    minima = np.full((len(offsets) - 1, len(a)), 0xFFFFFFFF, U32)
    mixed_hashes = fmix32(hashes)
    for row, (start, end) in enumerate(_runs(offsets)):
        for at in range(start, end, 4096):
            block = mixed_hashes[at : min(end, at + 4096), None] * a + b
            np.minimum(minima[row], block.min(axis=0), out=minima[row])
    return minima


def band_keys(signature: Array, multipliers: Array, starts: Array) -> Array:
    bands, rows = multipliers.shape
    parts = signature[:, : bands * rows].reshape(-1, bands, rows).astype(U64)
    return fmix64(starts + (parts * multipliers).sum(axis=2, dtype=U64))


def _runs(offsets: Array) -> list[tuple[int, int]]:
    return list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
