"""Replace findings by placeholders that are the same for the same value within one record."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Span = tuple[int, int, str]
"""(start, end, entity) in characters of the text."""

Find = Callable[[str], Sequence[Span]]

_SHORT = {"EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "US_SSN": "SSN", "IP_ADDRESS": "IP"}
_FIRST = ("CREDIT_CARD", "IBAN_CODE", "EMAIL_ADDRESS", "CRYPTO", "US_SSN", "PHONE_NUMBER", "IP_ADDRESS")


@dataclass(slots=True)
class Record:
    """The placeholders of one record, and how often each entity was found."""

    find: Find
    counts: Counter[str] = field(default_factory=Counter)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)

    def text(self, text: str) -> str:
        """The text with every finding replaced."""
        parts, last = [], 0
        for start, end, entity in union(self.find(text)):
            parts += [text[last:start], self._name(entity, text[start:end])]
            self.counts[entity] += 1
            last = end
        return "".join([*parts, text[last:]]) if parts else text

    def value(self, value: Any) -> Any:
        """Any nested JSON value, with every string leaf replaced."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner) for inner in value]
        return value

    def _name(self, entity: str, found: str) -> str:
        key = (entity, _same(entity, found))
        if key not in self._names:
            self._numbers[entity] += 1
            self._names[key] = f"<{_SHORT.get(entity, entity)}_{self._numbers[entity]}>"
        return self._names[key]


def union(spans: Sequence[Span]) -> list[Span]:
    """Overlapping findings as one: it covers them all and takes the name of the most telling entity."""
    joined: list[Span] = []
    for start, end, entity in sorted(spans):
        if joined and start < joined[-1][1]:
            before = joined[-1]
            joined[-1] = (before[0], max(before[1], end), min(before[2], entity, key=_rank))
        else:
            joined.append((start, end, entity))
    return joined


def _rank(entity: str) -> tuple[int, str]:
    return (_FIRST.index(entity) if entity in _FIRST else len(_FIRST), entity)


def _same(entity: str, found: str) -> str:
    """Writings of one value that deserve one placeholder."""
    if entity in ("PHONE_NUMBER", "CREDIT_CARD", "US_SSN"):
        return re.sub(r"[^\d+]", "", found)
    return re.sub(r"\s", "", found).casefold()
