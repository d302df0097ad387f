"""The index of a run: filled with the rows of earlier runs first, and saved for later ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from synth_ray.admit.admission import KeptRows
from synth_ray.admit.guard import SplitLeakGuard
from synth_ray.dedup import snapshot
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.index import Batch, Index, Shards
from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.job.document import Job
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.seed_rows import seed_rows
from synth_ray.storage import Storage, open_storage
from synth_ray.workers.row_stages import comparison_of_job

_BATCH_ROWS = 4096
INDEX = "_synth/index/snapshot"


def open_index(job: Job, shards: Shards | None) -> KeptRows:
    """An index and a split-leak guard that hold the rows of every run in `dedup.against`.

    Raises JobError for a run whose index is not comparable.
    """
    index, guard = Index(job.dedup, shards=shards), SplitLeakGuard()
    for prefix in job.dedup.against:
        record = snapshot.read(_open_snapshot(job, prefix))
        if record is None:
            raise JobError(f"dedup.against: {prefix}: wanted a whole index, got a torn one; run that job again")
        snapshot.refuse_mismatch(record[0], _header(job), where=prefix)
        first_number = index.kept
        index.load(record[1])
        guard.load(record[1], first_number=first_number)
    return KeptRows(index, guard)


def refuse_other_indexes(job: Job) -> None:
    """Raises JobError for a run in `dedup.against` without a comparable index. Reads headers only."""
    for prefix in job.dedup.against:
        snapshot.refuse_mismatch(snapshot.header(_open_snapshot(job, prefix)) or {}, _header(job), where=prefix)


def refuse_missing_index(job: Job, prefix: str) -> None:
    """Raises JobError where there is no index of a run at this prefix."""
    _open_snapshot(job, prefix).close()


def _header(job: Job) -> dict[str, Any]:
    return snapshot.header_of(job.dedup, *comparison_of_job(job))


def _open_snapshot(job: Job, prefix: str) -> Any:
    try:
        return open_storage(prefix, endpoint_url=job.output.endpoint_url, region=job.output.region).open_input(INDEX)
    except ObjectNotFound:
        raise JobError(
            f"dedup.against: {prefix}: wanted the index of a finished run, got none; run that job with dedup.keep_index: true"
        ) from None


def index_seeds(prepared: Prepared, index: Index, *, scrub_and_fingerprint: Callable[[pa.Table], pa.Table]) -> None:
    """Index the seeds' own texts, scrubbed as rows are, where rows must not repeat them."""
    dedup, seeds = prepared.job.dedup, prepared.seeds
    novel = prepared.recipe.novel if dedup.seeds is None else dedup.seeds
    if not novel:
        return
    for start in range(0, len(seeds), _BATCH_ROWS):
        rows = scrub_and_fingerprint(seed_rows(seeds[i] for i in range(start, min(len(seeds), start + _BATCH_ROWS))))
        index.keep_all(Batch.of(rows, banding_of(dedup).bands))


def save_index(job: Job, kept: KeptRows, storage: Storage) -> None:
    """Write the index and the guard beside the dataset, where the job keeps them."""
    if not job.dedup.keep_index:
        return
    with storage.upload(INDEX) as sink:
        snapshot.write(sink, _header(job), kept.index.state() | kept.guard.state())
