"""The index of a run: what earlier runs kept goes in first, and what this one kept stays for later ones."""

from __future__ import annotations

from synth_ray.dedup import snapshot
from synth_ray.dedup.index import Index, Shards
from synth_ray.errors import JobError, NotThere
from synth_ray.job.document import Job
from synth_ray.route.stager import compared
from synth_ray.storage import Storage, open_storage

INDEX = "_synth/index/snapshot"


def open_index(job: Job, shards: Shards | None) -> Index:
    """An index that holds the rows of every run in `dedup.against`. Raises JobError for one that is not comparable."""
    index = Index(job.dedup, shards=shards)
    ours = snapshot.header_of(job.dedup, *compared(job))
    for prefix in job.dedup.against:
        try:
            source = open_storage(prefix, endpoint_url=job.output.endpoint_url, region=job.output.region).open_input(INDEX)
        except NotThere:
            raise JobError(
                f"dedup.against: {prefix}: wanted the index of a finished run, got none; run that job with dedup.keep_index: true"
            ) from None
        record = snapshot.read(source)
        if record is None:
            raise JobError(f"dedup.against: {prefix}: wanted a whole index, got a torn one; run that job again")
        snapshot.refuse_mismatch(record[0], ours, where=prefix)
        index.load(record[1])
    return index


def keep_index(job: Job, index: Index, storage: Storage) -> None:
    """Write the index beside the dataset, where the job keeps it."""
    if not job.dedup.keep_index:
        return
    with storage.upload(INDEX) as sink:
        snapshot.write(sink, snapshot.header_of(job.dedup, *compared(job)), index.state())
