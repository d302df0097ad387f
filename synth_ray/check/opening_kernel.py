"""The terms of a text's opening, hashed: its words, their order, where they stand, and the parts of its first words.

Compiled, because a stager reads every answer: in Python it would take longer than all other checks together.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]

BUCKET_BITS = 16
BUCKETS = 1 << BUCKET_BITS
_MAX_TOKENS = 48
_FIRST, _EARLY, _SPELT = 3, 12, 24  # tokens that count as the beginning, as early, and letter by letter
_LONGEST_GRAM = 4
_SHORTEST_PART, _LONGEST_PART = 3, 5
_MAX_TERMS = 4096
_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_WHERE = np.array([0x1F, 0x5B, 0xA7, 0xE3, 0x10001], np.uint64)  # anywhere, at the beginning, early, part of a word, a mark


@numba.njit(cache=True)
def _is_word_byte(byte: int) -> bool:
    return (48 <= byte <= 57) or (97 <= byte <= 122) or (65 <= byte <= 90) or byte == 95 or byte >= 128


@numba.njit(cache=True)
def _length_of_token(text: Array, start: int) -> int:
    """A run of word bytes; a character of Chinese or Japanese, or a punctuation mark, alone."""
    if 0xE3 <= text[start] <= 0xE9:
        return min(3, len(text) - start)
    end = start
    while end < len(text) and _is_word_byte(text[end]) and not (0xE3 <= text[end] <= 0xE9):
        end += 1
    return max(1, end - start)


@numba.njit(cache=True)
def _hash(text: Array, start: int, end: int) -> np.uint64:
    value = _FNV_BASIS
    for place in range(start, end):
        value = (value ^ np.uint64(text[place])) * _FNV_PRIME
    return value


@numba.njit(cache=True)
def _bucket(value: np.uint64, where: np.uint64) -> np.uint64:
    mixed = (value ^ (value >> np.uint64(29)) ^ where) * _ODD
    return mixed >> np.uint64(64 - BUCKET_BITS)


@numba.njit(cache=True)
def terms_of(text: Array) -> Array:
    """The buckets of all terms of a text in case-folded UTF-8, ascending."""
    starts, ends = np.zeros(_MAX_TOKENS, np.int64), np.zeros(_MAX_TOKENS, np.int64)
    hashes = np.zeros(_MAX_TOKENS, np.uint64)
    tokens = place = 0
    while place < len(text) and tokens < _MAX_TOKENS:
        if text[place] <= 32:
            place += 1
            continue
        length = _length_of_token(text, place)
        starts[tokens], ends[tokens] = place, place + length
        hashes[tokens] = _hash(text, place, place + length)
        tokens += 1
        place += length
    terms, n = np.zeros(_MAX_TERMS, np.uint16), 0
    for first in range(tokens):
        gram = np.uint64(0)
        for last in range(first, min(tokens, first + _LONGEST_GRAM)):
            gram = (gram ^ hashes[last]) * _FNV_PRIME
            terms[n] = _bucket(gram, _WHERE[0])
            n += 1
            if first < _FIRST:
                terms[n] = _bucket(gram, _WHERE[1])
                n += 1
            if first < _EARLY:
                terms[n] = _bucket(gram, _WHERE[2])
                n += 1
    for token in range(min(tokens, _SPELT)):
        for length in range(_SHORTEST_PART, _LONGEST_PART + 1):
            for start in range(starts[token], ends[token] - length + 1):
                if n < _MAX_TERMS - 2:
                    at_edge = np.uint64(start == starts[token]) + np.uint64(2) * np.uint64(start + length == ends[token])
                    terms[n] = _bucket(_hash(text, start, start + length), _WHERE[3] + (at_edge << np.uint64(8)))
                    n += 1
    for mark in (34, 10):  # quotation marks, and lines
        found = np.uint64(0)
        for byte in text:
            found |= np.uint64(byte == mark)
        terms[n] = _bucket(np.uint64(mark), _WHERE[4] + found)
        n += 1
    return np.unique(terms[:n])
