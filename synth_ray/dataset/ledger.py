"""Which chunks are done: each has a staged object, and then a commit record that only one attempt can write.

    _synth/job.json                                the job's ask, recorded by the first run
    _synth/chunks/00000007/<sha256, 16>.parquet    a staged chunk, named by its digest, so that attempts never collide
    _synth/commits/00000007.json                   the object that counts for this chunk

The record is a small plain PUT with If-None-Match, because not every store enforces a condition on completing a multipart
upload. See docs/decisions/0002-commit-records-on-the-object-store.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ray.dataset.ranges import Ranges
from synth_ray.errors import Conflict, JobError, ObjectNotFound, StorageError
from synth_ray.records import STAGED
from synth_ray.storage import Entry, Storage

ROOT = "_synth/"
JOB = f"{ROOT}job.json"
CHUNKS = f"{ROOT}chunks/"
COMMITS = f"{ROOT}commits/"

_RECORD = re.compile(re.escape(COMMITS) + r"(\d{8})\.json")
_STAGED = re.compile(re.escape(CHUNKS) + r"(\d{8})/[0-9a-f]{16}\.parquet")
_ORPHAN_GRACE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Commit:
    """What is known of a committed chunk without reading it. `reasons` counts rows by reason, '' for rows without a reason."""

    chunk: int
    object: str
    rows: int
    size_bytes: int
    sha256: str
    reasons: dict[str, int]
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: bytes) -> Commit:
        return cls(**json.loads(record))

    def record(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class CommittedChunk:
    """A committed chunk: its record and its rows (`records.STAGED`)."""

    commit: Commit
    rows: pa.Table


class Ledger:
    """The chunks of one output. Safe for concurrent use by many processes: the store decides which writer wins."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._commits = np.zeros(0, np.int64), np.zeros(0)  # the chunks of the last listing, and when each was committed

    @property
    def is_pinned(self) -> bool:
        """Whether a run has begun here."""
        return self._storage.exists(JOB)

    def pin_or_compare(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Record the job of this output, or compare with the job recorded first. Returns the facts recorded first.

        `facts["ask_digest"]` and every entry of the mapping `facts["keys"]` must be unchanged. Raises JobError that names the
        keys that differ.
        """
        data = json.dumps(facts, sort_keys=True, indent=1).encode()
        try:
            self._storage.create(JOB, data)
        except Conflict:
            pinned: dict[str, Any] = json.loads(self._storage.read(JOB))
            self._refuse_other_job(pinned, json.loads(data))
            return pinned
        return dict(json.loads(data))

    def read_pinned_keys(self, ask_digest: str, keys: Mapping[str, Any]) -> dict[str, Any]:
        """The job keys recorded by the run that made these chunks. Raises JobError if there are none or `keys` differ."""
        try:
            record: dict[str, Any] = json.loads(self._storage.read(JOB))
        except ObjectNotFound:
            raise JobError(f"{self._storage.url}: wanted the chunks of a run, got none; run the job first") from None
        before: dict[str, Any] = record.get("keys", {})
        current = json.loads(json.dumps(dict(keys)))
        pinned_values = {name: before.get(name) for name in current}
        self._refuse_other_job(
            {"ask_digest": record.get("ask_digest"), "keys": pinned_values}, {"ask_digest": ask_digest, "keys": current}
        )
        return before

    def _refuse_other_job(self, pinned: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        before, now = pinned.get("keys", {}), facts.get("keys", {})
        changed = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
        if not changed and pinned.get("ask_digest") == facts.get("ask_digest"):
            return
        changes = ", ".join(f"{k} (was {_short_text(before.get(k))}, is {_short_text(now.get(k))})" for k in changed)
        raise JobError(
            f"{self._storage.url}: wanted the job whose chunks are here, got one that asks something else: "
            f"{changes or 'the seeds or the plan differ'}; change it back, or give output.path another place; where only keys of "
            "check, scrub and dedup differ, `synth-ray curate` decides again without asking"
        )

    def commit_chunk(self, chunk: int, table: pa.Table, facts: Mapping[str, Any]) -> Commit:
        """Commit the chunk. Returns its record, or that of an attempt that committed it first: our object is then an orphan."""
        data = _parquet(table)
        sha256 = hashlib.sha256(data).hexdigest()
        path = f"{CHUNKS}{chunk:08d}/{sha256[:16]}.parquet"
        commit = Commit(chunk, path, table.num_rows, len(data), sha256, _reasons(table), dict(facts))
        self._storage.write(path, data)
        try:
            self._storage.create(_record_of(chunk), commit.record())
        except Conflict:
            return self.read_commit(chunk)
        return commit

    def committed_chunks(self) -> Ranges:
        """The numbers of the committed chunks, from one listing."""
        found = [(chunk, entry.modified) for chunk, entry in self._listed(COMMITS, _RECORD)]
        chunks, times = np.array([chunk for chunk, _ in found], np.int64), np.array([modified for _, modified in found])
        order = np.argsort(chunks)
        self._commits = chunks[order], times[order]
        return Ranges(self._commits[0].tolist())

    def has_newer(self, than: float, *, below: int) -> bool:
        """Whether a chunk with a number below this was committed after a time, by the store's clock, as of the last listing of
        this ledger: it was deleted, and made again.
        """
        chunks, times = self._commits
        return bool((times[: np.searchsorted(chunks, below)] > than).any())

    def lacks_any(self, *, below: int) -> bool:
        """Whether a chunk with a number below this is not committed, as of the last listing of this ledger."""
        return bool(np.searchsorted(self._commits[0], below) < below)

    def read_commit(self, chunk: int) -> Commit:
        """Raises ObjectNotFound for a chunk that is not committed."""
        return Commit.of(self._storage.read(_record_of(chunk)))

    def read_chunk(self, chunk: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The committed rows, verified against the record's sha256. Raises ObjectNotFound, StorageError."""
        return self.read_rows(self.read_commit(chunk), columns)

    def read_committed(self, chunk: int) -> CommittedChunk:
        """The record and the verified rows. Raises ObjectNotFound, StorageError."""
        commit = self.read_commit(chunk)
        return CommittedChunk(commit, self.read_rows(commit))

    def read_rows(self, commit: Commit, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a commit record that was already read."""
        data = self._read_verified(commit)
        found = pq.ParquetFile(pa.BufferReader(data))
        names = list(columns) if columns is not None else [*STAGED.names]
        written = set(found.schema_arrow.names)
        return _with_all_columns(found.read([name for name in names if name in written]), names)

    def _read_verified(self, commit: Commit) -> bytes:
        # retry once: on some stores a torn read looks like a whole one, but an object that is broken stays broken
        for _ in range(2):
            try:
                data = self._storage.read(commit.object)
            except ObjectNotFound:
                raise StorageError(
                    f"{self._storage.url}/{commit.object}: wanted a committed chunk, got none; `synth-ray gc --what chunks` "
                    "removes them and with them re-curation: give output.path another place, or restore it"
                ) from None
            if hashlib.sha256(data).hexdigest() == commit.sha256:
                return data
        raise StorageError(
            f"{self._storage.url}/{commit.object}: wanted the {commit.size_bytes} bytes of its commit record, "
            f"got {len(data)} other ones; the store changed it: restore it, or delete {_record_of(commit.chunk)} "
            "to make the chunk again"
        )

    def orphans(self, committed: Ranges | None = None) -> Iterator[Entry]:
        """Staged objects that no commit record names: their attempts died, lost the race, or are still running.

        `committed` is a listing that was just made, if there is one.
        """
        committed = self.committed_chunks() if committed is None else committed
        several: dict[int, list[Entry]] = {}
        for chunk, entry in self._listed(CHUNKS, _STAGED):
            if chunk not in committed:
                yield entry
            else:
                several.setdefault(chunk, []).append(entry)
        for chunk, entries in several.items():
            counts = self.read_commit(chunk).object if len(entries) > 1 else entries[0].path
            yield from (entry for entry in entries if entry.path != counts)

    def delete_orphans(self, *, now: float, older_than_s: float = _ORPHAN_GRACE_S, committed: Ranges | None = None) -> list[str]:
        """Delete orphans and unfinished uploads that are at least this old; younger ones may still be committed.

        Returns the deleted paths. `now` is in seconds since 1970.
        """
        old = [entry.path for entry in self.orphans(committed) if now - entry.modified >= older_than_s]
        for path in old:
            self._storage.delete(path)
        self._storage.sweep_uploads(older_than_s=older_than_s)
        return old

    def _listed(self, prefix: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, Entry]]:
        for entry in self._storage.list(prefix):
            if match := pattern.fullmatch(entry.path):
                yield int(match[1]), entry


def _record_of(chunk: int) -> str:
    return f"{COMMITS}{chunk:08d}.json"


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", compression_level=1)
    return bytes(sink.getvalue())


def _with_all_columns(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Staged rows of a version that had fewer columns, or messages without thoughts: what is missing is null."""
    columns = [
        table[name].cast(STAGED.field(name).type) if name in table.column_names else pa.nulls(len(table), STAGED.field(name).type)
        for name in names
    ]
    return pa.table(columns, schema=pa.schema([STAGED.field(name) for name in names]))


def _reasons(table: pa.Table) -> dict[str, int]:
    if "reason" not in table.column_names:
        return {"": table.num_rows}
    counts = pc.value_counts(pc.fill_null(table["reason"], "")).to_pylist()
    return {group["values"]: group["counts"] for group in sorted(counts, key=lambda c: c["values"])}


def _short_text(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 48 else f"{type(value).__name__} of {len(text)} characters"
