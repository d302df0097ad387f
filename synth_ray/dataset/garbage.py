"""Objects that an output no longer needs, by kind and age."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, get_args

from synth_ray.dataset.ledger import CHUNKS, ROOT, Ledger
from synth_ray.dataset.manifest import read_manifest
from synth_ray.dataset.registrations import named_parts
from synth_ray.dataset.writer import DATA, REJECTED
from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.storage import Entry, Storage
from synth_ray.storage.journal_names import ASKS, chunks_of

GarbageKind = Literal["orphans", "parts", "snapshots", "asks", "batches", "checkpoints", "chunks"]
KINDS: tuple[GarbageKind, ...] = get_args(GarbageKind)
DEFAULT_KINDS: tuple[GarbageKind, ...] = ("orphans", "parts", "asks", "batches")

_PART = re.compile(r"part-\d{5,}-[0-9a-f]{8}\.parquet")

LOST_WITH: dict[GarbageKind, str] = {
    "orphans": "nothing: no commit record counts them",
    "parts": "earlier versions of the dataset, for readers that still open their files by name",
    "snapshots": "time travel: earlier snapshots of the Iceberg and Delta tables of `sinks` can no longer be read",
    "asks": "nothing: their chunks are committed",
    "batches": "nothing: the requests they were sent for are committed",
    "checkpoints": "time: a run that goes on, or is extended, decides every chunk again",
    "chunks": "re-curation: another threshold, target or scrub needs a new run, with the teacher asked again, on another output; "
    "the published dataset stays, and running the job again here is refused",
}
"""What is lost for good when a kind is removed."""


def garbage(
    storage: Storage, kinds: Sequence[GarbageKind], *, now: float, older_than_s: float
) -> Iterator[tuple[GarbageKind, Entry]]:
    """Objects of these kinds that are at least `older_than_s` seconds old. Claim the output's lease before removing any of them.

    Commit records always stay: they prevent a finished chunk from being asked again. Raises JobError for `chunks` when the
    dataset is not complete.
    """
    finders = {
        "orphans": _orphans,
        "parts": _parts,
        "snapshots": _snapshots,
        "asks": _asks,
        "batches": _batches,
        "checkpoints": _checkpoints,
        "chunks": _chunks,
    }
    for kind in kinds:
        for entry in finders[kind](storage):
            if now - entry.modified >= older_than_s:
                yield kind, entry


def _orphans(storage: Storage) -> Iterator[Entry]:
    return Ledger(storage).orphans()


def _parts(storage: Storage) -> Iterator[Entry]:
    """Parts that neither the manifest nor any snapshot of a table names."""
    tables = named_parts(storage)
    named = _published(storage) | tables.live | tables.earlier
    yield from (entry for entry in _own_parts(storage) if entry.path not in named)


def _snapshots(storage: Storage) -> Iterator[Entry]:
    """Parts that only earlier snapshots of tables name."""
    earlier = named_parts(storage).earlier - _published(storage)
    yield from (entry for entry in _own_parts(storage) if entry.path in earlier)


def _published(storage: Storage) -> set[str]:
    try:
        manifest = read_manifest(storage)
    except ObjectNotFound:
        return set()
    return {file.path for file in [*manifest.files, *manifest.rejected_files]}


def _own_parts(storage: Storage) -> Iterator[Entry]:
    """Beside them may be the log of a Delta table, and files that its own optimizer has written: those are not ours to remove."""
    for entry in chain(storage.list(f"{DATA}/"), storage.list(f"{REJECTED}/")):
        if _PART.fullmatch(entry.path.rpartition("/")[2]):
            yield entry


def _asks(storage: Storage) -> Iterator[Entry]:
    committed = Ledger(storage).committed_chunks()
    for entry in storage.list(ASKS):
        if all(chunk in committed for chunk in chunks_of(entry.path)):
            yield entry


def _batches(storage: Storage) -> Iterator[Entry]:
    """Until the dataset is complete, a batch's record may be the only trace of requests that were paid for."""
    if _is_complete(storage):
        yield from storage.list(f"{ROOT}batches/")


def _checkpoints(storage: Storage) -> Iterator[Entry]:
    return storage.list(f"{ROOT}admission/")


def _is_complete(storage: Storage) -> bool:
    try:
        return read_manifest(storage).complete
    except ObjectNotFound:
        return False


def _chunks(storage: Storage) -> Iterator[Entry]:
    if not _is_complete(storage):
        raise JobError(
            f"{storage.url}: wanted a complete dataset before its chunks are removed, got one that is not; finish the run first"
        )
    return storage.list(CHUNKS)
