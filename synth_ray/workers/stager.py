"""One CPU worker: a chunk's answers are checked, scrubbed, fingerprinted and committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from synth_ray.dataset.ledger import Ledger
from synth_ray.job.document import Job
from synth_ray.records import STAGED
from synth_ray.storage.job_files import open_output
from synth_ray.workers.pool import ChunkCommitted
from synth_ray.workers.row_stages import RowStages


class Stager:
    """Stages chunks, one at a time."""

    def __init__(self, job: Job) -> None:
        self._stages = RowStages(job)
        self._ledger = Ledger(open_output(job.output))

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, Any]) -> ChunkCommitted:
        """Commit the chunk. Its rows are put in (position, slot) order, whatever order they were answered in."""
        table = self._stages.run_all(_in_plan_order(batches))
        self._ledger.commit_chunk(chunk, table, dict(facts))
        return ChunkCommitted(chunk)


def _in_plan_order(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(list(batches), schema=STAGED)
    return table.sort_by([("position", "ascending"), ("slot", "ascending")]).combine_chunks()
