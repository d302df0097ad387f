"""The real rows that a dataset is measured against, and the model that embeds both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

import pyarrow as pa

from synth_ray.dedup.embedding import Embedder, open_embedder
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.quality import Quality
from synth_ray.plan.seed_store import SeedStore
from synth_ray.prepare.seed_rows import seed_rows
from synth_ray.prepare.sources import Sources, read_sources
from synth_ray.records import Seed

MAX_REFERENCE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Reference:
    """Real rows as staged rows, the job key they come from, and how many of them are seeds, which a teacher is shown."""

    source: str
    rows: pa.Table
    shown: int


def read_reference(job: Job, sources: Sources) -> Reference:
    """At most MAX_REFERENCE_ROWS rows. Raises JobError where a reference is named and has no row, and MissingResource where the
    embedding model that is named does not open: before anything is asked.
    """
    open_quality_embedder(job.quality)
    source, chosen = _chosen_rows(job, sources)
    return Reference(source, seed_rows(chosen), shown=sources.seeds.count_among(seed.id for seed in chosen))


def open_quality_embedder(quality: Quality) -> Embedder | None:
    """The model that `quality.embedding` names, where the dataset is measured at all. Raises MissingResource."""
    if not quality.measure or not quality.embedding:
        return None
    return open_embedder(quality.embedding, key="quality.embedding")


def _chosen_rows(job: Job, sources: Sources) -> tuple[str, list[Seed]]:
    if job.quality.measure and job.quality.reference:
        rows = read_sources(job, job.quality.reference, key="quality.reference")
        seeds = (row for row in rows if isinstance(row, Seed))
        named = nsmallest(MAX_REFERENCE_ROWS, seeds, key=lambda row: row.id)  # ids are digests: a random part of any size
        if not named:
            raise JobError("quality.reference: wanted real rows to measure against, got none; fix the path or fields")
        return "quality.reference", named
    for source, real in (("split.real", sources.real), ("mix.real", sources.mixed)):
        if len(real):
            return source, _bounded(real)
    return "seeds", _bounded(sources.seeds) if job.seeds else []


def _bounded(rows: Sequence[Seed] | SeedStore) -> list[Seed]:
    """Rows at equal distances, so that every part of a file is in."""
    step = max(1, -(-len(rows) // MAX_REFERENCE_ROWS))
    return [rows[i] for i in range(0, len(rows), step)]
