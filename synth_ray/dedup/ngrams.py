"""Long n-grams of the words of rows, as 64-bit hashes: for decontamination and the split-leak guard."""

from __future__ import annotations

import numpy as np

from synth_ray.dedup.fingerprint import COLUMN_BREAK
from synth_ray.dedup.hashing import GRAM, U64, Array, fmix64

_BLOCK = 1 << 14  # words summed at once: they stay in the processor's cache


def _powers(base: int) -> Array:
    factors = np.full(_BLOCK, base, U64)
    factors[0] = 1
    return np.cumprod(factors, dtype=U64)


_POWERS, _INVERSES = _powers(GRAM), _powers(pow(GRAM, -1, 2**64))


def ngrams(words: Array, ends: Array, n: int) -> tuple[Array, Array, Array]:
    """(hash, row, position of its first word in the row) of every n-gram; none reaches across rows or across COLUMN_BREAK."""
    size = max(0, len(words) - n + 1)
    total = _sums(words, n)
    row = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    breaks = np.concatenate(([0], np.cumsum(words == COLUMN_BREAK)))
    is_whole = (row[:size] == row[n - 1 : n - 1 + size]) & (breaks[n : n + size] == breaks[:size])
    first = np.flatnonzero(is_whole)
    return fmix64(total[first]), row[first], first - ends[row[first]]


def _sums(words: Array, n: int) -> Array:
    """The sum over k of word i + k times GRAM**k, for every i with n words from it on, mod 2**64. GRAM is odd, so it has an
    inverse: each is a difference of running sums of word j times GRAM**j, times GRAM**-i.
    """
    size = max(0, len(words) - n + 1)
    sums, step = np.empty(size, U64), _BLOCK - n + 1
    for at in range(0, size, step):
        part = words[at : at + _BLOCK]
        running = np.zeros(len(part) + 1, U64)
        np.cumsum(part * _POWERS[: len(part)], out=running[1:])
        here = len(part) - n + 1
        sums[at : at + here] = (running[n:] - running[:here]) * _INVERSES[:here]
    return sums
