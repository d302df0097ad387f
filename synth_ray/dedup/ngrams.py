"""Long n-grams of the words of rows, as 64-bit hashes: for decontamination and the split-leak guard."""

from __future__ import annotations

import numpy as np

from synth_ray.dedup.fingerprint import COLUMN_BREAK
from synth_ray.dedup.hashing import U64, Array, fmix64, gram_powers


def ngrams(words: Array, ends: Array, n: int) -> tuple[Array, Array, Array]:
    """(hash, row, position of its first word in the row) of every n-gram; none reaches across rows or across COLUMN_BREAK."""
    size = max(0, len(words) - n + 1)
    total = np.zeros(size, U64)
    for k, power in enumerate(gram_powers(n)):
        total += words[k : k + size] * power
    row = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    breaks = np.concatenate(([0], np.cumsum(words == COLUMN_BREAK)))
    is_whole = (row[:size] == row[n - 1 : n - 1 + size]) & (breaks[n : n + size] == breaks[:size])
    first = np.flatnonzero(is_whole)
    return fmix64(total[first]), row[first], first - ends[row[first]]
