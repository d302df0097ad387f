"""Batches that were, or were about to be, sent to a provider: kept on the output's store, so that none is paid for twice.

    _synth/batches/<name>.json    {"batch": "" | the provider's id, "ids": [custom ids]}

A record is written before its batch is created, under a name that goes along as metadata. Whoever comes after a crash finds at
the provider what a record without a batch id came to. Records hold no text; `gc` removes them once the dataset is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from synth_ray.records import digest
from synth_ray.storage import Storage

BATCHES = "_synth/batches/"


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch. `batch` is empty until the provider has confirmed its creation."""

    name: str
    ids: tuple[str, ...]
    batch: str = ""


def batch_name(ids: Iterable[str], tries: Iterable[int]) -> str:
    """The same requests in the same try have the same name, in whichever run they are sent."""
    return digest("batch", sorted(zip(ids, tries, strict=True)))


class BatchRecords:
    """Records of the output's store. Without a store, as in a preview, nothing is kept."""

    def __init__(self, storage: Storage | None) -> None:
        self._storage = storage

    def keep(self, record: BatchRecord) -> None:
        if self._storage is not None:
            data = json.dumps({"batch": record.batch, "ids": record.ids}).encode()
            self._storage.write(f"{BATCHES}{record.name}.json", data)

    def forget(self, record: BatchRecord) -> None:
        if self._storage is not None:
            self._storage.delete(f"{BATCHES}{record.name}.json")

    def all(self) -> Iterator[BatchRecord]:
        for entry in self._storage.list(BATCHES) if self._storage is not None else ():
            record = json.loads(self._storage.read(entry.path))  # type: ignore[union-attr]
            yield BatchRecord(entry.path.removeprefix(BATCHES).removesuffix(".json"), tuple(record["ids"]), record["batch"])
