"""Texts as arrays: hashed words, how often each n-gram stands in each row, and the first words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.ngrams import ngrams
from synth_ray.job.dedup import Dedup

Array = np.ndarray[Any, Any]

MAX_WORDS = 200
_MIN_BITS, _MAX_BITS = 12, 22
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Numbers in rows of different lengths: the values of row i are `values[offsets[i]:offsets[i + 1]]`."""

    values: Array
    offsets: Array

    @classmethod
    def of(cls, rows: Sequence[Array]) -> Ragged:
        values = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return cls(values, _offsets(np.array([len(row) for row in rows], np.int64)))

    @property
    def lengths(self) -> Array:
        return np.diff(self.offsets)

    def take(self, rows: Array) -> Ragged:
        """These rows, in this order."""
        lengths = self.lengths[rows]
        offsets = _offsets(lengths)
        starts = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Ragged(self.values[starts + np.arange(len(starts))], offsets)

    @property
    def row_numbers(self) -> Array:
        """The row of every value."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def first(self, most: int) -> Ragged:
        """At most so many values of every row, its first."""
        place = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.lengths)
        return Ragged(self.values[place < most], _offsets(np.minimum(self.lengths, most)))


@cache
def _reader() -> Fingerprinter:
    return Fingerprinter(Dedup())


def hashed_words(texts: Sequence[str]) -> Ragged:
    """The words of each text as uint32 hashes, as the deduplication reads them; of scripts without spaces, every letter."""
    return Ragged(*_reader().words(pa.array(texts, pa.large_string())))


@dataclass(frozen=True, slots=True)
class Grams:
    """The n-grams of N rows. `total`: how many each row has. `once`: how many of them stand in no other place of all rows.
    `again`: how often each of the others stands in each row, N×G.
    """

    total: Array
    once: Array
    again: csr_array


def grams_of(words: Ragged, n: int) -> Grams:
    hashes, rows, _ = ngrams(words.values, words.offsets, n)
    size = len(words.offsets) - 1
    buckets, count = _buckets(hashes)
    is_again = count[buckets] > 1
    numbers = np.cumsum(count > 1) - 1
    again = counted(rows[is_again], numbers[buckets[is_again]], (size, int(numbers[-1]) + 1))
    total, once = (np.bincount(r, minlength=size).astype(np.float32) for r in (rows, rows[~is_again]))
    return Grams(total, once, again)


def _buckets(hashes: Array) -> tuple[Array, Array]:
    """A number for every hash, and how often each number occurs. With eight numbers a hash and more, few are shared."""
    bits = min(_MAX_BITS, max(_MIN_BITS, (8 * len(hashes)).bit_length()))
    buckets = (hashes >> np.uint64(64 - bits)).astype(np.int64)
    return buckets, np.bincount(buckets, minlength=1 << bits)


def counted(rows: Array, columns: Array, shape: tuple[int, int]) -> csr_array:
    """How often each column occurs in each row."""
    matrix = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def openers_of(words: Ragged, n: int) -> Array:
    """A hash of the first n words of every row."""
    place = words.offsets[:-1, None] + np.arange(n)
    there = place < words.offsets[1:, None]
    first = np.zeros(place.shape, np.uint64)
    first[there] = words.values[place[there]]
    hashed = np.zeros(len(first), np.uint64)
    for word in first.T:
        hashed = (hashed ^ word) * _ODD
        hashed ^= hashed >> np.uint64(29)
    return hashed


def _offsets(lengths: Array) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)])
