"""Streams the rows of a file with their line numbers. A bad row becomes a reason; an unreadable file raises JobError."""

from __future__ import annotations

from collections.abc import Collection
from typing import BinaryIO
from urllib.parse import urlsplit

from synth_ray.errors import JobError
from synth_ray.plan.csv_rows import csv_rows
from synth_ray.plan.json_rows import json_rows, jsonl_rows
from synth_ray.plan.parquet_rows import parquet_rows
from synth_ray.plan.plain import Rows
from synth_ray.plan.unpack import PACKED_ENDINGS, unpacked_file, unpacked_text

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


def rows_of(file: BinaryIO, *, kind: str, path: str, delimiter: str = "", columns: Collection[str] = ()) -> Rows:
    """Read one open file in bounded memory, except for a single huge row. Every row is of plain values.

    `columns`, if any, are all that the reader of a row looks at: others need not be read.
    """
    if kind == "parquet":
        return parquet_rows(unpacked_file(file, path), path, columns)
    text = unpacked_text(file, path)
    if kind == "csv":
        return csv_rows(text, path, delimiter, "\t" if _ending(path) == "tsv" else ",")
    return json_rows(text, path) if kind == "json" else jsonl_rows(text, path)


def _ending(path: str) -> str:
    name = urlsplit(path).path if "://" in path else path
    parts = name.lower().rsplit("/", 1)[-1].split(".")
    if len(parts) > 2 and parts[-1] in PACKED_ENDINGS:
        parts.pop()
    return parts[-1] if len(parts) > 1 else ""
