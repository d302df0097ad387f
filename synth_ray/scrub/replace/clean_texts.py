"""Texts in which nothing was found, so that none is read twice: a system prompt stands in every row, a seed in many."""

from __future__ import annotations

_MAX_CHARACTERS = 4_000_000  # characters, twice at most: some ten thousand texts of a paragraph
_MAX_TEXT = _MAX_CHARACTERS // 16


class CleanTextCache:
    """Knows the last texts it was told of, as many as fit; of those that are longer than a sixteenth of it, none."""

    def __init__(self) -> None:
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._new_characters = 0

    def has(self, text: str) -> bool:
        return text in self._new or text in self._old

    def add(self, text: str) -> None:
        if len(text) > _MAX_TEXT:
            return
        self._new_characters += len(text)
        if self._new_characters > _MAX_CHARACTERS:
            self._new, self._old, self._new_characters = set(), self._new, len(text)
        self._new.add(text)
