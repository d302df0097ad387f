"""Which words of two texts differ."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_MOST = 800
"""Words and blanks that are compared: the time grows with their square."""
_ALIKE = 0.35
"""Share of the longer text that both must have: in texts less alike, marks would only tell that they are others."""

Piece = tuple[str, bool]
"""A stretch of text, and whether the other text lacks it."""


def differences(ours: str, theirs: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces. Law: the pieces of a side join to its text; equal texts have no piece that differs, nor have texts
    that are hardly alike.
    """
    a, b = _TOKEN.findall(ours), _TOKEN.findall(theirs)
    if max(len(a), len(b)) > _MOST:
        return [(ours, False)], [(theirs, False)]
    left: list[Piece] = []
    right: list[Piece] = []
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    shared = sum(len(word) for m in matcher.get_matching_blocks() for word in a[m.a : m.a + m.size] if not word.isspace())
    if shared < _ALIKE * max(_letters(a), _letters(b)):
        return [(ours, False)], [(theirs, False)]
    for what, a0, a1, b0, b1 in matcher.get_opcodes():
        _extend(left, "".join(a[a0:a1]), differs=what != "equal")
        _extend(right, "".join(b[b0:b1]), differs=what != "equal")
    return left, right


def _letters(words: list[str]) -> int:
    return sum(len(word) for word in words if not word.isspace())


def _extend(pieces: list[Piece], text: str, *, differs: bool) -> None:
    """Add text; white space alone between two differences belongs to them."""
    if not text:
        return
    if len(pieces) > 1 and differs and pieces[-1][0].isspace() and pieces[-2][1]:
        blank, _ = pieces.pop()
        before, _ = pieces.pop()
        text = before + blank + text
    pieces.append((text, differs))
