"""Objects that an output no longer needs, by kind and age."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, get_args

from synth_ray.dataset.ledger import CHUNKS, ROOT, Ledger
from synth_ray.dataset.manifest import read_manifest
from synth_ray.dataset.writer import DATA, REJECTED
from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.storage import Entry, Storage

GarbageKind = Literal["orphans", "parts", "asks", "batches", "chunks"]
KINDS: tuple[GarbageKind, ...] = get_args(GarbageKind)
DEFAULT_KINDS: tuple[GarbageKind, ...] = ("orphans", "parts", "asks", "batches")

LOST_WITH: dict[GarbageKind, str] = {
    "orphans": "nothing: no commit record counts them",
    "parts": "earlier versions of the dataset, for readers that still open their files by name",
    "asks": "nothing: their chunks are committed",
    "batches": "nothing: the requests they were sent for are committed",
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
    finders = {"orphans": _orphans, "parts": _parts, "asks": _asks, "batches": _batches, "chunks": _chunks}
    for kind in kinds:
        for entry in finders[kind](storage):
            if now - entry.modified >= older_than_s:
                yield kind, entry


def _orphans(storage: Storage) -> Iterator[Entry]:
    return Ledger(storage).orphans()


def _parts(storage: Storage) -> Iterator[Entry]:
    try:
        manifest = read_manifest(storage)
        named = {file.path for file in [*manifest.files, *manifest.rejected_files]}
    except ObjectNotFound:
        named = set()
    for entry in chain(storage.list(f"{DATA}/"), storage.list(f"{REJECTED}/")):
        if entry.path not in named:
            yield entry


def _asks(storage: Storage) -> Iterator[Entry]:
    committed = Ledger(storage).committed_chunks()
    for entry in storage.list(f"{ROOT}asks/"):
        if int(entry.path.split("/")[2]) in committed:
            yield entry


def _batches(storage: Storage) -> Iterator[Entry]:
    """Until the dataset is complete, a batch's record may be the only trace of requests that were paid for."""
    if _is_complete(storage):
        yield from storage.list(f"{ROOT}batches/")


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
