"""The hashes of words and the digest of a text's words, compiled: see `hashing`."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from synth_ray.dedup.gap_kernels import FIELD_END, LINE_START, USED, Spans
from synth_ray.dedup.hashing import FIELDS, LENGTH, STEP
from synth_ray.dedup.kernel_types import INLINED
from synth_ray.dedup.normal_form import LINE

_LINE = ord(LINE)
_U64 = np.uint64


@nb.njit
def fmix64(h: Any) -> Any:
    h ^= h >> _U64(33)
    h *= _U64(0xFF51AFD7ED558CCD)
    h ^= h >> _U64(33)
    h *= _U64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> _U64(33))


@nb.njit
def _word(chunks: Any, start: Any, length: Any) -> Any:
    """The hash of `length` bytes at byte `start` of the scratch: see `hashing`."""
    step = length * _U64(LENGTH) + _U64(STEP)
    h = _U64(0)
    while length > _U64(8):
        h += fmix64(_eight(chunks, start) + step)
        step += _U64(STEP)
        start += _U64(8)
        length -= _U64(8)
    last = _eight(chunks, start) & _U64(0xFFFFFFFFFFFFFFFF) >> (_U64(64) - (length << _U64(3)))
    return h + fmix64(last + step)


@nb.njit
def _eight(chunks: Any, at: Any) -> Any:
    """Eight bytes from byte `at` of the buffer, aligned or not. Unsigned throughout: signed indices may wrap."""
    i, shift = at >> _U64(3), (at & _U64(7)) << _U64(3)
    return chunks[i] >> shift | (chunks[i + _U64(1)] << _U64(1)) << (_U64(63) - shift)


@nb.njit
def _line_word(second: Any) -> Any:
    """The hash of the two characters that stand for the beginning of a line."""
    return fmix64((_U64(second) << _U64(8) | _U64(_LINE)) + _U64(STEP) + _U64(2) * _U64(LENGTH))


@nb.njit
def _add_to_digest(hashes: Any, step: Any, seeds: Any, digest: Any) -> Any:
    """The words of one field. Returns the step after them; see `hashing`. Written so that it is vectorised."""
    first, second = digest[0], digest[1]
    for j in range(hashes.size):
        h = hashes[j] + step
        first += fmix64(h + seeds[0])
        second += fmix64(h + seeds[1])
        step += _U64(STEP)
    digest[0] = first
    digest[1] = second
    return step


@nb.njit(**INLINED)
def hash_words(chunks: Any, spans: Spans, seeds: Any, out: Any, digest: Any) -> int:
    """The hashes of a text's words to `out`, and its digest; returns the number of words."""
    n = begun = 0
    digest[:] = 0
    step = _U64(STEP)
    for k in range(0, spans.state[USED], 2):
        a, b = spans.pairs[k], spans.pairs[k + 1]
        if a < LINE_START:
            out[n] = _word(chunks, _U64(a), _U64(b) - _U64(a))
            n += 1
        elif a == LINE_START:
            out[n] = _line_word(b)
            n += 1
        else:
            step = _add_to_digest(out[begun:n], step, seeds, digest) + _U64(FIELDS)
            begun = n
    step = _add_to_digest(out[begun:n], step, seeds, digest)
    last = _U64(n) * _U64(LENGTH) + step
    digest[0] += fmix64(last + seeds[0])
    digest[1] += fmix64(last + seeds[1])
    return n


@nb.njit(**INLINED)
def leave_out_lines(spans: Spans, out: Any) -> int:
    """Remove the hashes of the beginnings of lines; returns the number of words left."""
    n = m = 0
    for k in range(0, spans.state[USED], 2):
        if spans.pairs[k] == FIELD_END:
            continue
        out[m] = out[n]
        n += 1
        m += spans.pairs[k] != LINE_START
    return m
