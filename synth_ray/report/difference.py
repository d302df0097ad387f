"""Which words of two texts differ."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_MOST = 400
"""Words that are compared: the time grows with their square."""

Piece = tuple[str, bool]
"""A stretch of text, and whether the other text lacks it."""


def differences(ours: str, theirs: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces. Law: the pieces of a side join to its text; equal texts have no piece that differs."""
    a, b = _TOKEN.findall(ours), _TOKEN.findall(theirs)
    if max(len(a), len(b)) > 2 * _MOST:
        return [(ours, False)], [(theirs, False)]
    left: list[Piece] = []
    right: list[Piece] = []
    for what, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        _extend(left, "".join(a[a0:a1]), differs=what != "equal")
        _extend(right, "".join(b[b0:b1]), differs=what != "equal")
    return left, right


def _extend(pieces: list[Piece], text: str, *, differs: bool) -> None:
    """Add text; white space alone between two differences belongs to them."""
    if not text:
        return
    if len(pieces) > 1 and differs and pieces[-1][0].isspace() and pieces[-2][1]:
        blank, _ = pieces.pop()
        before, _ = pieces.pop()
        text = before + blank + text
    pieces.append((text, differs))
