"""The index of a run: filled with the rows of earlier runs first, and saved for later ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from synth_ray.admit.guard import ONE_ROW
from synth_ray.admit.kept_rows import KeptRows
from synth_ray.dedup import snapshot
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.index import Batch, Index
from synth_ray.dedup.saved_stores import read_stores, write_stores
from synth_ray.dedup.spill import stores_on_disk
from synth_ray.dedup.stores import Stores
from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.job.document import Job
from synth_ray.prepare.index_memory import compared_sides
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.seed_rows import seed_rows
from synth_ray.storage import Storage, open_storage
from synth_ray.workers.row_stages import comparison_of_job

_BATCH_ROWS = 4096
INDEX = "_synth/index/snapshot"


def spilled_stores(job: Job, spool: Path) -> Stores | None:
    """Stores in files below the run's own folder, where the job keeps only its newest keys in memory; else None."""
    spill_bytes = job.dedup.spill_bytes
    return stores_on_disk(spool / "index", cap=job.dedup.bucket_cap, hot_bytes=spill_bytes) if spill_bytes else None


def open_index(prepared: Prepared, stores: Stores | None) -> KeptRows:
    """The memory of admission, in `stores` if given, with the rows of every run in `dedup.against`.

    Raises JobError for a run whose index is not comparable.
    """
    job, tables = prepared.job, compared_sides(prepared)
    kept = KeptRows.empty(job.dedup, stores, fills=len(tables) > 1, asks=len(tables) > 1 or bool(job.dedup.against))
    caps = dict.fromkeys(tables, ONE_ROW) | {"keys": job.dedup.bucket_cap}
    for prefix in job.dedup.against:
        with _open_snapshot(job, prefix) as source:
            is_whole = read_stores(source, kept.index.stores, caps=caps, accept=partial(_accept, prepared, prefix=prefix))
        if not is_whole:
            raise JobError(f"dedup.against: {prefix}: wanted a whole index, got a torn one; run that job again")
    return kept


def _refuse_without_ngrams(header: snapshot.Header, sides: set[str], prefix: str) -> None:
    for side in sorted(sides - set(header["tables"])):
        here = "training" if side == "evaluation" else "evaluation"
        raise JobError(
            f"dedup.against: {prefix}: wanted the long n-grams of its {side} rows, because this job has {here} rows, got an "
            "index without them: a run whose rows are all of one side keeps none of that side. Run that job with rows of both "
            "(split.fractions), give this one rows of that side alone, or leave that run out"
        )


def versions_of_others(job: Job) -> list[list[Any]]:
    """What tells one version of each index in `dedup.against` from the next: its size, and when it was written."""
    others = ((prefix, open_storage(prefix, **job.output.server_for(prefix))) for prefix in job.dedup.against)
    return [[prefix, entry.size, entry.modified] for prefix, storage in others for entry in storage.list(INDEX)]


def refuse_other_index(prepared: Prepared, prefix: str) -> None:
    """Raises JobError where there is no index of a run at this prefix that the job's rows can be compared with. Reads its header
    only.
    """
    with _open_snapshot(prepared.job, prefix) as source:
        header = snapshot.header(source) or {}
    _accept(prepared, header, prefix)


def _accept(prepared: Prepared, header: snapshot.Header, prefix: str) -> None:
    snapshot.refuse_mismatch(header, _header(prepared.job), where=prefix)
    _refuse_without_ngrams(header, compared_sides(prepared), prefix)


def refuse_missing_index(job: Job, prefix: str) -> None:
    """Raises JobError where there is no index of a run at this prefix."""
    _open_snapshot(job, prefix).close()


def _header(job: Job) -> dict[str, Any]:
    return snapshot.header_of(job.dedup, *comparison_of_job(job))


def _open_snapshot(job: Job, prefix: str) -> Any:
    try:
        return open_storage(prefix, **job.output.server_for(prefix)).open_input(INDEX)
    except ObjectNotFound:
        raise JobError(
            f"dedup.against: {prefix}: wanted the index of a finished run, got none; run that job with dedup.keep_index: true"
        ) from None


def index_seeds(prepared: Prepared, index: Index, *, scrub_and_fingerprint: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
    """Index the seeds' own texts, scrubbed as rows are, where rows must not repeat them. Yields them, a batch at a time, without
    the word hashes, which no row is compared with.
    """
    dedup, seeds = prepared.job.dedup, prepared.seeds
    novel = prepared.recipe.novel if dedup.seeds is None else dedup.seeds
    if not novel:
        return
    for start in range(0, len(seeds), _BATCH_ROWS):
        rows = scrub_and_fingerprint(seed_rows(seeds[i] for i in range(start, min(len(seeds), start + _BATCH_ROWS))))
        index.keep_all(Batch.of(rows, banding_of(dedup).bands))
        yield rows.set_column(rows.schema.get_field_index("ngrams"), "ngrams", pa.nulls(rows.num_rows, pa.binary()))


def save_index(prepared: Prepared, kept: KeptRows, storage: Storage) -> None:
    """Write the memory of admission beside the dataset, where the job keeps it."""
    if not prepared.job.dedup.keep_index:
        return
    with storage.upload(INDEX) as sink:
        write_stores(sink, _header(prepared.job), kept.index.stores, tables={"keys", *compared_sides(prepared)})
