"""Finds text whose encoding was mistaken: UTF-8 read as Latin-1 or Windows-1252, and characters that were lost on the way."""

# ruff: noqa: RUF001 - the characters are meant

from __future__ import annotations

import re

_QUOTES_AND_DASHES = "‘’‚“”„–—…‹›«»"
_LATER_BYTE = "".join(dict.fromkeys(bytes(range(0x80, 0xC0)).decode("cp1252", "ignore") + "".join(map(chr, range(0x80, 0xC0)))))
"""What the bytes 80 to BF, the second and later ones of a character in UTF-8, look like."""

_ODD = "[" + re.escape("".join(c for c in _LATER_BYTE if c not in _QUOTES_AND_DASHES)) + "]"
_ANY = "[" + re.escape(_LATER_BYTE) + "]"

_CERTAIN = re.compile(rf"\ufffd|â€|ð[Ÿ\u009f]|[ÂÃ]{_ODD}|â(?:{_ODD}{_ANY}|{_ANY}{_ODD})")
"""One is enough: no language writes these."""

_LIKELY = re.compile(rf"[ÄÅÎÏÐÑ×ØÙ]{_ANY}|[à-é](?:{_ODD}{_ANY}|{_ANY}{_ODD})")
"""Other scripts, such as `Ð¿Ñ€Ð¸`: a single one may be a brand with its sign, `SKODÄ®`."""

_FEWEST = 3


def is_mojibake(text: str) -> bool:
    if text.isascii():
        return False
    return (
        _CERTAIN.search(text) is not None or sum(1 for _ in zip(_LIKELY.finditer(text), range(_FEWEST), strict=False)) == _FEWEST
    )
