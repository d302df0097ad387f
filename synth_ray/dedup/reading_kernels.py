"""From bytes to word hashes and exact digests, compiled. `reference` gives the same values without a compiler."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.hashing import LENGTH, STEP
from synth_ray.dedup.kernel_types import COMPILED, I64S, INLINED, U8S, U32S, U64S, UNCOUNTED, tuple_type

_SPACE, _FIELD = 32, 31
_U64 = np.uint64


class Scratch(NamedTuple):
    """Buffers for one text: `chunks` and `text` are one buffer, twice the longest text in size, as uint64 and as bytes."""

    chunks: Any
    text: Any
    flags: Any
    edges: Any


class Words(NamedTuple):
    """Word hashes of every text, one text after the other; N+1 offsets into them; digests, N×2."""

    hashes: Any
    ends: Any
    digests: Any


_SCRATCH = tuple_type(Scratch, nb.u8[::1], nb.u1[::1], nb.u1[::1], nb.u4[::1])
_WORDS = tuple_type(Words, nb.u8[::1], nb.i8[::1], nb.u8[:, ::1])


@nb.njit
def fmix64(h: Any) -> Any:
    h ^= h >> _U64(33)
    h *= _U64(0xFF51AFD7ED558CCD)
    h ^= h >> _U64(33)
    h *= _U64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> _U64(33))


@nb.njit
def _is_tidy(text: Any, size: int) -> bool:
    """Whether no space is at either end, beside another space, or beside a field separator. Written so that it is vectorised."""
    if size == 0:
        return True
    untidy = np.uint8((text[0] == _SPACE) | (text[size - 1] == _SPACE))
    for i in range(size - 1):
        first, second = text[i], text[i + 1]
        untidy |= np.uint8(((first == _SPACE) | (first == _FIELD)) & ((second == _SPACE) | (second == _FIELD)))
    return untidy == 0


@nb.njit
def _tidy(text: Any, size: int) -> int:
    """Remove, in place, the spaces that `_is_tidy` found; returns the new length."""
    m = 0
    for i in range(size):
        c = text[i]
        before = text[m - 1] if m > 0 else np.uint8(_FIELD)
        if c == _SPACE and (before in (_SPACE, _FIELD)):
            continue
        if c == _FIELD and m > 0 and before == _SPACE:
            m -= 1
        text[m] = c
        m += 1
    return m - 1 if m > 0 and text[m - 1] == _SPACE else m


@nb.njit
def _canonical_ascii(text: Any, out: Any) -> None:
    """`normalise.canonical_char` for ASCII, folded: by arithmetic, which is vectorised where a table lookup is not."""
    for i in range(text.size):
        c = text[i]
        c = np.uint8(c | np.uint8(np.uint8(c - np.uint8(65)) < np.uint8(26)) << np.uint8(5))
        is_control = ((c < np.uint8(_SPACE)) & (c != np.uint8(_FIELD))) | (c == np.uint8(127))
        out[i] = np.uint8(_SPACE) if is_control else c


@nb.njit
def _word_bytes(text: Any, size: int, flags: Any) -> None:
    for i in range(size):
        c = text[i]
        flags[i] = np.uint8((np.uint8(c - np.uint8(97)) < np.uint8(26)) | (np.uint8(c - np.uint8(48)) < np.uint8(10)))


@nb.njit
def _read_ascii(text: Any, out: Any, flags: Any, edges: Any) -> Any:
    """Write canonical bytes to `out` and where words begin and end in them to `edges`; returns both lengths."""
    m = text.size
    _canonical_ascii(text, out)
    if not _is_tidy(out, m):
        m = _tidy(out, m)
    _word_bytes(out, m, flags)
    q = _U64(0)
    inside = np.uint8(0)
    for i in range(m):
        edges[q] = i
        q += _U64(flags[i] ^ inside)
        inside = flags[i]
    edges[q] = m
    return m, np.int64(q) + np.int64(inside)


@nb.njit
def decode(raw: Any, i: int, end: int) -> Any:
    """The code point at `i` and its length in bytes; invalid UTF-8 never leads past `end`."""
    b = np.int64(raw[i])
    if b < 0x80:
        return b, 1
    if b < 0xE0 and i + 1 < end:
        return (b & 0x1F) << 6 | np.int64(raw[i + 1] & 0x3F), 2
    if b < 0xF0 and i + 2 < end:
        return (b & 0x0F) << 12 | np.int64(raw[i + 1] & 0x3F) << 6 | np.int64(raw[i + 2] & 0x3F), 3
    if i + 3 < end:
        code = (b & 0x07) << 18 | np.int64(raw[i + 1] & 0x3F) << 12
        return min(code | np.int64(raw[i + 2] & 0x3F) << 6 | np.int64(raw[i + 3] & 0x3F), 0x10FFFF), 4
    return 0xFFFD, 1


@nb.njit
def _encode(code: int, out: Any, m: int) -> Any:
    if code < 0x80:
        out[m] = code
        return m + 1
    if code < 0x800:
        out[m] = 0xC0 | code >> 6
        out[m + 1] = 0x80 | code & 0x3F
        return m + 2
    if code < 0x10000:
        out[m] = 0xE0 | code >> 12
        out[m + 1] = 0x80 | code >> 6 & 0x3F
        out[m + 2] = 0x80 | code & 0x3F
        return m + 3
    out[m] = 0xF0 | code >> 18
    out[m + 1] = 0x80 | code >> 12 & 0x3F
    out[m + 2] = 0x80 | code >> 6 & 0x3F
    out[m + 3] = 0x80 | code & 0x3F
    return m + 4


@nb.njit
def _read_unicode(raw: Any, table: Any, out: Any, edges: Any) -> Any:
    """Like `_read_ascii`, but code point by code point."""
    m = q = 0
    inside, spaced = False, True
    i, end = 0, raw.size
    while i < end:
        code, size = decode(raw, i, end)
        i += size
        entry = np.int64(table[code])
        canonical, kind = entry & 0x1FFFFF, entry >> 21 & 3
        if kind == 3:
            continue
        if inside and kind != 0:
            edges[q] = m
            q += 1
            inside = False
        if canonical == _SPACE and spaced:
            continue
        if canonical == _FIELD and m > 0 and out[m - 1] == _SPACE:
            m -= 1
        if kind != 1 and not inside:
            edges[q] = m
            q += 1
            inside = kind == 0
        m = _encode(canonical, out, m)
        if kind == 2:
            edges[q] = m
            q += 1
        spaced = canonical in (_SPACE, _FIELD)
    if inside:
        edges[q] = m
        q += 1
    if m > 0 and out[m - 1] == _SPACE:
        m -= 1
    return m, q


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
def _digest(chunks: Any, length: int, seeds: Any, out: Any) -> None:
    """The hash of the first `length` bytes of the buffer, with both seeds."""
    step = _U64(length) * _U64(LENGTH) + _U64(STEP)
    first = second = _U64(0)
    for j in range(length >> 3):
        first += fmix64(chunks[j] + (step + seeds[0]))
        second += fmix64(chunks[j] + (step + seeds[1]))
        step += _U64(STEP)
    rest = length & 7
    if rest:
        last = chunks[length >> 3] & _U64(0xFFFFFFFFFFFFFFFF) >> _U64(64 - 8 * rest)
        first += fmix64(last + (step + seeds[0]))
        second += fmix64(last + (step + seeds[1]))
    out[0] = first
    out[1] = second


@nb.njit(**INLINED)
def _read_text(text: Any, table: Any, scratch: Scratch) -> Any:
    """The lengths of the canonical bytes and of the word edges; both are left in `scratch`."""
    seen = np.uint8(0)
    for i in range(text.size):
        seen = np.uint8(seen | text[i])
    if seen < 0x80:
        return _read_ascii(text, scratch.text, scratch.flags, scratch.edges)
    return _read_unicode(text, table, scratch.text, scratch.edges)


@nb.njit(nb.i8(U8S, I64S, U32S, U64S, _SCRATCH, _WORDS), **UNCOUNTED)
def read(raw: Any, offsets: Any, table: Any, seeds: Any, scratch: Scratch, out: Words) -> int:
    """Word hashes of every text and each text's digest; returns the number of words. A text that is not ASCII needs `table`."""
    n = 0
    out.ends[0] = 0
    for d in range(offsets.size - 1):
        size, edges = _read_text(raw[offsets[d] : offsets[d + 1]], table, scratch)
        for k in range(0, edges, 2):
            start = _U64(scratch.edges[k])
            out.hashes[n] = _word(scratch.chunks, start, _U64(scratch.edges[k + 1]) - start)
            n += 1
        out.ends[d + 1] = n
        _digest(scratch.chunks, size, seeds, out.digests[d])
    return n


@nb.njit(nb.void(U8S, I64S, U32S, nb.b1[::1]), **COMPILED)
def find_hard(raw: Any, offsets: Any, table: Any, hard: Any) -> None:
    """Marks texts that must be normalised as a whole: they hold a code point that needs it, or combining marks out of order."""
    for d in range(offsets.size - 1):
        i, end = offsets[d], offsets[d + 1]
        before = np.int64(0)
        while i < end and not hard[d]:
            if raw[i] < 0x80:
                i += 1
                before = np.int64(0)
                continue
            code, size = decode(raw, i, end)
            entry = np.int64(table[code])
            combining = entry >> 24
            hard[d] = entry >> 23 & 1 == 1 or (combining != 0 and combining < before)
            before = combining
            i += size
