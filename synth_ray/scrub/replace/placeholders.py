"""Placeholders: each value of a record becomes <ENTITY_n>, the same value the same placeholder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from synth_ray.scrub.text_view import plain_form

LABELS = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "US_ITIN": "ITIN",
    "US_PASSPORT": "PASSPORT",
    "US_BANK_NUMBER": "BANK_ACCOUNT",
    "US_DRIVER_LICENSE": "DRIVER_LICENSE",
    "UK_NHS": "NHS",
    "IP_ADDRESS": "IP",
    "MAC_ADDRESS": "MAC",
    "DATE_TIME": "DATE",
}

PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]{0,59})_([0-9]{1,9}|[a-p]{12})>")
"""A placeholder or an opaque surrogate. A scrub writes these and never changes them."""


class Replacer(Protocol):
    """Maps each value of one record to its replacement. `alone`: no sign ties the value to the text on either side."""

    def __call__(self, entity: str, value: str, *, alone: bool = True) -> str: ...


class Placeholders:
    """Numbers the values of each entity in order of appearance, and skips numbers that the record already contains."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._placeholders: dict[tuple[str, str], str] = {}
        self._last_number: dict[str, int] = {}
        self._existing = frozenset(_placeholders_in(texts))

    def __call__(self, entity: str, value: str, *, alone: bool = True) -> str:
        key = (entity, normal_form(entity, value))
        if key not in self._placeholders:
            label = LABELS.get(entity, entity)
            number = self._last_number.get(label, 0) + 1
            while f"<{label}_{number}>" in self._existing:
                number += 1
            self._last_number[label] = number
            self._placeholders[key] = f"<{label}_{number}>"
        return self._placeholders[key]


def _placeholders_in(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if "<" in text:
            yield from (m[0] for m in PLACEHOLDER.finditer(text))


_DIGITS_ONLY = frozenset({"PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "US_ITIN", "US_BANK_NUMBER", "UK_NHS"})
_CASELESS = frozenset({"EMAIL_ADDRESS", "IBAN_CODE", "MAC_ADDRESS", "IP_ADDRESS", "UUID"})
_NOT_DIGIT = re.compile(r"[^0-9]+")
_NOT_WORD = re.compile(r"[\W_]+")


def normal_form(entity: str, value: str) -> str:
    """A form that different spellings of a value share: only the digits of a phone number, an address in lower case."""
    value = value if value.isascii() else plain_form(value)
    if entity in _DIGITS_ONLY:
        return _NOT_DIGIT.sub("", value) or value
    if entity == "IBAN_CODE":
        return _NOT_WORD.sub("", value).upper()
    value = value.strip()
    return value.lower() if entity in _CASELESS else value
