"""Texts in which nothing was found, so that none is read twice: a system prompt stands in every row, a seed in many."""

from __future__ import annotations

_KEPT = 4_000_000  # characters, twice at most: some ten thousand texts of a paragraph
_LONGEST = _KEPT // 16


class Clean:
    """Knows the last texts it was told of, as many as fit; of those that are longer than a sixteenth of it, none."""

    def __init__(self) -> None:
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._held = 0

    def has(self, text: str) -> bool:
        return text in self._new or text in self._old

    def add(self, text: str) -> None:
        if len(text) > _LONGEST:
            return
        self._held += len(text)
        if self._held > _KEPT:
            self._new, self._old, self._held = set(), self._new, len(text)
        self._new.add(text)
