"""Batches that were, or were about to be, sent to a provider: kept on the output's store, so that none is paid for twice.

    _synth/batches/<name>.json    {"batch": "" | the provider's id, "ids": [the asks' keys], "at": seconds since 1970,
                                   "provider": …, "url": where it was sent to, "unanswered": [keys without an answer at its end]}

A record is written before its batch is created, under a name that goes along with the batch. Whoever comes after a crash finds at
the provider what a record without a batch id came to. Records hold no text; `gc` removes them once the dataset is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from synth_ray.job.served import BatchApi
from synth_ray.records import digest
from synth_ray.storage import Storage

BATCHES = "_synth/batches/"


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch. `batch` is empty until the provider has confirmed its creation. `at` is a time before that, by this machine's
    clock; 0 if it is not known. `provider` and `url` are where it was sent to; empty in records that do not tell. `unanswered`
    are the keys for which the batch had no answer once it had ended; none before that.
    """

    name: str
    ids: tuple[str, ...]
    batch: str = ""
    at: float = 0.0
    provider: str = ""
    url: str = ""
    unanswered: frozenset[str] = frozenset()

    def is_at(self, section: BatchApi) -> bool:
        """Whether it was sent to where the section sends batches."""
        return not self.provider or (self.provider, self.url) == (section.provider, section.base_url)


def place_of(record: BatchRecord) -> str:
    """Where the record is, under the output's prefix."""
    return f"{BATCHES}{record.name}.json"


def batch_name(ids: Iterable[str], tries: Iterable[int]) -> str:
    """The same requests in the same try have the same name, in whichever run they are sent."""
    return digest("batch", sorted(zip(ids, tries, strict=True)))


class BatchRecords:
    """Records of the output's store. Without a store, as in a preview, nothing is kept."""

    def __init__(self, storage: Storage | None) -> None:
        self._storage = storage

    def keep(self, record: BatchRecord) -> None:
        if self._storage is not None:
            facts = {name: value for name, value in asdict(record).items() if name != "name"}
            facts["unanswered"] = sorted(record.unanswered)
            self._storage.write(place_of(record), json.dumps(facts).encode())

    def forget(self, record: BatchRecord) -> None:
        if self._storage is not None:
            self._storage.delete(place_of(record))

    def all(self) -> Iterator[BatchRecord]:
        entries = self._storage.list(BATCHES) if self._storage is not None else ()
        for entry in sorted(entries, key=lambda entry: entry.path):
            facts = json.loads(self._storage.read(entry.path))  # type: ignore[union-attr]
            facts |= {"ids": tuple(facts["ids"]), "unanswered": frozenset(facts.get("unanswered", ()))}
            yield BatchRecord(entry.path.removeprefix(BATCHES).removesuffix(".json"), **facts)
