"""The canonical form of a text's characters: NFC, case folded, typographic variants folded, format characters left out.

`canonical_text` is the definition, and `normal_form` says which words it is made of. The compiled kernel reads the table made
here and gives the same values.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import numpy as np

VERSION = 2
"""Pinned in every index and with every run's chunks: fingerprints of two versions are not comparable."""

FIELD = "\x1f"
"""Separates compared fields, so that ("a b", "c") and ("a", "b c") are different texts."""

WORD, BREAK, SINGLE, DROPPED = range(4)
"""Classes of code points: part of a word; between words; a word of its own (scripts written without spaces, signs of mathematics
and currencies beyond ASCII); ignored (format characters, variation selectors).
"""

NEEDS_NORMALISATION = 1 << 23
"""Set in the table where folding depends on neighbours or gives several code points."""

UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3005, 0x3007),
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),
    (0x20000, 0x3FFFF),
)
_SYMBOLS = (0x1F000, 0x1FAFF)  # as a range: each Unicode version assigns more of them, and an index outlives versions
_SELECTORS = ((0xFE00, 0xFE0F), (0xE0000, 0xE01EF))
# Escaped, because many of them look alike: single quotes, double quotes, dashes and minus, times, divided by, full-width.
_VARIANTS = (
    dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u2032", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u00d7\u2217\u22c5", "*")
    | dict.fromkeys("\u00f7\u2044\u2215", "/")
    | {chr(ord(sign) + 0xFEE0): sign for sign in "!#%&()*+-/<=>^|~"}
)
_LINE_ENDS = frozenset("\n\r\v\f\x85\u2028\u2029")
_TABLE_SIZE = 0x20000


def fold(text: str) -> str:
    """NFC, case folded, NFC again: case folding may undo it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def canonical_text(text: str) -> str:
    """The folded text without typographic variants; every line end is a line feed, every other space but a tab a blank."""
    return fold(text).translate(_CANONICAL)


def char_classes(canonical: str) -> str:
    """The class of each character of a canonical text, as one digit each."""
    return canonical.translate(_CLASSES)


@cache
def char_class(code: int) -> int:
    """The class of a folded code point."""
    if any(a <= code <= b for a, b in _SELECTORS):
        return DROPPED
    if _SYMBOLS[0] <= code <= _SYMBOLS[1]:
        return BREAK
    if code >= _TABLE_SIZE:
        return SINGLE if code <= UNSPACED[-1][1] else WORD
    category = unicodedata.category(chr(code))
    if category == "Cf":
        return DROPPED
    if category in ("Sm", "Sc") and code >= 0x80 and chr(code) not in _VARIANTS:
        return SINGLE
    if chr(code) in _VARIANTS or category[0] in "PSZ" or category == "Cc":
        return BREAK
    return SINGLE if any(a <= code <= b for a, b in UNSPACED) else WORD


@cache
def canonical_char(code: int) -> str:
    """The canonical form of a folded code point."""
    character = chr(code)
    if char_class(code) == DROPPED:
        return ""
    if character in _LINE_ENDS:
        return "\n"
    is_space = character not in (FIELD, "\t") and unicodedata.category(character) in ("Zs", "Cc")
    return " " if is_space else _VARIANTS.get(character, character)


class _Canonical(dict[int, str]):
    def __missing__(self, code: int) -> str:
        return self.setdefault(code, canonical_char(code))


class _Classes(dict[int, str]):
    def __missing__(self, code: int) -> str:
        return self.setdefault(code, str(char_class(code)))


_CANONICAL, _CLASSES = _Canonical(), _Classes()


@cache
def unicode_table() -> np.ndarray[Any, Any]:
    """For each code point, packed: its canonical code point (bits 0-20), class (21-22), NEEDS_NORMALISATION, combining class
    (24-31).
    """
    table = np.arange(0x110000, dtype=np.uint32)
    joining = _composing()
    for first, last, kind in (
        (0x3400, 0x9FFF, SINGLE),
        (0xAC00, 0xF8FF, WORD),
        (0x20000, 0x3FFFF, SINGLE),
        (0x40000, 0x10FFFF, WORD),
        (0xE0000, 0xE01EF, DROPPED),
    ):
        table[first : last + 1] |= np.uint32(kind << 21)
    table[0x2F800:0x2FA20] |= np.uint32(NEEDS_NORMALISATION)
    for first, last in ((0, 0x33FF), (0x4DC0, 0x4DFF), (0xA000, 0xABFF), (0xF900, _TABLE_SIZE - 1)):
        for code in range(first, last + 1):
            table[code] = _entry(code, joining)
    return table


def _entry(code: int, joining: frozenset[str]) -> int:
    character = chr(code)
    after = fold(character)
    combining = unicodedata.combining(character)
    hard = (
        unicodedata.normalize("NFC", character) != character
        or len(after) != 1
        or character in joining
        or after in joining
        or unicodedata.combining(after) != combining
    )
    # A normalised text may still hold such a code point; it is then read as it is.
    code_point = character if hard else after
    entry = ord(canonical_char(ord(code_point)) or "\0") | char_class(ord(code_point)) << 21 | combining << 24
    return entry | NEEDS_NORMALISATION if hard else entry


def _composing() -> frozenset[str]:
    """Code points that may compose with the one before them."""
    composing = {chr(c) for first, last in ((0x1161, 0x1175), (0x11A8, 0x11C2)) for c in range(first, last + 1)}
    for code in range(_TABLE_SIZE):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            composing.add(chr(int(parts[1], 16)))
    return frozenset(composing)
