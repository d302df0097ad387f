"""Which parts the tables name that this dataset was registered in: what may be removed without breaking one.

    _synth/tables/<digest of the table's address>.json

A version is written down before it is registered, and again with its snapshot afterwards. So, whenever a registration was killed,
every part that a table may name is in the record. Law: a part that a record's live version, or one behind it, names is in use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from synth_ray.dataset.ledger import ROOT
from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.records import digest
from synth_ray.storage import Storage

TABLES = f"{ROOT}tables/"

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Registration:
    """One version in one table. `snapshot` is empty until the table was seen to have it; `parts` is empty for a copy."""

    dataset_digest: str
    job_digest: str
    snapshot: str = ""
    parts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NamedParts:
    """Parts by who names them: `live` versions of tables, or only `earlier` snapshots."""

    live: frozenset[str]
    earlier: frozenset[str]


def write_down(storage: Storage, address: str, registration: Registration) -> None:
    """Note a version of a table, in place of an earlier note of the same version. Safe beside other writers."""
    path = f"{TABLES}{digest('table', address)[:16]}.json"
    for _ in range(_TRIES):
        try:
            data, etag = storage.read_with_etag(path)
        except ObjectNotFound:
            data, etag = b"", ""
        record = _with(json.loads(data) if data else {"table": address, "versions": []}, registration)
        text = (json.dumps(record, indent=1) + "\n").encode()
        if text == data:
            return
        try:
            _ = storage.swap(path, text, etag) if etag else storage.create(path, text)
            return
        except Conflict:
            continue
    raise StorageError(f"{storage.url}/{path}: wanted to note a version, got {_TRIES} other writers first; run the command again")


def _with(record: dict[str, Any], registration: Registration) -> dict[str, Any]:
    """The record with this version last. Of several notes of one version only one stays, with all parts that either names."""
    same = [v for v in record["versions"] if v["dataset_digest"] == registration.dataset_digest]
    others = [v for v in record["versions"] if v["dataset_digest"] != registration.dataset_digest]
    parts = sorted({*registration.parts, *(part for version in same for part in version["parts"])})
    if not registration.snapshot and same and record["versions"][-1] is same[-1]:
        return record | {"versions": [*others, same[-1] | {"parts": parts}]}
    return record | {"versions": [*others, asdict(registration) | {"parts": parts}]}


def read_registrations(storage: Storage) -> Iterator[tuple[str, list[Registration]]]:
    """Each table's address with its versions, the latest last."""
    for entry in sorted(storage.list(TABLES), key=lambda entry: entry.path):
        record = json.loads(storage.read(entry.path))
        yield record["table"], [Registration(**version) for version in record["versions"]]


def named_parts(storage: Storage) -> NamedParts:
    """The parts that tables name, of all tables of this dataset."""
    live: set[str] = set()
    earlier: set[str] = set()
    for _, versions in read_registrations(storage):
        landed = [number for number, version in enumerate(versions) if version.snapshot]
        first_live = landed[-1] if landed else 0
        for number, version in enumerate(versions):
            (live if number >= first_live else earlier).update(version.parts)
    return NamedParts(frozenset(live), frozenset(earlier - live))
