"""Rows of CSV with a header line. A quote that does not close costs its own line, and not those behind it."""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Iterator
from typing import BinaryIO

from synth_ray.errors import JobError
from synth_ray.plan.plain import BadRow, Row, Rows, plain_row
from synth_ray.records import Reason

_MAX_FIELD_BYTES = 1 << 27
_MAX_LINES = 10_000  # of one row: beyond it a quote is taken for a stray one
_SEPARATORS = {",": '","', ";": '";"', "\t": '"\\t"', "|": '"|"'}
_SHOWN_NAMES = 12


def csv_rows(file: BinaryIO, path: str, delimiter: str, usual: str = ",") -> Rows:
    """One row for every record; cells are text. `delimiter` "" is the usual one, and another in the header is an error."""
    csv.field_size_limit(_MAX_FIELD_BYTES)
    lines = _Lines(io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline=""))
    header = _header(lines, path, delimiter, usual)
    astray = False
    while (line := lines.peek()) is not None:
        number = lines.number
        cells, count = _record(lines, delimiter or usual)
        if cells is None:
            astray = True
            yield BadRow(number, Reason.WRONG_TYPE, f"a stray quote, its end sought in {count} lines; read on at the next")
        elif astray and count == 1 and line.count('"') % 2:
            yield BadRow(number, Reason.WRONG_TYPE, "what a stray quote left over")
        elif cells:
            row = _row(number, count, header, cells)
            astray = astray and isinstance(row, BadRow)
            yield row


class _Lines:
    """Physical lines with their numbers, which can be given back."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = (line.replace("\0", "\ufffd") for line in text)
        self._returned: deque[str] = deque()
        self.number = 1
        """The number of the next line."""

    def peek(self) -> str | None:
        if not self._returned:
            self._returned.extend(line for line in [next(self._text, None)] if line is not None)
        return self._returned[0] if self._returned else None

    def take(self, taken: list[str]) -> Iterator[str]:
        """Lines one by one, which are added to `taken` too."""
        while len(taken) < _MAX_LINES and (line := self.peek()) is not None:
            self._returned.popleft()
            self.number += 1
            taken.append(line)
            yield line

    def give_back(self, taken: list[str]) -> None:
        self._returned.extendleft(reversed(taken))
        self.number -= len(taken)


def _record(lines: _Lines, delimiter: str) -> tuple[list[str] | None, int]:
    """The next record's cells and number of lines. No cells where a quote is astray: then only the first line is used up."""
    taken: list[str] = []
    try:
        return next(csv.reader(lines.take(taken), delimiter=delimiter, strict=True)), len(taken)
    except csv.Error:
        lines.give_back(taken[1:])
        return None, len(taken)


def _header(lines: _Lines, path: str, delimiter: str, usual: str) -> list[str]:
    while (first := lines.peek()) is not None and not first.strip("\r\n"):
        _record(lines, usual)
    if first is None:
        raise JobError(f"{path}: wanted a CSV file with a header line, got an empty file")
    if not delimiter:
        _refuse_other_separator(first, path, usual)
    header, _ = _record(lines, delimiter or usual)
    if header is None:
        raise JobError(f"{path}: wanted a CSV file with a header line, got a first line whose quotes do not close")
    if any("\ud800" <= c <= "\udfff" for name in header for c in name):
        raise JobError(f"{path}: wanted a header line in UTF-8, got another encoding; convert the file to UTF-8")
    twice = [name for name, n in Counter(header).items() if n > 1]
    if twice:
        raise JobError(f"{path}: wanted a name for each column, got '{_shown(twice)}' twice in the header; rename one of them")
    return header


def _refuse_other_separator(first: str, path: str, usual: str) -> None:
    columns = {separator: _columns(first, separator) for separator in _SEPARATORS}
    other = max(columns, key=lambda separator: (len(columns[separator]), separator == usual))
    if other != usual:
        raise JobError(
            f"{path}: wanted columns separated by {_SEPARATORS[usual]}, got a header with more of another separator, and the "
            f"columns '{_shown(columns[other])}'; set delimiter: {_SEPARATORS[other]}, or {_SEPARATORS[usual]} if it is that"
        )


def _columns(first: str, separator: str) -> list[str]:
    return next(csv.reader([first], delimiter=separator), [])


def _shown(names: list[str]) -> str:
    return "', '".join(name[:60] for name in names[:_SHOWN_NAMES])


def _row(line: int, count: int, header: list[str], cells: list[str]) -> Row | BadRow:
    if len(cells) != len(header):
        over = f" over {count} lines" if count > 1 else ""
        return BadRow(line, Reason.WRONG_TYPE, f"{len(cells)} cells{over} where the header has {len(header)}", count)
    return plain_row(line, dict(zip(header, cells, strict=True)))
