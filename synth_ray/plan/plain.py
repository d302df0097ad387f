"""Plain values: what JSON holds and every reader of it reads back. Every row of every format is made of these alone.

One rule for all formats: text, whole numbers of up to 64 bits, finite numbers, booleans, null, lists, and objects with text keys
stay what they are. NaN and the infinities become null; a whole number of more than 64 bits becomes its digits, as text. A lone
surrogate, an unreadable value or nesting beyond `MAX_DEPTH` rejects the row. `arrow_values` brings Arrow's other types here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from synth_ray.records import Reason

MAX_DEPTH = 100
"""Levels of nesting. Deeper rows exhaust the stack of one JSON reader or another."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file. `line` is the line on which it begins; for Parquet and `.json`, its number."""

    line: int
    value: Any


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that could not be read, over `lines` lines. `detail` gives type and length, never text."""

    line: int
    reason: Reason
    detail: str
    lines: int = 1


Rows = Iterator[Row | BadRow]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In the place of a value that cannot be read: its row is rejected."""

    reason: Reason
    detail: str


class _NotPlain(Exception):
    def __init__(self, why: Unreadable) -> None:
        self.why = why


def plain_row(line: int, value: Any) -> Row | BadRow:
    """A row of plain values, or a bad row where that cannot be."""
    try:
        return Row(line, _plain(value, MAX_DEPTH))
    except _NotPlain as error:
        return BadRow(line, error.why.reason, error.why.detail)


def object_of(pairs: list[tuple[Any, Any]]) -> Any:
    """An object where the keys are texts that differ, else a list of [key, value]."""
    names = {key for key, _ in pairs if isinstance(key, str)}
    return dict(pairs) if len(names) == len(pairs) else [list(pair) for pair in pairs]


def _plain(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Unreadable):
        raise _NotPlain(value)
    if levels == 0:
        raise _NotPlain(Unreadable(Reason.BROKEN_JSON, f"nested more than {MAX_DEPTH} levels deep"))
    if isinstance(value, dict):
        return {_text(key): _plain(item, levels - 1) for key, item in value.items()}
    return [_plain(item, levels - 1) for item in value]


def _text(value: str) -> str:
    if value.isascii():  # known without a look at the characters
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _NotPlain(Unreadable(Reason.INVALID_UTF8, f"{len(value)} characters, some not Unicode text")) from None
    return value
