"""Rows of Parquet. A value that cannot be read costs its row; a page that cannot be read ends the reading, and is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.errors import JobError
from synth_ray.plan.arrow_values import values_of
from synth_ray.plan.plain import Rows, plain_row

_BATCH = 1024


def parquet_batches(file: BinaryIO, path: str, columns: Collection[str] = ()) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of its first row, batch), with the named columns that are there, or with all where no name is given.

    Raises JobError for a file that is broken, with the row group that is.
    """
    with _readable(path, "in its footer"):
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        names = parquet.schema_arrow.names
        _require_all_rows(parquet.metadata)
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise JobError(f"{path}: wanted a name for each column, got '{twice[0][:60]}' twice; rename one of them")
    number = 1
    for batch in _batches(parquet, path, [name for name in names if name in columns] or names):
        yield number, batch
        number += batch.num_rows


def rows_of_batch(first: int, batch: pa.RecordBatch) -> Rows:
    """Every row, by its number."""
    values = {name: values_of(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for i in range(batch.num_rows):
        yield plain_row(first + i, {name: column[i] for name, column in values.items()})


def _require_all_rows(footer: pq.FileMetaData) -> None:
    if sum(footer.row_group(i).num_rows for i in range(footer.num_row_groups)) != footer.num_rows:
        raise ValueError("the rows of the groups do not add up")


def _batches(parquet: pq.ParquetFile, path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for group in range(parquet.num_row_groups):
        missing = parquet.metadata.row_group(group).num_rows
        with _readable(path, f"in row group {group} (of {parquet.num_row_groups}, counted from 0)"):
            for batch in parquet.iter_batches(batch_size=_BATCH, row_groups=[group], columns=columns):
                missing -= batch.num_rows
                yield batch
            if missing:
                raise ValueError("fewer rows, or more, than the footer says")


@contextmanager
def _readable(path: str, place: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is not UTF-8
        raise JobError(
            f"{path}: wanted a whole Parquet file, got one that is broken {place} ({type(error).__name__}); copy it again"
        ) from None
