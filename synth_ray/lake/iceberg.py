"""Iceberg: the parts as they are become the data files of one snapshot. The only file that knows pyiceberg.

Our files have no field ids and no column `split`: ids come from the table's name mapping, and `split` from the partition value,
which `add_files` would leave null. So each DataFile is made here, from the file's own footer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from synth_ray.errors import JobError
from synth_ray.job.sinks import Sink
from synth_ray.lake.contract import DIGEST, Part, Shape, Version
from synth_ray.lake.libraries import Server, committing, library, refuse_foreign, scheme_of, told
from synth_ray.lake.parts import read_footer

_PACKAGE = "pyiceberg"
_OURS = {"commit.retry.num-retries": "0"}
"""pyiceberg would carry a lost commit over to the next state of the table, and the same version would be in it twice."""


class IcebergTable:
    """See `contract.Table`. Atomic is the catalog's swap of the metadata's address."""

    copies = False

    def __init__(self, sink: Sink, root: str, server: Server) -> None:
        self.address = sink.label()
        server.refuse_other_server(root)
        self._root = _root_for_readers(root)
        self._name = sink.table
        self._table: Any = None
        properties = server.for_pyiceberg() | sink.catalog.for_pyiceberg()
        module = library("pyiceberg.catalog", package=_PACKAGE)
        library("pyiceberg.io.pyarrow", package=_PACKAGE)
        try:
            self._catalog = module.load_catalog(sink.catalog.name, **properties)
        except (ValueError, ImportError) as error:
            raise self._no_catalog(sink, error) from None
        except Exception:  # a catalog that is asked at once, as REST's are
            with told(self.address):
                raise

    def _no_catalog(self, sink: Sink, error: Exception) -> JobError:
        what = "its client's package" if isinstance(error, ImportError) else "no type or address of it"
        return JobError(
            f"{self.address}: wanted a catalog, got one that pyiceberg cannot open ({what}); give catalog.type and "
            f"catalog.uri, or describe '{sink.catalog.name}' in .pyiceberg.yaml"
        )

    def check(self, shape: Shape) -> None:
        self._load()
        if self._table is None:
            with told(self.address):
                self._catalog.list_namespaces()
            return
        transaction = self._table.transaction()
        self._refuse_other_partitions(shape)
        self._evolve(transaction, shape)

    def find(self, version: Version) -> str | None:
        self._load()
        snapshot = self._table.current_snapshot() if self._table is not None else None
        if snapshot is None:
            return None
        shown = (snapshot.summary.additional_properties if snapshot.summary else {}).get(DIGEST)
        # A compaction's snapshot has no digest, and the rows of the one before it.
        is_shown = (shown or self._table.properties.get(DIGEST)) == version.dataset_digest
        return str(snapshot.snapshot_id) if is_shown and self._is_whole(version) else None

    def _is_whole(self, version: Version) -> bool:
        """Whether all rows are there, in files of this dataset, or of a compaction, rather than in those of a copy elsewhere."""
        with told(self.address):
            tasks = list(self._table.scan().plan_files())
            places = (f"{self._root}/", f"{self._table.location().rstrip('/')}/")
        is_here = all(task.file.file_path.startswith(places) and not task.delete_files for task in tasks)
        return is_here and sum(task.file.record_count for task in tasks) == version.rows

    def register(self, version: Version, before_commit: Callable[[], None]) -> None:
        with told(self.address):
            transaction = self._transaction(version.shape)
            mapping = transaction.table_metadata.schema().name_mapping.model_dump_json()
            transaction.set_properties(_OURS | version.properties | {"schema.name-mapping.default": mapping})
            self._swap_files(transaction, version)
        before_commit()
        with committing(self.address):
            transaction.commit_transaction()

    def _load(self) -> None:
        """Read the table's present state; None where there is none."""
        missing = library("pyiceberg.exceptions", package=_PACKAGE)
        with told(self.address):
            try:
                self._table = self._catalog.load_table(self._name)
            except (missing.NoSuchTableError, missing.NoSuchNamespaceError):
                self._table = None
                return
        if self._table.current_snapshot() is not None and DIGEST not in self._table.properties:
            raise refuse_foreign(self.address)

    def _transaction(self, shape: Shape) -> Any:
        """A transaction whose table has these columns. A new table is created by the same commit as its first version."""
        if self._table is not None:
            self._refuse_other_partitions(shape)
            transaction = self._table.transaction()
            self._evolve(transaction, shape)
            return transaction
        with committing(self.address):  # both lose against another registrar of the first version
            if self._catalog.namespace_exists(self._namespace) is False:
                self._catalog.create_namespace_if_not_exists(self._namespace)
            transaction = self._catalog.create_table_transaction(self._name, schema=shape.schema)
        with transaction.update_spec() as spec:
            for column in shape.partition_by:
                spec.add_identity(column)
        return transaction

    @property
    def _namespace(self) -> str:
        return self._name.rpartition(".")[0]

    def _refuse_other_partitions(self, shape: Shape) -> None:
        schema, spec = self._table.schema(), self._table.spec()
        names = [schema.find_column_name(field.source_id) for field in spec.fields]
        identities = all(str(field.transform) == "identity" for field in spec.fields)
        if names != list(shape.partition_by) or not identities:
            raise JobError(
                f"{self.address}: wanted a table partitioned by {', '.join(shape.partition_by)}, got "
                f"{', '.join(names) or 'none'}; name another table, or drop this one"
            )

    def _evolve(self, transaction: Any, shape: Shape) -> None:
        """The columns of this version: new ones are added, those that it lacks are dropped. Earlier snapshots keep theirs."""
        exceptions = library("pyiceberg.exceptions", package=_PACKAGE)
        try:
            with transaction.update_schema() as update:
                update.union_by_name(shape.schema)
                for name in (field.name for field in self._table.schema().fields):
                    if name not in shape.schema.names:
                        update.delete_column(name)
        except (exceptions.ValidationError, ValueError, TypeError):
            raise JobError(
                f"{self.address}: wanted columns that the table can take, got one of another type than it has; name another "
                "table, or drop this one"
            ) from None

    def _swap_files(self, transaction: Any, version: Version) -> None:
        """One snapshot: parts of the version that are not there come in, all other files go."""
        urls = {f"{self._root}/{part.path}": part for part in version.parts}
        there = self._files_there()
        new = {url: part for url, part in urls.items() if url not in there}
        files = list(_data_files(version, new, transaction.table_metadata))
        overwrite = transaction.update_snapshot(snapshot_properties=version.properties).overwrite
        with committing(self.address), overwrite() as snapshot:  # writes the snapshot's own files
            for url, file in there.items():
                if url not in urls:
                    snapshot.delete_data_file(file)
            for file in files:
                snapshot.append_data_file(file)

    def _files_there(self) -> dict[str, Any]:
        if self._table is None or self._table.current_snapshot() is None:
            return {}
        return {task.file.file_path: task.file for task in self._table.scan().plan_files()}


def _root_for_readers(root: str) -> str:
    """The dataset's root as Iceberg's readers open it. Raises JobError for one that they cannot open."""
    if any(mark in root for mark in "#?"):
        raise JobError(f"{root}: wanted an address without # and ? for an Iceberg table, got one with; name another output")
    if not scheme_of(root):
        return root if root.startswith("file://") else f"file://{root}"
    if not root.startswith("az://"):
        return root
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise JobError(
            f"{root}: wanted the storage account, which an Iceberg table names with each file, got none; set "
            "AZURE_STORAGE_ACCOUNT_NAME, or write abfss://container@account.dfs.core.windows.net/prefix"
        )
    container, _, path = root.removeprefix("az://").partition("/")
    return f"abfss://{container}@{account}.dfs.core.windows.net/{path}".rstrip("/")


def _data_files(version: Version, parts: Mapping[str, Part], metadata: Any) -> Iterator[Any]:
    io = library("pyiceberg.io.pyarrow", package=_PACKAGE)
    manifest = library("pyiceberg.manifest", package=_PACKAGE)
    record = library("pyiceberg.typedef", package=_PACKAGE).Record
    schema = metadata.schema()
    plan, ids = io.compute_statistics_plan(schema, metadata.properties), io.parquet_path_to_id_mapping(schema)
    for url, part in parts.items():
        footer = read_footer(version, part)
        statistics = io.data_file_statistics_from_parquet_metadata(
            parquet_metadata=footer, stats_columns=_without(_unmeasured(footer, ids), plan), parquet_column_mapping=ids
        )
        yield manifest.DataFile.from_args(
            content=manifest.DataFileContent.DATA,
            file_path=url,
            file_format=manifest.FileFormat.PARQUET,
            partition=record(*(part.partition[name] for name in version.shape.partition_by)),
            file_size_in_bytes=part.size_bytes,
            sort_order_id=None,
            spec_id=metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )


def _unmeasured(footer: Any, ids: Mapping[str, int]) -> set[int]:
    """The columns of which the file has no minimum and maximum, such as long texts: pyiceberg would warn of each."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(footer.num_columns)]
    return {ids[column.path_in_schema] for column in columns if not column.is_stats_set}


def _without(columns: set[int], plan: Mapping[int, Any]) -> dict[int, Any]:
    modes = library("pyiceberg.io.pyarrow", package=_PACKAGE)
    none = modes.MetricsMode(modes.MetricModeTypes.NONE)
    return {id_: replace(measured, mode=none) if id_ in columns else measured for id_, measured in plan.items()}
