"""Finds rows by id or by reason, in the staged chunks and in the published dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import File, Manifest, read_manifest
from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.storage import Storage

_TEXTS = ("prompt", "completion")


def trace(storage: Storage, id: str) -> dict[str, Any]:
    """The row's staged columns, overridden by its published ones. Raises ObjectNotFound."""
    staged = staged_row(storage, id)
    published = _published(storage, id)
    if not staged and not published:
        raise ObjectNotFound(
            f"{storage.url}: wanted a row with the id that was given, got none; is it of this output, and whole?"
        )
    return staged | {k: v for k, v in published.items() if v is not None}


def rows_with_ids(storage: Storage, files: Iterable[File], ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """The rows of these files with these ids, by id, from one pass over the `id` columns that ends when all are found."""
    found: dict[str, dict[str, Any]] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for file in files:
        if len(found) == len(wanted):
            break
        with opened_part(storage, file.path) as part:
            for group in range(part.num_row_groups):
                is_wanted = pc.is_in(part.read_row_group(group, columns=["id"])["id"], value_set=wanted)
                if pc.any(is_wanted).as_py():
                    rows = part.read_row_group(group).filter(is_wanted).to_pylist()
                    found |= {row["id"]: row | ({"split": file.split} if file.split else {}) for row in rows}
    return found


@contextmanager
def opened_part(storage: Storage, path: str) -> Iterator[pq.ParquetFile]:
    """A published part. Raises StorageError for one that is broken, also while it is read."""
    with storage.open_input(path) as source:
        try:
            yield pq.ParquetFile(source)
        except (pa.ArrowException, OSError):
            raise StorageError(
                f"{storage.url}/{path}: wanted a part of the manifest, got a broken file; restore it, or run the job again"
            ) from None


def staged_row(storage: Storage, id: str) -> dict[str, Any]:
    """The row's staged columns. Empty where it has none: a real row, or one whose chunk `synth-ray gc` removed."""
    return _find_row(storage, id, _staged_paths(storage))


def ids_that_begin(storage: Storage, start: str, *, limit: int) -> list[str]:
    """Ids of rows that begin with this text, in their order, `limit` at most. Only ids are read."""
    found: set[str] = set()
    for path in _paths(storage):
        for ids in _columns(storage, path, ["id"]):
            found.update(ids.filter(pc.starts_with(ids["id"], start))["id"].to_pylist())
            if len(found) >= limit:
                return sorted(found)[:limit]
    return sorted(found)


def accepted_rows(storage: Storage, split: str, *, limit: int, texts: bool = False) -> list[dict[str, Any]]:
    """The first rows of a split of the published version. Raises ObjectNotFound where nothing is published."""
    paths = (file.path for file in read_manifest(storage).files if file.split == split)
    names = ["id", "origin", "prompt_tokens", "completion_tokens", *(_TEXTS if texts else [])]
    rows = (row for path in paths for table in _columns(storage, path, names) for row in table.slice(0, limit).to_pylist())
    return list(islice(rows, limit))


def rows_with_reason(
    storage: Storage, reason: str, *, limit: int, split: str | None = None, texts: bool = False
) -> list[dict[str, Any]]:
    """The first rows that ended for this reason: of the published version or, where there is none, of the staged chunks."""
    manifest = _manifest(storage)
    names = ["id", "split", "reason", "detail", *(_TEXTS if texts else [])]
    names += ["witness", "similarity"] if manifest is not None else []
    paths = [file.path for file in manifest.rejected_files] if manifest is not None else _staged_paths(storage)
    tables = (table for path in paths for table in _columns(storage, path, names))
    rows = (row for table in tables for row in table.filter(pc.equal(table["reason"], reason)).to_pylist())
    return list(islice((row for row in rows if split in (None, row["split"])), limit))


def count_of_reason(storage: Storage, reason: str) -> int:
    """How many rows ended for this reason, counted where `rows_with_reason` looks."""
    manifest = _manifest(storage)
    if manifest is not None:
        return manifest.rows.rejected.get(reason, 0) + manifest.rows.failed.get(reason, 0)
    ledger = Ledger(storage)
    return sum(ledger.read_commit(chunk).reasons.get(reason, 0) for chunk in ledger.committed_chunks())


def _paths(storage: Storage) -> Iterator[str]:
    """Files that hold every row between them: those of a complete dataset, else also the staged chunks."""
    manifest = _manifest(storage)
    if manifest is not None:
        yield from (file.path for file in (*manifest.rejected_files, *manifest.files))
    if manifest is None or not manifest.complete:
        yield from _staged_paths(storage)


def _staged_paths(storage: Storage) -> Iterator[str]:
    ledger = Ledger(storage)
    return (ledger.read_commit(chunk).object for chunk in ledger.committed_chunks())


def _columns(storage: Storage, path: str, names: list[str]) -> Iterator[pa.Table]:
    """These columns, a row group at a time. Nothing for a chunk that `synth-ray gc` removed."""
    try:
        source = storage.open_input(path)
    except ObjectNotFound:
        return
    with source:
        file = pq.ParquetFile(source)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=names)


def _manifest(storage: Storage) -> Manifest | None:
    try:
        return read_manifest(storage)
    except ObjectNotFound:
        return None


def _published(storage: Storage, id: str) -> dict[str, Any]:
    manifest = _manifest(storage)
    if manifest is None:
        return {}
    for files, verdict in ((manifest.rejected_files, {}), (manifest.files, {"verdict": "accepted"})):
        if row := _find_row(storage, id, (file.path for file in files)):
            return row | verdict
    return {}


def _find_row(storage: Storage, id: str, paths: Iterable[str]) -> dict[str, Any]:
    """The row from the first file that has it. Only the `id` column is read, and then the one row group that contains the row."""
    for path in paths:
        try:
            with storage.open_input(path) as source:
                file = pq.ParquetFile(source)
                for group in range(file.num_row_groups):
                    place = pc.index(file.read_row_group(group, columns=["id"])["id"], id).as_py()
                    if place >= 0:
                        return dict(file.read_row_group(group).slice(place, 1).to_pylist()[0])
        except ObjectNotFound:
            continue  # its chunk was removed by `synth-ray gc`
    return {}
