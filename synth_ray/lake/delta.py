"""Delta Lake: the parts as they are, by paths relative to the table's root, which is `data/`. The only file that knows deltalake.

The root is not the dataset's own: a VACUUM removes every file below a table's root that its log does not name, and below the
dataset's that would be `manifest.json`, the card and `rejected/`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from synth_ray.dataset.writer import DATA
from synth_ray.errors import JobError
from synth_ray.lake.contract import Part, Shape, Version
from synth_ray.lake.libraries import Server, committing, library, refuse_foreign, told
from synth_ray.lake.parts import read_footer

_APP = "synth_ray"
"""The application whose transaction number counts the versions. Each version has a number of its own, too. Both are in
checkpoints, so that a version is found when the log's history is cleaned up. Of two concurrent commits with numbers of one
application, one fails.
"""


class DeltaTable:
    """See `contract.Table`. Atomic is the creation of the log's next file, by a conditional write."""

    copies = False

    def __init__(self, root: str, server: Server) -> None:
        self.address = f"delta {root}/{DATA}"
        self._uri = _address(root)
        self._options = server.for_object_store(root)
        self._deltalake = library("deltalake", package="deltalake")
        self._transaction = library("deltalake.transaction", package="deltalake")
        self._table: Any = None

    def check(self, shape: Shape) -> None:
        self._load()
        self._delta_schema(shape)
        if self._table is not None:
            self._refuse_other_partitions(shape)

    def find(self, version: Version) -> str | None:
        self._load()
        if self._table is None:
            return None
        number = self._table.transaction_version(f"{_APP}/{version.dataset_digest}")
        is_shown = number is not None and number == self._table.transaction_version(_APP) and self._rows() == version.rows
        return str(self._table.version()) if is_shown else None

    def register(self, version: Version, before_commit: Callable[[], None]) -> None:
        with told(self.address):
            schema = self._delta_schema(version.shape)
            if self._table is not None:
                self._refuse_other_partitions(version.shape)
            there = self._files_there()
            for part in version.parts:
                if _path(part) not in there:
                    read_footer(version, part)
        if self._table is None:
            self._create(version, schema, before_commit)
        else:
            self._replace(version, schema, before_commit)

    def _files_there(self) -> dict[str, dict[str, Any]]:
        """The files of the log by their own paths, which it has percent-encoded."""
        if self._table is None:
            return {}
        return {unquote(action["path"]): action for action in pa.table(self._table.get_add_actions()).to_pylist()}

    def _rows(self) -> int | None:
        """The rows that the log counts; None where somebody added files without a count."""
        counts: list[int | None] = [action.get("num_records") for action in self._files_there().values()]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _load(self) -> None:
        with told(self.address):
            there = self._deltalake.DeltaTable.is_deltatable(self._uri, storage_options=self._options)
            self._table = self._deltalake.DeltaTable(self._uri, storage_options=self._options) if there else None
        if self._table is not None and self._table.transaction_version(_APP) is None and self._table.file_uris():
            raise refuse_foreign(self.address)

    def _refuse_other_partitions(self, shape: Shape) -> None:
        columns = self._table.metadata().partition_columns
        if list(columns) != list(shape.partition_by):
            raise JobError(
                f"{self.address}: wanted a table partitioned by {', '.join(shape.partition_by)}, got "
                f"{', '.join(columns) or 'none'}; remove its _delta_log/, and with it its history"
            )

    def _delta_schema(self, shape: Shape) -> Any:
        return self._deltalake.Schema.from_arrow(pa.schema([pa.field(f.name, _type(f.type)) for f in shape.schema]))

    def _create(self, version: Version, schema: Any, before_commit: Callable[[], None]) -> None:
        added, properties = [self._added(part) for part in version.parts], self._properties(version, number=1)
        before_commit()
        with committing(self.address):
            self._transaction.create_table_with_add_actions(
                self._uri,
                schema,
                added,
                mode="error",
                partition_by=list(version.shape.partition_by),
                storage_options=self._options,
                commit_properties=properties,
            )

    def _replace(self, version: Version, schema: Any, before_commit: Callable[[], None]) -> None:
        """Parts that are in both versions stay. The protocol forbids a file that one commit adds and removes."""
        there = self._files_there()
        named = {_path(part) for part in version.parts}
        changes = [self._added(part) for part in version.parts if _path(part) not in there]
        same_columns = schema == self._table.schema()
        if same_columns:  # an overwrite removes all files; only it can change the columns
            changes += [self._removed(path, action) for path, action in there.items() if path not in named]
        elif named & there.keys():
            raise JobError(f"{self.address}: wanted parts of other columns under other names, got the same; report this")
        properties = self._properties(version, number=(self._table.transaction_version(_APP) or 0) + 1)
        before_commit()
        with committing(self.address):
            self._table.create_write_transaction(
                changes,
                mode="append" if same_columns else "overwrite",
                schema=schema,
                partition_by=list(version.shape.partition_by),
                commit_properties=properties,
            )

    def _properties(self, version: Version, *, number: int) -> Any:
        numbered = [self._transaction.Transaction(app, number) for app in (_APP, f"{_APP}/{version.dataset_digest}")]
        return self._transaction.CommitProperties(
            custom_metadata=version.properties, app_transactions=numbered, max_commit_retries=0
        )

    def _added(self, part: Part) -> Any:
        return self._transaction.AddAction(
            path=_path(part),
            size=part.size_bytes,
            partition_values=dict(part.partition),
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": part.rows}),
        )

    def _removed(self, path: str, action: dict[str, Any]) -> Any:
        return self._transaction.RemoveAction(path, True, int(time.time() * 1000), action["size_bytes"], action["partition"])


def _address(root: str) -> str:
    """The table's address as a URL. Raises JobError for one with a percent, which deltalake decodes once too often."""
    refused = "%#?" if "://" in root else "%"
    if any(mark in root for mark in refused):
        raise JobError(
            f"{root}: wanted an address without {' '.join(refused)} for a Delta table, got one with; name another output"
        )
    return f"{root if '://' in root else Path(root).absolute().as_uri()}/{DATA}"


def _path(part: Part) -> str:
    return part.path.removeprefix(f"{DATA}/")


def _type(kind: pa.DataType) -> pa.DataType:
    """Delta has no half floats and no unsigned numbers: readers widen them without loss."""
    if pa.types.is_list(kind):
        return pa.list_(_type(kind.value_type))
    if pa.types.is_float16(kind):
        return pa.float32()
    return pa.int64() if pa.types.is_uint32(kind) else kind
