"""A first look at the texts of a chunk, compiled: may a text be a loop, may an answer be an echo. Most are neither, and to look
closely at each in Python would take longer than all other checks together.

Law: what is not reported is none. Texts are code points, those of all rows after one another, with the end of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]

SHORTEST_RUN, PLACES, SAMPLE, LONGEST_PERIOD = 24, 12, 12, 16
GRAM, DISTINCT_SHARE, LONGEST_WORD = 4, 0.8, 16
_SPACE, _DIGIT, _WORD = 1, 2, 4
_MOST_CHARACTERS = 1 << 22  # looked at together: they take four bytes each
_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def may_loop(texts: Sequence[str]) -> Array:
    """Where `repetition.repetition` may be more than nothing; the texts without spaces around them."""
    looks = [_may_loop(*_code_points(part), _classes()) for part in _parts(texts)]
    found: Array = np.concatenate(looks) if looks else np.zeros(0, bool)
    return found


def begin_alike(one: Sequence[str], other: Sequence[str]) -> Array:
    """Where the first words of two case-folded texts are the same: nowhere else is `quality.echo_share` more than nothing."""
    whole = [*one, *other]
    firsts = [_first_words(*_code_points(part), _classes()) for part in _parts(whole)]
    hashes = np.concatenate(firsts) if firsts else np.zeros(0, np.uint64)
    alike: Array = (hashes[: len(one)] == hashes[len(one) :]) & (hashes[: len(one)] != 0)
    return alike


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    first = size = 0
    for place, text in enumerate(texts):
        size += len(text)
        if size > _MOST_CHARACTERS:
            yield texts[first : place + 1]
            first, size = place + 1, 0
    if first < len(texts):
        yield texts[first:]


def _code_points(texts: Sequence[str]) -> tuple[Array, Array]:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes, np.fromiter(accumulate(map(len, texts)), np.int64, len(texts))


@cache
def _classes() -> Array:
    r"""Of every code point, whether it is a space to `str.split`, and a \d or \w of `re`."""
    every = "".join(map(chr, range(0x110000)))
    classes = np.zeros(0x110000, np.uint8)
    for found in re.finditer(r"\s+", every):
        classes[found.start() : found.end()] |= _SPACE
    for found in re.finditer(r"\d+", every):
        classes[found.start() : found.end()] |= _DIGIT
    for found in re.finditer(r"\w+", every):
        classes[found.start() : found.end()] |= _WORD
    return classes


@numba.njit(cache=True)
def _may_loop(codes: Array, ends: Array, classes: Array) -> Array:
    found = np.zeros(len(ends), np.bool_)
    start = 0
    for row in range(len(ends)):
        end = ends[row]
        found[row] = _has_period(codes, start, end) or _grams_recur(codes, start, end, classes)
        start = end
    return found


@numba.njit(cache=True)
def _has_period(codes: Array, start: int, end: int) -> bool:
    """Whether, at one of a few places, the characters come again after a short distance."""
    size = end - start
    if size <= SHORTEST_RUN:
        return False
    for place in range(start, end - SHORTEST_RUN, size // PLACES + 1):
        for period in range(1, LONGEST_PERIOD + 1):
            if place + period + SAMPLE > end:
                break
            same = 0
            while same < SAMPLE and codes[place + same] == codes[place + period + same]:
                same += 1
            if same == SAMPLE:
                return True
    return False


@numba.njit(cache=True)
def _grams_recur(codes: Array, start: int, end: int, classes: Array) -> bool:
    """Whether many n-grams of words recur, numbers taken as equal, or words are long. Hashes that are equal by chance only report
    a text too many.
    """
    hashes, words = np.zeros((end - start) // 2 + 1, np.uint64), 0
    place = start
    while place < end:
        if classes[codes[place]] & _SPACE:
            place += 1
            continue
        value, in_number = _FNV_BASIS, False
        while place < end and not classes[codes[place]] & _SPACE:
            if classes[codes[place]] & _DIGIT:
                if not in_number:
                    value = (value ^ np.uint64(48)) * _FNV_PRIME
                in_number = True
            else:
                value = (value ^ np.uint64(codes[place])) * _FNV_PRIME
                in_number = False
            place += 1
        hashes[words] = value
        words += 1
    if words * LONGEST_WORD < end - start:
        return True
    grams = words - GRAM + 1
    if grams <= 0:
        return False
    for gram in range(grams):
        value = hashes[gram]
        for word in range(1, GRAM):
            value = (value ^ (value >> np.uint64(29)) ^ hashes[gram + word]) * _FNV_PRIME
        hashes[gram] = value
    return bool(_distinct(hashes[:grams]) < DISTINCT_SHARE * grams)


@numba.njit(cache=True)
def _distinct(values: Array) -> int:
    ordered = np.sort(values)
    distinct = 1
    for place in range(1, len(ordered)):
        distinct += ordered[place] != ordered[place - 1]
    return distinct


@numba.njit(cache=True)
def _first_words(codes: Array, ends: Array, classes: Array) -> Array:
    """A hash of each text's first word; 0 of a text without one."""
    hashes = np.zeros(len(ends), np.uint64)
    place = 0
    for row in range(len(ends)):
        end = ends[row]
        while place < end and not classes[codes[place]] & _WORD:
            place += 1
        if place < end:
            value = _FNV_BASIS
            while place < end and classes[codes[place]] & _WORD:
                value = (value ^ np.uint64(codes[place])) * _FNV_PRIME
                place += 1
            hashes[row] = value | np.uint64(1)
        place = end
    return hashes
