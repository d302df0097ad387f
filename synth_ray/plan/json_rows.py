"""Rows of JSON: one object per line (JSONL), or arrays and objects one behind the other in any layout (`.json`)."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from synth_ray.errors import JobError
from synth_ray.plan.plain import BadRow, Row, Rows, Unreadable, plain_row
from synth_ray.records import Reason

_BLOCK = 1 << 20
_LONGEST_64_BIT = 20
_MARK = "\ufeff"  # the byte order mark of a file that was appended to another
_SPACES, _BETWEEN = re.compile(rf"[ \t\r\n{_MARK}]*"), re.compile(rf"[ \t\r\n,{_MARK}]*")
_NEAR_THE_END = 16  # characters that a token may lack at the end of a block: `-Infinity`, `\\ud83d\\ude00`
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{},]', re.DOTALL)
_BEGINS_JSON = re.compile(rb"\s*(?:[\[{]\s*$|\[\s*\{)")
_NEXT_VALUE = re.compile(r"[\r\n][ \t]*(?=[\[{])")


def _object(pairs: list[tuple[str, Any]]) -> Any:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    return Unreadable(Reason.BROKEN_JSON, f"an object of {len(pairs)} keys, {len(pairs) - len(fields)} of them repeated")


def _whole_number(digits: str) -> Any:
    return int(digits) if len(digits) <= _LONGEST_64_BIT else digits


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole_number, parse_constant=lambda _: None)


def cut_lines(file: BinaryIO, path: str, *, piece_bytes: int) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, whole lines of about `piece_bytes`), piece after piece. Raises JobError where the first line
    begins another layout.
    """
    number, begun = 1, False
    while data := file.read(piece_bytes):
        data += file.readline()
        if not begun and (first := next((line for line in io.BytesIO(data) if line.strip()), b"")):
            begun = True
            if _BEGINS_JSON.match(first):
                raise JobError(f"{path}: wanted one JSON object per line, got an array or longer objects; set format: json")
        yield number, data
        number += data.count(b"\n")


def rows_of_lines(first: int, data: bytes) -> Rows:
    """One row for every line that is not blank."""
    return (_row_of_line(line, text) for line, text in enumerate(io.BytesIO(data), first) if text.strip())


def _row_of_line(line: int, data: bytes) -> Row | BadRow:
    try:
        return plain_row(line, _DECODER.decode(data.decode("utf-8").removeprefix(_MARK)))
    except UnicodeDecodeError as error:
        return BadRow(line, Reason.INVALID_UTF8, f"{len(data)} bytes, not UTF-8 at byte {error.start}")
    except (ValueError, RecursionError):
        return BadRow(line, Reason.BROKEN_JSON, f"{len(data)} bytes that are not one JSON value")


def json_rows(file: BinaryIO, path: str) -> Rows:
    """The elements of every array, and every object outside one, numbered through the file.

    Anything else between or behind them is a bad row. Raises JobError for a file that begins with neither.
    """
    text = _Text(io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape"))
    if text.first() not in ("", "[", "{"):
        raise JobError(f"{path}: wanted JSON arrays or objects, got something else; for one value per line set format: jsonl")
    return _values(text)


class _Text:
    """A part of a file's text: `buffer` from `at` on is not used yet. More of it is read when needed."""

    def __init__(self, source: io.TextIOBase) -> None:
        self._source = source
        self.buffer = ""
        self.at = 0
        self.ended = False

    def more(self) -> bool:
        rest = self.buffer[self.at :]
        block = "" if self.ended else self._source.read(max(_BLOCK, len(rest)))
        self.buffer, self.at, self.ended = rest + block, 0, not block
        return not self.ended

    def first(self, skipped: re.Pattern[str] = _SPACES) -> str:
        """The next character that is none of these, or "" at the end. What is skipped is used up."""
        while True:
            found = skipped.match(self.buffer, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.buffer) or not self.more():
                return self.buffer[self.at : self.at + 1]


def _values(text: _Text) -> Rows:
    number, in_array, row = 0, False, None
    while first := text.first(_BETWEEN):
        if first == ("]" if in_array else "["):
            text.at += 1
            in_array = not in_array
            continue
        number += 1
        row = _row(text, number) if in_array or first == "{" else _skipped(text, number, in_array)
        yield row
    if in_array and not isinstance(row, BadRow):
        yield BadRow(number + 1, Reason.BROKEN_JSON, "an array without its end")


def _row(text: _Text, number: int) -> Row | BadRow:
    while True:
        try:
            value, end = _DECODER.raw_decode(text.buffer, text.at)
        except json.JSONDecodeError as error:
            cut_off = error.msg.startswith("Unterminated") or error.pos >= len(text.buffer) - _NEAR_THE_END
            if not (cut_off and text.more()):
                return _skipped(text, number, in_array=True)
        except RecursionError:
            return _skipped(text, number, in_array=True)
        else:
            if end < len(text.buffer) or not text.more():  # a number at the end of a block may go on
                text.at = end
                return plain_row(number, value)


def _skipped(text: _Text, number: int, in_array: bool) -> BadRow:
    """Skip what cannot be read: up to where its brackets close, else up to a line that begins with a bracket."""
    while (end := _end_of_value(text) if in_array else _next_value(text)) is None and text.more():
        pass
    if end is None:
        end = _next_value(text) or len(text.buffer)
    length, text.at = end - text.at, end
    return BadRow(number, Reason.BROKEN_JSON, f"{length} characters that are not JSON")


def _end_of_value(text: _Text) -> int | None:
    depth = 0
    for token in _TOKEN.finditer(text.buffer, text.at):
        mark = token[0]
        if depth == 0 and mark in "]},":
            return max(token.start(), text.at + 1)
        depth += (mark in "[{") - (mark in "]}")
        if depth == 0 and mark in "]}":
            return token.end()
    return None


def _next_value(text: _Text) -> int | None:
    found = _NEXT_VALUE.search(text.buffer, text.at)
    return found.end() if found else None
