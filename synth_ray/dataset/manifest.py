"""`manifest.json`: the dataset's description for programs. Written after all parts; a run is done when it is `complete`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synth_ray.dataset.part import FileEntry
from synth_ray.dataset.writer import Written
from synth_ray.errors import Conflict, ObjectNotFound, StorageError, SynthRayError
from synth_ray.storage import Storage

PATH = "manifest.json"
FORMAT = 1


_COPYING = ("build", "score")
"""Recipes whose rows are their seeds."""


class _Facts(BaseModel):
    # Keys that a later version adds are ignored; keys that this version needs must be present.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Rows(_Facts):
    """Slots by how they ended. Slots of a run that stopped early are `pending`; `real` rows are not slots."""

    requested: int
    accepted: int
    rejected: dict[str, int] = {}
    failed: dict[str, int] = {}
    pending: int = 0
    real: int = 0


class Seeds(_Facts):
    """`rejected_at`: by reason, file and line ("seeds.jsonl:7") of the first 20 rejected seeds."""

    read: int
    planned: int
    rejected: dict[str, int] = {}
    rejected_at: dict[str, list[str]] = {}

    def rejected_lines(self) -> list[str]:
        """For people: each reason, how many seeds it rejected, and where the first of them are."""
        return [f"{reason} {n:,}: {self._places(reason, n)}" for reason, n in sorted(self.rejected.items())]

    def _places(self, reason: str, n: int) -> str:
        places = self.rejected_at.get(reason, [])
        return (", ".join(places) or "not recorded") + (" …" if 0 < len(places) < n else "")


class File(_Facts):
    """One part file. `path` is relative to the dataset's root."""

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str
    row_bytes: int = 0


class Manifest(_Facts):
    """One version of one dataset. A reader needs only the files it lists. `epoch` is that of the lease it was published under."""

    format: int = FORMAT
    epoch: int = 0
    name: str
    description: str = ""
    job_digest: str
    ask_digest: str
    dataset_digest: str
    complete: bool
    stopped: str = ""
    rows: Rows
    seeds: Seeds
    splits: dict[str, int]
    files: list[File]
    rejected_files: list[File] = []
    columns: dict[str, str] = {}
    rejected_columns: dict[str, str] = {}
    partition_by: dict[str, list[str]] = {}
    contamination: dict[str, int] = {}
    contradictory_labels: dict[str, Any] = {}
    disclosure: dict[str, Any] = {}
    mix: dict[str, Any] = {}
    gold: dict[str, Any] = {}
    judge: dict[str, Any] = {}
    funnel: dict[str, list[dict[str, Any]]] = {}
    profile: dict[str, Any] = {}
    reference: dict[str, Any] = {}
    narrowing: dict[str, Any] = {}
    tstr: dict[str, Any] = {}
    perplexity: dict[str, Any] = {}
    label_noise: dict[str, Any] = {}
    teacher_errors: dict[str, Any] = {}
    leaks: int | None = None
    gates: list[str] = []
    target: dict[str, Any] = {}
    attempts: dict[str, int] = {}
    tokens: dict[str, int] = {}
    thoughts: dict[str, Any] = {}
    cost: dict[str, Any] = {}
    throughput: dict[str, Any] = {}
    estimate: dict[str, Any] = {}
    engines: dict[str, dict[str, Any]] = {}
    top_k: dict[str, Any] = {}
    pii: dict[str, int] = {}
    pii_in_place: bool = False
    teacher: str = ""
    revision: str = ""
    teacher_license: str = ""
    teacher_terms: str = ""
    recipe: str = ""
    templates: dict[str, str] = {}
    sampling: dict[str, Any] = {}
    filters: dict[str, dict[str, Any]] = {}
    license: str = ""
    sources: list[dict[str, Any]] = Field(default_factory=list)
    synthetic_only_eval: bool = False
    single_writer: bool = False
    created_at: str
    versions: dict[str, str] = {}

    @property
    def is_copied(self) -> bool:
        """Whether the rows are copies of the seeds: no model wrote any of them."""
        return self.teacher == "none" or self.recipe in _COPYING

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def check(self) -> None:
        """Check that every slot, seed, row and file is accounted for. Raises SynthRayError that names each sum that differs."""
        rows, seeds = self.rows, self.seeds
        rejected = sum(rows.rejected.values()) + sum(rows.failed.values())
        in_splits = sum(self.splits.values())
        sums = [
            (
                "slots requested",
                rows.requested,
                "accepted + rejected + failed + pending",
                rows.accepted + rejected + rows.pending,
            ),
            ("seeds read", seeds.read, "planned + rejected", seeds.planned + sum(seeds.rejected.values())),
            ("rows in splits", in_splits, "accepted + real", rows.accepted + rows.real),
            (
                "rows in rejected/",
                sum(f.rows for f in self.rejected_files),
                "rejected + failed, and real rows of the mix",
                rejected + int(self.mix.get("refused", 0)),
            ),
        ]
        for split in sorted({*self.splits, *(f.split for f in self.files)}):
            split_rows = sum(f.rows for f in self.files if f.split == split)
            sums.append((f"rows of split {split}", self.splits.get(split, 0), "rows in its files", split_rows))
        for dimension, entries in self.funnel.items():
            sums += [(f"slots by {dimension}: {name}", total, "its values", n) for name, total, n in self._funnel_sums(entries)]
        if self.complete:
            sums.append(("pending slots of a complete dataset", rows.pending, "none", 0))
        wrong = [f"{name} {got} != {parts} {total}" for name, got, parts, total in sums if got != total]
        if wrong:
            raise SynthRayError(f"manifest: wanted sums that agree, got {'; '.join(wrong)}; nothing was published, report this")

    def _funnel_sums(self, entries: list[dict[str, Any]]) -> Iterator[tuple[str, int, int]]:
        """(outcome, its slots in all, its slots by value): of one dimension of the funnel."""
        yield "accepted", self.rows.accepted, sum(entry["accepted"] for entry in entries)
        for verdict, total in (("rejected", self.rows.rejected), ("failed", self.rows.failed)):
            for reason in sorted({*total, *(reason for entry in entries for reason in entry[verdict])}):
                yield f"{verdict} {reason}", total.get(reason, 0), sum(entry[verdict].get(reason, 0) for entry in entries)


def files_of(entries: list[FileEntry]) -> list[File]:
    return [
        File(path=e.path, split=e.split, rows=e.rows, bytes=e.size_bytes, sha256=e.sha256, row_bytes=e.row_bytes) for e in entries
    ]


def written_facts(written: Written) -> dict[str, Any]:
    """The manifest's keys that the writer fills in."""
    return {
        "files": files_of(written.files),
        "rejected_files": files_of(written.rejected_files),
        "splits": written.splits,
        "dataset_digest": written.dataset_digest,
    }


def manifest_etag(storage: Storage) -> str:
    """The etag of the version that a run will replace, empty when there is none. Read it when the run begins."""
    try:
        return storage.etag(PATH)
    except ObjectNotFound:
        return ""


def write_manifest(storage: Storage, manifest: Manifest, *, replaces: str) -> str:
    """Publish a version in place of the one whose etag is `replaces`; returns the new etag. Raises Conflict, SynthRayError.

    A version that an older owner of the output published meanwhile is replaced as well; one of a newer owner never is.
    """
    manifest.check()
    data = (manifest.model_dump_json(indent=1) + "\n").encode()
    try:
        return _replace(storage, data, replaces)
    except Conflict:
        replaces = _etag_of_older_owner(storage, manifest.epoch)
    try:
        if replaces:
            return _replace(storage, data, replaces)
    except Conflict:
        pass
    raise Conflict(
        f"{storage.url}/{PATH}: wanted to replace the version this run began with, got another; another driver "
        "published meanwhile; what this run committed is kept, run the same command again"
    ) from None


def _replace(storage: Storage, data: bytes, etag: str) -> str:
    return storage.swap(PATH, data, etag) if etag else storage.create(PATH, data)


def _etag_of_older_owner(storage: Storage, epoch: int) -> str:
    """The etag of the version that is there, if it was published under a lease of an earlier epoch; else empty."""
    try:
        data, etag = storage.read_with_etag(PATH)
    except ObjectNotFound:
        return ""
    return etag if 0 < json.loads(data).get("epoch", 0) < epoch else ""


def read_manifest(storage: Storage) -> Manifest:
    """The published version. Raises ObjectNotFound when nothing is published, StorageError when the file is not a manifest."""
    data = storage.read(PATH)
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        keys = ", ".join(sorted({".".join(map(str, e["loc"])) or "JSON" for e in error.errors()}))
        raise StorageError(f"{storage.url}/{PATH}: wanted a manifest, got one that is wrong at {keys}; restore it") from None
