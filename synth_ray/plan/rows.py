"""Streams the rows of a file with their line numbers. A bad row becomes a reason; an unreadable file raises JobError."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.errors import JobError
from synth_ray.records import Reason

_BLOCK = 1 << 20
_MAX_FIELD_BYTES = 1 << 27


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file. `line` is the line on which it begins; for Parquet and JSON arrays, its number."""

    line: int
    value: Any


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that could not be read. `detail` gives type and length, never text."""

    line: int
    reason: Reason
    detail: str


Rows = Iterator[Row | BadRow]


def format_of(path: str) -> str:
    """The format by the file's extension. Raises JobError for an unknown one."""
    endings = {"jsonl": "jsonl", "ndjson": "jsonl", "json": "json", "csv": "csv", "parquet": "parquet", "pq": "parquet"}
    ending = path.rsplit(".", 1)[-1].lower()
    if ending not in endings:
        raise JobError(f"seeds: {path}: wanted a file ending in {', '.join(endings)}, got another; name its format")
    return endings[ending]


def rows_of(file: BinaryIO, *, kind: str, path: str) -> Rows:
    """Read one open file in bounded memory, except for a single huge row."""
    readers: dict[str, Callable[[BinaryIO, str], Rows]] = {"jsonl": _jsonl, "json": _json, "csv": _csv, "parquet": _parquet}
    return readers[kind](file, path)


def _jsonl(file: BinaryIO, path: str) -> Rows:
    for line, data in enumerate(file, 1):
        data = data.removeprefix(codecs.BOM_UTF8) if line == 1 else data
        if data.strip():
            yield _parsed(line, data)


def _parsed(line: int, data: bytes) -> Row | BadRow:
    try:
        return Row(line, json.loads(data.decode("utf-8")))
    except UnicodeDecodeError as error:
        return BadRow(line, Reason.INVALID_UTF8, f"{len(data)} bytes, not UTF-8 at byte {error.start}")
    except (ValueError, RecursionError):
        return BadRow(line, Reason.BROKEN_JSON, f"{len(data)} bytes that are not JSON")


def _json(file: BinaryIO, path: str) -> Rows:
    """The elements of a JSON array, one by one. Raises JobError for anything else, such as one object per line."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
    buffer = text.read(_BLOCK).lstrip()
    if not buffer.startswith("["):
        raise JobError(f"seeds: {path}: wanted a JSON array, got something else; for one object per line set format: jsonl")
    yield from _elements(text, buffer[1:], path)


def _elements(text: io.TextIOBase, buffer: str, path: str) -> Rows:
    decoder, number, ended = json.JSONDecoder(), 0, False
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(buffer)
            complete = ended or end < len(buffer)
        except (ValueError, RecursionError):
            complete = False
        if complete:
            number += 1
            yield _without_lone_surrogates(number, value)
            buffer = buffer[end:]
            continue
        more = "" if ended else text.read(max(_BLOCK, len(buffer)))
        if not more and (ended or not buffer.strip()):
            # After a broken element it is unknown where the next one begins: it becomes one bad row, and reading ends here.
            yield BadRow(
                number + 1, Reason.BROKEN_JSON, f"{len(buffer)} characters that are not JSON, or an array without its end"
            )
            return
        ended, buffer = not more, buffer + more


def _without_lone_surrogates(number: int, value: Any) -> Row | BadRow:
    text = json.dumps(value, ensure_ascii=False)
    if any("\udc80" <= c <= "\udcff" for c in text):
        return BadRow(number, Reason.INVALID_UTF8, f"{len(text)} characters, some bytes not UTF-8")
    return Row(number, value)


def _csv(file: BinaryIO, path: str) -> Rows:
    csv.field_size_limit(_MAX_FIELD_BYTES)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader((line.replace("\0", "\ufffd") for line in text), strict=True)
    header = _header(reader, path)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield BadRow(line, Reason.WRONG_TYPE, "a CSV row whose quotes do not close")
            continue
        if cells:
            yield _record(line, header, cells)


def _header(reader: Iterator[list[str]], path: str) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error:
        raise JobError(
            f"seeds: {path}: wanted a CSV file with a header line, got a first line whose quotes do not close"
        ) from None
    if not header:
        raise JobError(f"seeds: {path}: wanted a CSV file with a header line, got an empty file")
    return header


def _record(line: int, header: list[str], cells: list[str]) -> Row | BadRow:
    if any("\udc80" <= c <= "\udcff" for cell in cells for c in cell):
        return BadRow(line, Reason.INVALID_UTF8, f"{len(cells)} cells, some bytes not UTF-8")
    if len(cells) != len(header):
        return BadRow(line, Reason.WRONG_TYPE, f"{len(cells)} cells where the header has {len(header)}")
    return Row(line, dict(zip(header, cells, strict=True)))


def _parquet(file: BinaryIO, path: str) -> Rows:
    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                number += 1
                yield Row(number, value)
    except pa.ArrowInvalid:
        raise JobError(f"seeds: {path}: wanted a Parquet file, got something else or a broken one") from None
