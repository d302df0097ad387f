"""Lance: files of its own, so the rows are written again, batch by batch. The only file that knows pylance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.lake.contract import DIGEST, SPLIT, CommitLost, Shape, Version
from synth_ray.lake.libraries import Server, committing, library, refuse_foreign, safe_text, told
from synth_ray.lake.parts import read_footer

_BATCH_ROWS = 1024


class LanceTable:
    """See `contract.Table`. The version is named in the schema's metadata, which no clean-up of old versions removes."""

    copies = True

    def __init__(self, address: str, server: Server) -> None:
        self.address = f"lance {address}"
        self._uri = address
        self._options = server.for_object_store(address)
        self._lance = library("lance", package="pylance")
        self._fragment = library("lance.fragment", package="pylance")
        self._table: Any = None

    def check(self, shape: Shape) -> None:
        self._load()

    def find(self, version: Version) -> str | None:
        self._load()
        if self._table is None or self._digest() != version.dataset_digest:
            return None
        with told(self.address):
            return str(self._table.version) if self._table.count_rows() == version.rows else None

    def register(self, version: Version, before_commit: Callable[[], None]) -> None:
        """The rows are copied first, into files that no version names; the commit then writes one file.

        With `max_retries=0` lance refuses a commit on any other state of the table than the one that was read.
        """
        for part in version.parts:
            read_footer(version, part)
        with told(self.address):
            transaction = self._copied(version)
        before_commit()
        with committing(self.address):
            self._lance.LanceDataset.commit(
                self._uri,
                transaction,
                storage_options=self._options,
                max_retries=0,
            )

    def _copied(self, version: Version) -> Any:
        schema = version.shape.schema.with_metadata(version.properties)
        is_new = self._table is None
        try:
            transaction = self._fragment.write_fragments(
                pa.RecordBatchReader.from_batches(schema, _batches(version, schema)),
                self._uri if is_new else self._table,
                mode="create" if is_new else "overwrite",
                storage_options=self._options,
                return_transaction=True,
            )
        except OSError as error:
            if is_new and "already exists" in str(error):  # another registrar's first version
                raise CommitLost(safe_text(error)) from None
            raise
        transaction.transaction_properties = version.properties
        return transaction

    def _load(self) -> None:
        with told(self.address):
            try:
                self._table = self._lance.dataset(self._uri, storage_options=self._options)
            except ValueError as error:
                if "was not found" not in str(error):
                    raise
                self._table = None
        if self._table is not None and self._digest() is None:
            raise refuse_foreign(self.address)

    def _digest(self) -> str | None:
        found = (self._table.schema.metadata or {}).get(DIGEST.encode())
        return found.decode() if found is not None else None


def _batches(version: Version, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of all parts with their split, at most a row group in memory."""
    columns = [name for name in schema.names if name != SPLIT]
    for part in version.parts:
        with version.storage.open_input(part.path) as file:
            for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=columns):
                split = pa.array([part.partition[SPLIT]] * batch.num_rows, pa.string())
                arrays = [split if name == SPLIT else batch.column(name) for name in schema.names]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
