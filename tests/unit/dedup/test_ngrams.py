"""Long n-grams: their hashes are those of the words, wherever in a text they stand."""

from __future__ import annotations

import numpy as np
import pytest

from synth_ray.dedup.hashing import U64, fmix64, gram_powers
from synth_ray.dedup.ngrams import ngrams


@pytest.mark.parametrize(("words", "n"), [(0, 3), (4, 5), (40, 13), (16_384, 13), (16_385, 50), (50_001, 8)])
def test_a_hash_is_the_weighted_sum_of_the_words(words: int, n: int) -> None:
    """Over the whole range of 64 bits, and past the words that are summed at once."""
    text = np.random.default_rng(words).integers(3, 2**64, words, U64)
    hashes, rows, first = ngrams(text, np.array([0, words]), n)
    plain = [int((text[i : i + n] * gram_powers(n)).sum(dtype=U64)) for i in range(max(0, words - n + 1))]
    assert hashes.tolist() == fmix64(np.array(plain, U64)).tolist()
    assert (rows.tolist(), first.tolist()) == ([0] * len(plain), list(range(len(plain))))
