"""The constants and mixing functions of every fingerprint. Frozen: a change is a new `normalise.VERSION`.

One hash of a word, computed by `hash_kernels` and by `reference.hash_texts`:
    h(bytes, seed) = sum over 8-byte chunks j of fmix64(chunk_j + (j + 1) * STEP + length * LENGTH + seed)
with the last chunk padded by zeros, everything mod 2**64. One digest of a text's n words h_k, each in field f_k of
F + 1 fields, for each of two seeds:
    sum over k of fmix64(h_k + (k + 1) * STEP + f_k * FIELDS + seed), plus fmix64(n * LENGTH + (n + 1) * STEP + F * FIELDS + seed)
It is no match for an adversary, and needs none: what it proposes as near is verified, and 128 bits of it are an exact digest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
U8, U32, U64 = np.uint8, np.uint32, np.uint64

STEP = 0x9E3779B97F4A7C15
LENGTH = 0xC2B2AE3D27D4EB4F
FIELDS = 0xA0761D6478BD642F
GRAM = 0xD6E8FEB86659FD93
"""Odd multiplier of the position in an n-gram: hash = fmix64(sum of word_k * GRAM**k)."""
DIGEST_SEEDS = (0x27D4EB2F165667C5, 0x85EBCA77C2B2AE63)
_FMIX64 = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
_FMIX32 = (0x85EBCA6B, 0xC2B2AE35)


def fmix64(h: Array) -> Array:
    """The finaliser of MurmurHash3 (Appleby, 2011): a bijection of 64 bits."""
    h = h ^ (h >> U64(33))
    h = h * U64(_FMIX64[0])
    h ^= h >> U64(33)
    h = h * U64(_FMIX64[1])
    return h ^ (h >> U64(33))


def fmix32(h: Array) -> Array:
    h = h ^ (h >> U32(16))
    h = h * U32(_FMIX32[0])
    h ^= h >> U32(13)
    h = h * U32(_FMIX32[1])
    return h ^ (h >> U32(16))


def gram_powers(n: int) -> Array:
    return np.array([pow(GRAM, k, 2**64) for k in range(n)], U64)


def band_multipliers(bands: int, rows: int) -> tuple[Array, Array]:
    """Odd multipliers (bands × rows) and starts (bands) of the band keys."""
    draw = np.random.RandomState(3)  # the legacy generator, because numpy's policy freezes its stream
    high, low = (draw.randint(0, 1 << 32, (bands, rows), dtype=U64) for _ in range(2))
    return (high << U64(32) | low) | U64(1), draw.randint(0, 1 << 63, bands, dtype=U64)
