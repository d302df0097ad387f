"""What is read between words, compiled: operators, and the beginnings of lines in code. `normal_form` is the definition.

Positions are bytes of the canonical text. Functions write pairs (begin, end) to `Spans`; two kinds of pair hold no text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import INLINED, tuple_type
from synth_ray.dedup.normal_form import CLOSING, FENCES, LINE_CENTRE, OPENING, OPERATORS, TAB_COLUMNS, WIDEST

FIELD_END, LINE_START = 0xFFFFFFFF, 0xFFFFFFFE
"""The first of a pair that holds no text: the end of a field; the beginning of a line, with its second character."""

_PLAIN, _OPERATOR, _CLOSES, _OPENS, _BLANK, _NEW_LINE, _FIELD = range(7)
_KINDS = np.zeros(256, np.uint8)
for _characters, _kind in (
    (OPERATORS, _OPERATOR),
    (CLOSING, _CLOSES),
    (OPENING, _OPENS),
    (" \t", _BLANK),
    ("\n", _NEW_LINE),
    ("\x1f", _FIELD),
):
    _KINDS[[ord(character) for character in _characters]] = _kind
_TAB, _MINUS, _PLUS, _HASH, _PERCENT, _NOT = (ord(character) for character in "\t-+#%!")
_SIGNS = tuple(ord(character) for character in "-<=>")
_FENCES = tuple(ord(fence[0]) for fence in FENCES)

# positions in `Spans.state`
USED, LINES, MARGIN, BEFORE, FENCED = range(5)
COUNTERS = 5
UNKNOWN = -1


class Spans(NamedTuple):
    """Pairs, and COUNTERS: entries used; and of the field its lines so far, its margin, the columns of the line before, and
    whether a fence is open.
    """

    pairs: Any
    state: Any


SPANS = tuple_type(Spans, nb.u4[::1], nb.i8[::1])


class Gap(NamedTuple):
    """From `start` to `end`, between a word that begins at `left` and one that ends at `right`; UNKNOWN where there is none."""

    start: Any
    end: Any
    left: Any
    right: Any


@nb.njit(**INLINED)
def add_pair(spans: Spans, first: Any, second: Any) -> None:
    used = spans.state[USED]
    spans.pairs[used] = first
    spans.pairs[used + 1] = second
    spans.state[USED] = used + 2


@nb.njit(**INLINED)
def begin_field(spans: Spans) -> None:
    spans.state[LINES] = 0
    spans.state[MARGIN] = 0
    spans.state[BEFORE] = 0
    spans.state[FENCED] = 0


@nb.njit
def is_plain(text: Any, start: int, end: int) -> bool:
    """Whether a gap holds neither words nor the end of a field."""
    for i in range(start, end):
        kind = _KINDS[text[i]]
        if kind == _OPERATOR or kind >= _NEW_LINE:
            return False
    return True


@nb.njit
def field_end(text: Any, start: int, end: int) -> int:
    """The first field separator from `start` on, else `end`."""
    for i in range(start, end):
        if _KINDS[text[i]] == _FIELD:
            return i
    return end


@nb.njit(**INLINED)
def add_characters(text: Any, start: int, end: int, spans: Spans) -> None:
    """Every visible character: for a field without words."""
    i = start
    while i < end:
        j = i + 1
        while j < end and text[j] & 0xC0 == 0x80:
            j += 1
        if _KINDS[text[i]] != _BLANK and _KINDS[text[i]] != _NEW_LINE:
            add_pair(spans, i, j)
        i = j


@nb.njit(**INLINED)
def add_gap(text: Any, gap: Gap, spans: Spans) -> None:
    """The words of a gap within one field."""
    line, rest = gap.start, gap.end  # the last line begins at `line`; what stands on the first line ends at `rest`
    for i in range(gap.start, gap.end):
        if _KINDS[text[i]] == _NEW_LINE:
            rest = min(rest, i)
            line = i + 1
            _toggle_fence(text, line, gap.end, spans)
    if gap.left == UNKNOWN:
        _toggle_fence(text, gap.start, gap.end, spans)
    if rest < gap.end:
        _add_operators(text, Gap(gap.start, rest, gap.left, UNKNOWN), spans)
    if gap.right != UNKNOWN and (rest < gap.end or gap.left == UNKNOWN):
        _add_line(text, line, gap.end, spans)
    if rest < gap.end:
        _add_operators(text, Gap(line, gap.end, UNKNOWN, gap.right), spans)
    else:
        _add_operators(text, gap, spans)


@nb.njit(**INLINED)
def _toggle_fence(text: Any, i: int, end: int, spans: Spans) -> None:
    """A line that begins with a fence opens or closes one."""
    while i < end and _KINDS[text[i]] == _BLANK:
        i += 1
    if i + 2 < end and text[i] == text[i + 1] and text[i] == text[i + 2] and text[i] in _FENCES:
        spans.state[FENCED] ^= 1


@nb.njit(**INLINED)
def _add_line(text: Any, i: int, end: int, spans: Spans) -> None:
    """The beginning of a line, if it is in code."""
    columns = np.int64(0)
    while i < end and _KINDS[text[i]] == _BLANK:
        columns = (columns // TAB_COLUMNS + 1) * TAB_COLUMNS if text[i] == _TAB else columns + 1
        i += 1
    if spans.state[LINES] == 0 or (spans.state[LINES] == 1 and columns < spans.state[MARGIN]):
        spans.state[MARGIN] = spans.state[BEFORE] = columns
    margin = spans.state[MARGIN]
    is_code = spans.state[FENCED] == 1 or columns != margin or spans.state[BEFORE] != margin
    spans.state[BEFORE] = columns
    spans.state[LINES] += 1
    if is_code and spans.state[LINES] > 1:
        add_pair(spans, LINE_START, LINE_CENTRE + max(-WIDEST, min(WIDEST, columns - margin)))


@nb.njit(**INLINED)
def _add_operators(text: Any, gap: Gap, spans: Spans) -> None:
    i = gap.start
    while i < gap.end:
        j = i
        while j < gap.end and _KINDS[text[j]] == _OPERATOR:
            j += 1
        if j > i and _is_operator(text, gap, i, j):
            for k in range(i, j):
                add_pair(spans, k, k + 1)
        i = max(j, i + 1)


@nb.njit
def _is_operator(text: Any, gap: Gap, i: int, j: int) -> bool:
    has_left, has_right = gap.left != UNKNOWN, gap.right != UNKNOWN
    beside_left = has_left if i == gap.start else _KINDS[text[i - 1]] == _CLOSES
    beside_right = has_right if j == gap.end else _KINDS[text[j]] == _OPENS
    if has_left and has_right and not _only(text, i, j, _NOT, _HASH):
        apart_left = not has_left if i == gap.start else _KINDS[text[i - 1]] == _BLANK
        apart_right = not has_right if j == gap.end else _KINDS[text[j]] == _BLANK
        is_even = (beside_left and beside_right) or (apart_left and apart_right)
        is_short = _is_short(text, gap.left, gap.start) and _is_short(text, gap.end, gap.right)
        if is_short or (is_even and not _only(text, i, j, _MINUS, _MINUS)):
            return True
    if has_left and i == gap.start:
        first = text[i]
        if first in (_PLUS, _HASH) or (first == _PERCENT and _is_digit(text[i - 1])):
            return True
    if not has_right or j != gap.end or beside_left:
        return False
    last = text[j - 1]
    is_signed = _is_digit(text[j]) and last in _SIGNS
    return is_signed or last == _NOT or (j - i > 1 and _only(text, i, j, _PLUS, _PLUS))


@nb.njit
def _only(text: Any, i: int, j: int, one: int, other: int) -> bool:
    """Whether a run consists of these two characters."""
    k = i
    while k < j and (text[k] == one or text[k] == other):
        k += 1
    return bool(k == j)


@nb.njit
def _is_short(text: Any, start: int, end: int) -> bool:
    return _is_digit(text[start]) or (end - start == 1 and text[start] < 0x80)


@nb.njit
def _is_digit(c: Any) -> Any:
    return np.uint8(c - np.uint8(48)) < np.uint8(10)
