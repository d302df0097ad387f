"""The index of a run: what earlier runs kept goes in first, and what this one kept stays for later ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from synth_ray.admit.guard import Guard
from synth_ray.dedup import snapshot
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.index import Batch, Index, Shards
from synth_ray.errors import JobError, NotThere
from synth_ray.job.document import Job
from synth_ray.route.preparation import Prepared
from synth_ray.route.real_rows import seed_rows
from synth_ray.route.stager import compared
from synth_ray.storage import Storage, open_storage

_AT_ONCE = 4096
INDEX = "_synth/index/snapshot"


def open_index(job: Job, shards: Shards | None) -> tuple[Index, Guard]:
    """An index, and the guard of its splits, that hold the rows of every run in `dedup.against`.

    Raises JobError for a run whose index is not comparable.
    """
    index, guard = Index(job.dedup, shards=shards), Guard()
    for prefix in job.dedup.against:
        record = snapshot.read(_source(job, prefix))
        if record is None:
            raise JobError(f"dedup.against: {prefix}: wanted a whole index, got a torn one; run that job again")
        snapshot.refuse_mismatch(record[0], _header(job), where=prefix)
        index.load(record[1])
        guard.load(record[1])
    return index, guard


def refuse_other_indexes(job: Job) -> None:
    """Whether every run in `dedup.against` has a comparable index, by its header alone. Raises JobError."""
    for prefix in job.dedup.against:
        snapshot.refuse_mismatch(snapshot.header(_source(job, prefix)) or {}, _header(job), where=prefix)


def _header(job: Job) -> dict[str, Any]:
    return snapshot.header_of(job.dedup, *compared(job))


def _source(job: Job, prefix: str) -> Any:
    try:
        return open_storage(prefix, endpoint_url=job.output.endpoint_url, region=job.output.region).open_input(INDEX)
    except NotThere:
        raise JobError(
            f"dedup.against: {prefix}: wanted the index of a finished run, got none; run that job with dedup.keep_index: true"
        ) from None


def index_seeds(prepared: Prepared, index: Index, *, curated: Callable[[pa.Table], pa.Table]) -> None:
    """Keep the seeds' own texts, curated as rows are, where rows must not repeat them."""
    dedup, seeds = prepared.job.dedup, prepared.seeds
    novel = prepared.recipe.novel if dedup.seeds is None else dedup.seeds
    if not novel:
        return
    for start in range(0, len(seeds), _AT_ONCE):
        rows = curated(seed_rows(seeds[i] for i in range(start, min(len(seeds), start + _AT_ONCE))))
        index.apply(Batch.of(rows, banding_of(dedup).bands))


def keep_index(job: Job, index: Index, guard: Guard, storage: Storage) -> None:
    """Write the index and its guard beside the dataset, where the job keeps them."""
    if not job.dedup.keep_index:
        return
    with storage.upload(INDEX) as sink:
        snapshot.write(sink, _header(job), index.state() | guard.state())
