"""Writes the files of an export: for each split one JSONL or Parquet file, or WebDataset tar shards."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.errors import StorageError
from synth_ray.storage import Storage, Upload
from synth_ray.storage.contract import RESERVED

SHARD_ROWS = 10_000
PARQUET_ROWS = 4096


class Samples(Protocol):
    def add(self, name: str, row: dict[str, Any]) -> None:
        """`name` is the row's id."""
        ...


class ExportFiles:
    """The files of one export. A file is opened with its first row, so that a split without rows has none."""

    def __init__(self, storage: Storage, stack: ExitStack) -> None:
        self._storage, self._stack = storage, stack
        self.finished: list[str] = []
        self._tables: dict[str, pq.ParquetWriter] = {}

    def samples(self, split: str, *, tar: bool) -> Samples:
        """A writer for a split's rows."""
        return _Tar(self, split, self._stack) if tar else _Jsonl(self, split, self._stack)

    def table(self, split: str, schema: pa.Schema) -> pq.ParquetWriter:
        """The writer of a split's one Parquet file."""
        if split not in self._tables:
            out = self._stack.enter_context(self.upload(f"{split}.parquet"))
            # list columns of packed numbers: a dictionary would not pay
            self._tables[split] = pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=False)
            self._stack.callback(self._tables[split].close)
        return self._tables[split]

    def parquet(self, split: str, schema: pa.Schema) -> Samples:
        """A writer for a split's rows of this schema, in one Parquet file."""
        return _Parquet(self, split, schema, self._stack)

    def write(self, path: str, text: str) -> None:
        self._storage.write(path, text.encode())
        self.finished.append(path)

    @contextmanager
    def upload(self, path: str) -> Iterator[Upload]:
        with self._storage.upload(path) as out:
            yield out
        self.finished.append(path)


@contextmanager
def open_export(storage: Storage) -> Iterator[ExportFiles]:
    """Files of which none is left if the block fails. The JSONL files become visible when it ends."""
    made = _missing_folders(storage)
    stack = ExitStack()
    files = ExportFiles(storage, stack)
    try:
        with stack:
            yield files
    except BaseException:
        with suppress(StorageError):  # the first error is the one to tell
            for path in files.finished:
                storage.delete(path)
        for folder in made:
            with suppress(OSError):  # not made, or not empty
                folder.rmdir()
        raise


def _missing_folders(storage: Storage) -> list[Path]:
    """The folders that writing to a disk would make, from the innermost."""
    root = Path(storage.url)
    return [] if "://" in storage.url else [folder for folder in (root / RESERVED, root, *root.parents) if not folder.exists()]


def json_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")


class _Jsonl:
    def __init__(self, files: ExportFiles, split: str, stack: ExitStack) -> None:
        self._files, self._path, self._stack = files, f"{split}.jsonl", stack
        self._out: Upload | None = None

    def add(self, name: str, row: dict[str, Any]) -> None:
        if self._out is None:
            self._out = self._stack.enter_context(self._files.upload(self._path))
        self._out.write(json_line(row) + b"\n")


class _Parquet:
    """`train.parquet`. The file is whole when the export ends."""

    def __init__(self, files: ExportFiles, split: str, schema: pa.Schema, stack: ExitStack) -> None:
        self._files, self._split, self._schema, self._stack = files, split, schema, stack
        self._rows: list[dict[str, Any]] = []
        self._out: pq.ParquetWriter | None = None

    def add(self, name: str, row: dict[str, Any]) -> None:
        if self._out is None:
            self._out = self._files.table(self._split, self._schema)
            self._stack.callback(self._flush)
        self._rows.append(row)
        if len(self._rows) >= PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows and self._out is not None:
            self._out.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


class _Tar:
    """`train-000000.tar` with `<id>.json` members. The same rows always give the same bytes."""

    def __init__(self, files: ExportFiles, split: str, stack: ExitStack) -> None:
        self._files, self._split, self._outer = files, split, stack
        self._rows = self._shards = 0
        self._open: ExitStack | None = None

    def add(self, name: str, row: dict[str, Any]) -> None:
        if self._rows % SHARD_ROWS == 0:
            self._next()
        data = json_line(row)
        member = tarfile.TarInfo(f"{name}.json")
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
        self._rows += 1

    def _next(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._outer.enter_context(ExitStack())
        out = self._open.enter_context(self._files.upload(f"{self._split}-{self._shards:06d}.tar"))
        self._tar = self._open.enter_context(tarfile.open(mode="w|", fileobj=out))  # type: ignore[call-overload]  # noqa: SIM115
        self._shards += 1
