"""From bytes to word hashes and exact digests, compiled. `reference` gives the same values without a compiler."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.gap_kernels import (
    FIELD_END,
    SPANS,
    UNKNOWN,
    USED,
    Gap,
    Spans,
    add_characters,
    add_gap,
    add_pair,
    begin_field,
    field_end,
    is_plain,
)
from synth_ray.dedup.hash_kernels import hash_words, leave_out_lines
from synth_ray.dedup.kernel_types import COMPILED, I64S, INLINED, U8S, U32S, U64S, UNCOUNTED, tuple_type

_SPACE, _FIELD, _LINE = 32, 31, 10
_U64 = np.uint64


class Scratch(NamedTuple):
    """Buffers for one text: `chunks` and `text` are one buffer, twice the longest text in size, as uint64 and as bytes; `edges`
    are the pairs (begin, end) of its words before operators and lines are read.
    """

    chunks: Any
    text: Any
    flags: Any
    edges: Any
    spans: Spans


class Words(NamedTuple):
    """Word hashes of every text, one text after the other; N+1 offsets into them; digests, N×2."""

    hashes: Any
    ends: Any
    digests: Any


_SCRATCH = tuple_type(Scratch, nb.u8[::1], nb.u1[::1], nb.u1[::1], nb.u4[::1], SPANS)
_WORDS = tuple_type(Words, nb.u8[::1], nb.i8[::1], nb.u8[:, ::1])


@nb.njit
def _canonical_ascii(text: Any, out: Any) -> None:
    """`normalise.canonical_char` for ASCII, folded: by arithmetic, which is vectorised where a table lookup is not."""
    for i in range(text.size):
        c = text[i]
        c = np.uint8(c | np.uint8(np.uint8(c - np.uint8(65)) < np.uint8(26)) << np.uint8(5))
        is_control = ((c < np.uint8(_SPACE)) & (c != np.uint8(_FIELD)) & (c != np.uint8(9))) | (c == np.uint8(127))
        is_line_end = np.uint8(c - np.uint8(_LINE)) < np.uint8(4)
        c = np.uint8(_SPACE) if is_control else c
        out[i] = np.uint8(_LINE) if is_line_end else c


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
    inside = False
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
        if kind != 1 and not inside:
            edges[q] = m
            q += 1
            inside = kind == 0
        m = _encode(canonical, out, m)
        if kind == 2:
            edges[q] = m
            q += 1
    if inside:
        edges[q] = m
        q += 1
    return m, q


@nb.njit(**INLINED)
def _read_text(text: Any, table: Any, scratch: Scratch) -> Any:
    """The lengths of the canonical bytes and of the word edges; both are left in `scratch`."""
    seen = np.uint8(0)
    for i in range(text.size):
        seen = np.uint8(seen | text[i])
    if seen < 0x80:
        return _read_ascii(text, scratch.text, scratch.flags, scratch.edges)
    return _read_unicode(text, table, scratch.text, scratch.edges)


@nb.njit(**INLINED)
def _read_between(text: Any, gap: Gap, spans: Spans) -> None:
    """What lies between two words, or at an end of the text: fields end there, and a field may have no word."""
    start, left = gap.start, gap.left
    while True:
        end = field_end(text, start, gap.end)
        is_last = end == gap.end
        right = gap.right if is_last else UNKNOWN
        if left == UNKNOWN and right == UNKNOWN:
            add_characters(text, start, end, spans)
        else:
            add_gap(text, Gap(start, end, left, right), spans)
        if is_last:
            break
        add_pair(spans, FIELD_END, 0)
        begin_field(spans)
        start, left = end + 1, UNKNOWN


@nb.njit(**INLINED)
def _read_spans(size: int, edges: int, scratch: Scratch) -> None:
    """The pairs of all words, with operators, beginnings of lines and ends of fields, to `scratch.spans`."""
    spans = scratch.spans
    spans.state[USED] = 0
    begin_field(spans)
    end, left = np.int64(0), np.int64(UNKNOWN)
    for k in range(0, edges, 2):
        first, last = np.int64(scratch.edges[k]), np.int64(scratch.edges[k + 1])
        is_space = first - end == 1 and scratch.text[end] == _SPACE
        if left == UNKNOWN or not (is_space or is_plain(scratch.text, end, first)):
            _read_between(scratch.text, Gap(end, first, left, last), spans)
        add_pair(spans, first, last)
        end, left = last, first
    if left == UNKNOWN or end < size:
        _read_between(scratch.text, Gap(end, np.int64(size), left, np.int64(UNKNOWN)), spans)


@nb.njit(nb.i8(U8S, I64S, U32S, U64S, nb.b1, _SCRATCH, _WORDS), **UNCOUNTED)
def read(raw: Any, offsets: Any, table: Any, seeds: Any, lines: bool, scratch: Scratch, out: Words) -> int:
    """Word hashes of every text and each text's digest; returns the number of words. A text that is not ASCII needs `table`.

    Without `lines` the beginnings of lines are left out.
    """
    n = 0
    out.ends[0] = 0
    for d in range(offsets.size - 1):
        size, edges = _read_text(raw[offsets[d] : offsets[d + 1]], table, scratch)
        _read_spans(size, edges, scratch)
        words = hash_words(scratch.chunks, scratch.spans, seeds, out.hashes[n:], out.digests[d])
        n += words if lines else leave_out_lines(scratch.spans, out.hashes[n:])
        out.ends[d + 1] = n
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
