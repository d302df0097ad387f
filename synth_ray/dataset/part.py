"""Writes the rows of one partition to Parquet files whose boundaries depend on the rows alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.dataset.top_k import TOP_K_COLUMNS
from synth_ray.errors import StorageError
from synth_ray.storage import Storage

_COPY_BLOCK_BYTES = 8 * 2**20
_SMALLEST_CUT_BYTES = 8 * 2**20
_DICTIONARY_COLUMNS = frozenset(
    {"origin", "depth", "teacher", "revision", "recipe", "ask_digest", "finish_reason", "split", "verdict", "reason"}
)
"""Columns with few distinct values, which a dictionary compresses; in the others it would not pay."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A finished part file: `path` is relative to the dataset's root; `row_bytes` is its rows' size before Parquet."""

    path: str
    split: str
    rows: int
    size_bytes: int
    sha256: str
    row_bytes: int


@dataclass(frozen=True, slots=True)
class FileLimits:
    """When to start a new file or row group. Bytes are of rows before compression, so that they depend on the rows alone."""

    part_rows: int
    part_bytes: int
    group_rows: int
    group_bytes: int
    compression: str


class PartWriter:
    """Writes the part files of one folder.

    Law: which rows share a file or a row group does not depend on how they were batched. At most one row group is in memory. A
    part is first written to a local temporary file and then uploaded, because its name contains a digest of its bytes and a
    bucket cannot rename; a part that the store already has is not uploaded again.
    """

    def __init__(self, storage: Storage, folder: str, schema: pa.Schema, limits: FileLimits, *, split: str) -> None:
        self._storage = storage
        self._folder = folder
        self._schema = schema
        self._limits = limits
        self._split = split
        self._pending: list[pa.Table] = []
        self._group = _Count()
        self._part = _Count()
        self._file: BinaryIO | None = None
        self._writer: Any = None
        self.files: list[FileEntry] = []

    def write(self, table: pa.Table, sizes: npt.NDArray[np.int64]) -> None:
        """Append rows; `sizes` has the bytes of each."""
        start = 0
        while start < table.num_rows:
            end = start + self._rows_that_fit(sizes[start:])
            self._pending.append(table.slice(start, end - start))
            added = int(sizes[start:end].sum())
            self._group.add(end - start, added)
            self._part.add(end - start, added)
            start = end
            if self._part.is_full(self._limits.part_rows, self._limits.part_bytes):
                self._close_part()
            elif self._group.is_full(self._limits.group_rows, self._limits.group_bytes):
                self._close_group()

    def _rows_that_fit(self, sizes: npt.NDArray[np.int64]) -> int:
        """How many of these rows fit into the open row group, including the row that fills it."""
        limits, group, part = self._limits, self._group, self._part
        rows = min(limits.group_rows - group.rows, limits.part_rows - part.rows, len(sizes))
        free_bytes = min(limits.group_bytes - group.size, limits.part_bytes - part.size)
        return min(rows, int(np.searchsorted(np.cumsum(sizes[:rows]), free_bytes)) + 1)

    def close(self) -> list[FileEntry]:
        """Finish the last part. Returns every file of this folder, in order."""
        if self._part.rows:
            self._close_part()
        return self.files

    def cut(self) -> None:
        """End the part, unless it is small enough to be kept in memory until it grows."""
        if self._file is not None or self._group.size >= _SMALLEST_CUT_BYTES:
            self._close_part()

    def state(self) -> dict[str, Any]:
        """After `cut`: the files, and the rows that are in none."""
        rows = pa.concat_tables([self._schema.empty_table(), *self._pending])
        return {"files": list(self.files), "rows": table_bytes(rows), "size": self._group.size}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on after another writer's `state`, in place of whatever was written here."""
        self.abort()
        self._file = self._writer = None
        rows = table_of(state["rows"])
        self.files, self._pending = list(state["files"]), [rows] if rows.num_rows else []
        self._group, self._part = _Count(rows.num_rows, state["size"]), _Count(rows.num_rows, state["size"])

    def write_empty(self) -> FileEntry:
        """A part with the columns and no row."""
        with _translating_disk_errors():
            self._open_file()
        self._close_part()
        return self.files[0]

    def abort(self) -> None:
        """Discard the open part; none of it was visible."""
        self._pending = []
        if self._file is not None:
            with suppress(OSError):  # the write that met a full disk has already reported it
                self._writer.close()
            self._file.close()

    def _close_group(self) -> None:
        with _translating_disk_errors():
            if self._file is None:
                self._open_file()
            table = pa.concat_tables(self._pending).combine_chunks()
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._pending, self._group = [], _Count()

    def _open_file(self) -> None:
        self._file = cast(BinaryIO, tempfile.TemporaryFile(prefix="synth-ray-part-"))  # noqa: SIM115
        self._writer = pq.ParquetWriter(self._file, self._schema, **self._options())

    def _options(self) -> Mapping[str, Any]:
        short = [name for name in self._schema.names if name in _DICTIONARY_COLUMNS] + ["messages.list.element.role"]
        zstd = {"compression_level": 3} if self._limits.compression == "zstd" else {}
        return {
            "compression": self._limits.compression,
            "use_dictionary": short,
            "write_statistics": [n for n in self._schema.names if n not in _COLUMNS_WITHOUT_STATISTICS],
            "write_page_index": True,
            "use_content_defined_chunking": True,
            **zstd,
        }

    def _close_part(self) -> None:
        if self._group.rows:
            self._close_group()
        assert self._file is not None
        with self._file as file:
            with _translating_disk_errors():
                self._writer.close()
            self.files.append(self._upload(file))
        self._file = self._writer = None
        self._part = _Count()

    def _upload(self, file: BinaryIO) -> FileEntry:
        file.seek(0)
        sha256 = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
        size = file.tell()
        path = f"{self._folder}/part-{len(self.files):05d}-{sha256[:8]}.parquet"
        if not any(entry.path == path and entry.size == size for entry in self._storage.list(path)):
            file.seek(0)
            with self._storage.upload(path) as out:
                shutil.copyfileobj(file, out, _COPY_BLOCK_BYTES)
        return FileEntry(path, self._split, self._part.rows, size, sha256, self._part.size)


def table_bytes(table: pa.Table) -> bytes:
    """An Arrow stream of the table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def table_of(data: Any) -> pa.Table:
    """The table of an Arrow stream."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
        return stream.read_all()


@contextmanager
def _translating_disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            "temporary folder: wanted room for one part per folder of the dataset, got "
            f"'{os.strerror(error.errno or 0)}'; point TMPDIR at a larger disk or lower output.part_bytes, "
            "then run the same command: it goes on"
        ) from None


_COLUMNS_WITHOUT_STATISTICS = frozenset({"messages", "prompt", "completion", "fields", "detail", *TOP_K_COLUMNS})
"""Long texts and lists: minimum and maximum of such a column help no reader, and would bloat every file's footer."""


@dataclass(slots=True)
class _Count:
    rows: int = 0
    size: int = 0

    def add(self, rows: int, size: int) -> None:
        self.rows += rows
        self.size += size

    def is_full(self, rows: int, size: int) -> bool:
        return self.rows >= rows or self.size >= size
