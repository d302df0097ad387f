"""Two-generation cache of texts without findings: a system prompt is in every row, but is scanned only once."""

from __future__ import annotations

_MAX_CHARACTERS = 4_000_000  # characters per generation: about ten thousand paragraphs
_MAX_TEXT = _MAX_CHARACTERS // 16


class CleanTextCache:
    """Two-generation cache of texts without findings, bounded in characters. Texts longer than a sixteenth of a generation are
    not cached.
    """

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
