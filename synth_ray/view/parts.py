"""The Parquet parts of a version, as DuckDB reads them.

DuckDB reads them through `listed_files`, which is the storage seam, so that a disk and a bucket work alike, as fast as by itself.
It reads only the columns that a query names, skips row groups by their statistics, and stops at a full page. A dataset of pyarrow
registered in DuckDB would give neither the number of a row in its file nor a search in text; a copy on this disk takes too long.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from threading import Semaphore
from typing import Any

from synth_ray.dataset.manifest import File, Manifest
from synth_ray.errors import MissingResource, StorageError
from synth_ray.storage import Storage
from synth_ray.view.listed_files import ListedFiles, address_of
from synth_ray.view.query import BOOL, NUMBER, OTHER, TEXT, Source

READ = "read_parquet(?, hive_partitioning = false)"
"""The rows of the files that are bound to its question mark. DuckDB adds `file_index`, in their list, and `file_row_number`.

Columns that are folders, too, are read from the files: from a folder's name DuckDB would take 7 for a number, and no null.
"""

_QUERIES_AT_ONCE = 2
_CLOSE_S = 5.0
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_KINDS = {"VARCHAR": TEXT, "BOOLEAN": BOOL, **dict.fromkeys((*_NUMBERS, "FLOAT", "DOUBLE"), NUMBER)}


class Parts:
    """Answers SQL about the parts; safe for many threads. `kinds` has each column's kind, `files` the order of positions.

    Raises MissingResource without DuckDB, StorageError when a part cannot be read. `close` it; a query that runs then fails.
    """

    def __init__(self, storage: Storage, manifest: Manifest) -> None:
        duckdb = _duckdb()
        self.files = (*manifest.files, *manifest.rejected_files)
        self.index = {file.path: n for n, file in enumerate(self.files)}
        self._url = storage.url
        self._listed = ListedFiles(storage, self.files)
        self._turn = Semaphore(_QUERIES_AT_ONCE)
        self._running: set[Any] = set()
        self._error = duckdb.Error
        self._connection: Any = duckdb.connect(
            config={"temp_directory": "", "autoinstall_known_extensions": False, "autoload_known_extensions": False}
        )
        self._connection.register_filesystem(self._listed)
        self._connection.execute("SET parquet_metadata_cache = true; SET lock_configuration = true")
        both = ((manifest.files, True), (manifest.rejected_files, False))
        self.sources = [self._source(files, accepted) for files, accepted in both if files]
        self.kinds: dict[str, str] = {"split": TEXT, "verdict": TEXT}
        for source in self.sources:
            self.kinds = {**source.columns, **self.kinds}

    def close(self) -> None:
        """Stop what runs, and let go of DuckDB: threads that still wait for a browser would keep it to the interpreter's end."""
        for cursor in list(self._running):
            cursor.interrupt()
        for _ in range(_QUERIES_AT_ONCE):
            self._turn.acquire(timeout=_CLOSE_S)
        connection, self._connection = self._connection, None
        connection.close()
        self._turn.release(_QUERIES_AT_ONCE)

    def _source(self, files: list[File], accepted: bool) -> Source:
        described = self.fetch(f"DESCRIBE SELECT * FROM {READ}", [addresses(files[:1])])
        return Source(tuple(files), {name: _kind(kind) for name, kind, *_ in described}, accepted)

    def fetch(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with self._turn:
            if self._connection is None:
                raise StorageError(f"{self._url}: wanted rows, got none: the view was ended")
            with self._connection.cursor() as cursor:
                self._running.add(cursor)
                try:
                    return list(cursor.execute(sql, values).fetchall())
                except self._error as error:
                    raise StorageError(self._listed.take_fault() or self._unreadable(error)) from None
                finally:
                    self._running.discard(cursor)

    def _unreadable(self, error: Exception) -> str:
        return (
            f"{self._url}: wanted the parts that the manifest lists, got some that cannot be read ({type(error).__name__}); "
            "restore them, or run the job again"
        )


def addresses(files: Iterable[File]) -> list[str]:
    return [address_of(file) for file in files]


def _duckdb() -> Any:
    try:
        return importlib.import_module("duckdb")
    except ImportError:
        raise MissingResource(
            "view: wanted the package duckdb, got none; install it, as `pip install 'synth-ray[view]'` does"
        ) from None


def _kind(duckdb_type: str) -> str:
    return NUMBER if duckdb_type.startswith("DECIMAL") else _KINDS.get(duckdb_type, OTHER)
