"""Tables of every format over a disk or a bucket, and what their readers read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from synth_ray.job.sinks import Sink
from synth_ray.lake.libraries import Server
from synth_ray.storage import Retry, Storage, open_storage

FORMATS = ["iceberg", "delta", "lance"]
QUICK = Retry(budget_s=20.0, first_s=0.01, longest_s=0.05)


@dataclass(frozen=True, slots=True)
class Place:
    """A dataset's store, a sink beside it, and the server that a test may put a proxy before."""

    storage: Storage
    sink: Sink
    server: Server

    def rows(self) -> dict[str, list[str]]:
        """The ids of each split, as the format's own reader reads them."""
        return ids_by_split(read_table(self.sink, self.storage.url, self.server))

    def snapshots(self) -> list[str]:
        """The dataset digest of each snapshot of the table, the first one first."""
        return _SNAPSHOTS[self.sink.format](self)


def new_place(kind: str, root: str, catalog: Path, server_url: str | None = None) -> Place:
    """A sink of the format `kind` for a dataset at `root`; an Iceberg catalog's database is at `catalog`."""
    server = Server(server_url, "us-east-1") if server_url else Server()
    warehouse = f"{root}-warehouse" if "://" in root else f"file://{root}-warehouse"
    options: dict[str, Any] = {}
    if kind == "iceberg":
        named = {"type": "sql", "uri": f"sqlite:///{catalog}", "warehouse": warehouse}
        options = {"table": "db.support", "catalog": {"name": "lake", **named}}
    storage = open_storage(root, endpoint_url=server_url, retry=Retry(budget_s=5))
    return Place(storage, Sink(format=kind, **options), server)


def catalog_of(sink: Sink, server: Server) -> Any:
    from pyiceberg.catalog import load_catalog

    return load_catalog("lake", **server.for_pyiceberg(), **sink.catalog.for_pyiceberg())


def read_table(sink: Sink, root: str, server: Server) -> pa.Table:
    if sink.format == "iceberg":
        return catalog_of(sink, server).load_table(sink.table).scan().to_arrow()
    if sink.format == "delta":
        from deltalake import DeltaTable

        return pa.table(DeltaTable(f"{root}/data", storage_options=server.for_object_store(root)).to_pyarrow_table())
    import lance

    return lance.dataset(f"{root}/export/lance", storage_options=server.for_object_store(root)).to_table()


def ids_by_split(table: pa.Table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for split, name in zip(table["split"].to_pylist(), table["id"].to_pylist(), strict=True):
        found.setdefault(split, []).append(name)
    return {split: sorted(ids) for split, ids in found.items()}


def _iceberg_snapshots(place: Place) -> list[str]:
    table = catalog_of(place.sink, place.server).load_table(place.sink.table)
    return [s.summary.additional_properties["synth_ray.dataset_digest"] for s in table.metadata.snapshots]


def _delta_snapshots(place: Place) -> list[str]:
    from deltalake import DeltaTable

    root = place.storage.url
    history = DeltaTable(f"{root}/data", storage_options=place.server.for_object_store(root)).history()
    return [commit["synth_ray.dataset_digest"] for commit in reversed(history)]


def _lance_snapshots(place: Place) -> list[str]:
    import lance

    root, options = place.storage.url, place.server.for_object_store(place.storage.url)
    table = lance.dataset(f"{root}/export/lance", storage_options=options)
    versions = [lance.dataset(table.uri, version=v["version"], storage_options=options) for v in table.versions()]
    return [version.schema.metadata[b"synth_ray.dataset_digest"].decode() for version in versions]


_SNAPSHOTS: dict[str, Callable[[Place], list[str]]] = {
    "iceberg": _iceberg_snapshots,
    "delta": _delta_snapshots,
    "lance": _lance_snapshots,
}
