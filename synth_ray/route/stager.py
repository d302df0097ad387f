"""One CPU worker: a chunk's answers are checked, scrubbed, fingerprinted and committed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from synth_ray.check.checker import open_checker
from synth_ray.dataset.ledger import Ledger
from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.embedding import embedding_column, open_embedder
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.job.document import Job
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.records import STAGED, Reason
from synth_ray.route.places import open_output
from synth_ray.route.pool import ChunkStaged
from synth_ray.scrub.scrubber import open_scrubber


class Stager:
    """Stages chunks, one at a time. Opening loads what checking and scrubbing need, and fails if any of it is absent."""

    def __init__(self, job: Job) -> None:
        recipe = find(job.recipe.name)
        self._compares, self._mask = compared(job)
        self._checker = open_checker(job.check, recipe_schema=recipe.schema(options_of(job.recipe)))
        self._scrubber = open_scrubber(job.scrub)
        self._fingerprinter = Fingerprinter(job.dedup)
        self._embedder = open_embedder(job.dedup.semantic) if job.dedup.semantic is not None else None
        self._max_findings = job.scrub.max_findings
        self._ledger = Ledger(open_output(job.output))

    def stage(self, chunk: int, batches: Sequence[pa.RecordBatch], facts: Mapping[str, Any]) -> ChunkStaged:
        """Commit the chunk. Its rows are put in (position, slot) order, whatever order they were answered in."""
        began = time.monotonic()
        table = self.checked_and_curated(in_order(batches))
        self._ledger.stage(chunk, table, dict(facts))
        return ChunkStaged(chunk, table.num_rows, time.monotonic() - began)

    @property
    def fingerprinter(self) -> Fingerprinter:
        return self._fingerprinter

    def checked_and_curated(self, table: pa.Table) -> pa.Table:
        """Check, then curate: every row, whatever its verdict so far."""
        return self.curated(self._checker.table(table))

    def restaged(self, table: pa.Table) -> pa.Table:
        """Staged rows, checked, scrubbed and fingerprinted again by this job, from their staged text."""
        asked = [None if reason == Reason.TOO_MUCH_PII else reason for reason in table["reason"].to_pylist()]
        table = _with(table, reason=asked, flags=[None] * table.num_rows, embedding=[None] * table.num_rows)
        return self._too_much(self.checked_and_curated(table))

    def _too_much(self, table: pa.Table) -> pa.Table:
        """Findings of an earlier scrub are in the counts, no longer in the text."""
        most = self._max_findings
        if most is None:
            return table
        found = [sum(n for _, n in counts or ()) for counts in table["pii"].to_pylist()]
        reasons = [
            reason or (Reason.TOO_MUCH_PII.value if n > most else None)
            for reason, n in zip(table["reason"].to_pylist(), found, strict=True)
        ]
        return _with(table, reason=reasons)

    def curated(self, table: pa.Table) -> pa.Table:
        """Scrub and fingerprint: all there is to do for a real row, which nobody checks."""
        table = self._scrubber.table(table)
        text = compared_text(table, self._compares, mask=self._mask)
        table = self._fingerprinter.table(table, text)
        if self._embedder is None:
            return table
        return table.set_column(table.schema.get_field_index("embedding"), "embedding", embedding_column(self._embedder, text))


def _with(table: pa.Table, **columns: list[Any]) -> pa.Table:
    for name, values in columns.items():
        field = STAGED.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    return table


def compared(job: Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What two rows are compared by, and what of it is left out: the job's word, else the recipe's."""
    recipe = find(job.recipe.name)
    options = options_of(job.recipe)
    return tuple(job.dedup.compares or recipe.compares(options)), (*recipe.mask(options), *job.dedup.mask)


def in_order(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(list(batches), schema=STAGED)
    return table.sort_by([("position", "ascending"), ("slot", "ascending")]).combine_chunks()
