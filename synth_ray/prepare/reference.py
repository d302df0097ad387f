"""The real rows that a dataset is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.plan.seeds import SeedStore
from synth_ray.prepare.seed_rows import seed_rows
from synth_ray.prepare.sources import Sources, read_sources
from synth_ray.records import Seed

MAX_REFERENCE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Reference:
    """Real rows as staged rows, and the job key they come from."""

    source: str
    rows: pa.Table


def read_reference(job: Job, sources: Sources) -> Reference:
    """At most MAX_REFERENCE_ROWS rows. Raises JobError where a reference is named and has no row."""
    if job.quality.reference:
        named = [row for row in read_sources(job, job.quality.reference, key="quality.reference") if isinstance(row, Seed)]
        if not named:
            raise JobError("quality.reference: wanted real rows to measure against, got none; fix the path or fields")
        return Reference("quality.reference", seed_rows(_bounded(named)))
    for source, rows in (("split.real", sources.real), ("mix.real", sources.mixed)):
        if rows:
            return Reference(source, seed_rows(_bounded(rows)))
    return Reference("seeds", seed_rows(_bounded(sources.seeds)))


def _bounded(rows: Sequence[Seed] | SeedStore) -> list[Seed]:
    """Rows at equal distances, so that every part of a file is in."""
    step = max(1, -(-len(rows) // MAX_REFERENCE_ROWS))
    return [rows[i] for i in range(0, len(rows), step)]
