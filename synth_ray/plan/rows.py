"""Cuts a file into pieces of rows with their line numbers. A bad row becomes a reason; an unreadable file raises JobError."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO
from urllib.parse import urlsplit

import pyarrow as pa

from synth_ray.errors import JobError
from synth_ray.plan.csv_rows import csv_rows
from synth_ray.plan.json_rows import cut_lines, json_rows, rows_of_lines
from synth_ray.plan.parquet_rows import parquet_batches, rows_of_batch
from synth_ray.plan.plain import BadRow, Row, Rows
from synth_ray.plan.unpack import PACKED_ENDINGS, unpacked_file, unpacked_text

_PIECE_BYTES = 1 << 20
_PIECE_ROWS = 256
_FORMATS = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "json",
    "csv": "csv",
    "tsv": "csv",
    "parquet": "parquet",
    "pq": "parquet",
}


def format_of(path: str) -> str:
    """The format by the file's extension. Raises JobError for an unknown one."""
    ending = _ending(path)
    if ending not in _FORMATS:
        raise JobError(f"{path}: wanted a file ending in {', '.join(_FORMATS)}, got another; name its format")
    return _FORMATS[ending]


def is_data(path: str) -> bool:
    """Whether the ending is that of a known format, compressed or not."""
    return _ending(path) in _FORMATS


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of JSONL, from line `first` on."""

    first: int
    data: bytes

    def rows(self) -> Rows:
        return rows_of_lines(self.first, self.data)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of Parquet, from row `first` on."""

    first: int
    batch: pa.RecordBatch

    def rows(self) -> Rows:
        return rows_of_batch(self.first, self.batch)


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows that only who reads the whole file in order can tell apart."""

    listed: list[Row | BadRow]

    @property
    def first(self) -> int:
        return self.listed[0].line

    def rows(self) -> Rows:
        return iter(self.listed)


Piece = Lines | Batch | Listed
"""A part of a file, cheap to cut: another process can make rows of it."""


def pieces_of(
    file: BinaryIO,
    *,
    kind: str,
    path: str,
    delimiter: str = "",
    columns: Collection[str] = (),
    piece_bytes: int = _PIECE_BYTES,
    piece_rows: int = _PIECE_ROWS,
) -> Iterator[Piece]:
    """Cut one open file into pieces, in bounded memory, except for a single huge row. Every row is of plain values.

    `columns`, if any, are all that the reader of a row looks at: others need not be read. Pieces of JSONL have about
    `piece_bytes`, of CSV and JSON `piece_rows`. Raises JobError.
    """
    if kind == "parquet":
        yield from (Batch(*part) for part in parquet_batches(unpacked_file(file, path), path, columns))
        return
    text = unpacked_text(file, path)
    if kind == "jsonl":
        yield from (Lines(*part) for part in cut_lines(text, path, piece_bytes=piece_bytes))
        return
    tab_or_comma = "\t" if _ending(path) == "tsv" else ","
    rows = json_rows(text, path) if kind == "json" else csv_rows(text, path, delimiter, tab_or_comma)
    while listed := list(islice(rows, piece_rows)):
        yield Listed(listed)


def _ending(path: str) -> str:
    name = urlsplit(path).path if "://" in path else path
    parts = name.lower().rsplit("/", 1)[-1].split(".")
    if len(parts) > 2 and parts[-1] in PACKED_ENDINGS:
        parts.pop()
    return parts[-1] if len(parts) > 1 else ""
