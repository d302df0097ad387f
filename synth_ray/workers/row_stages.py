"""What is done to every row before it is staged: check, scrub, fingerprint, embed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.check.checker import open_checker
from synth_ray.check.thoughts import ThoughtRules
from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.embedding import embedding_column, open_embedder
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.normalise import VERSION
from synth_ray.job.document import Job
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.records import STAGED, Reason
from synth_ray.scrub.scrubber import open_scrubber


class RowStages:
    """The stages of one job, over tables of `records.STAGED`. Raises MissingResource where something they need is absent."""

    def __init__(self, job: Job) -> None:
        recipe = find(job.recipe.name)
        self._compared_columns, self._mask = comparison_of_job(job)
        options = options_of(job.recipe)
        self._checker = open_checker(
            job.check,
            recipe_schema=recipe.schema(options),
            generated=recipe.generated(options),
            thoughts=thought_rules(job),
        )
        self.scrubber = open_scrubber(job.scrub)
        semantic = job.dedup.semantic
        self._embedder = open_embedder(semantic.model) if semantic is not None and semantic.model else None
        self._embeds_asked = semantic is not None and bool(semantic.role)
        self._max_findings = job.scrub.max_findings
        self.fingerprinter = Fingerprinter(job.dedup)

    def run_all(self, table: pa.Table) -> pa.Table:
        """Check, scrub and fingerprint every row, whatever its verdict so far."""
        return self.scrub_and_fingerprint(self._checker.flag_rows(table))

    def run_again(self, table: pa.Table) -> pa.Table:
        """All stages again, from staged text: for a curation whose job stages differently from its run."""
        reasons = [None if reason == Reason.TOO_MUCH_PII else reason for reason in table["reason"].to_pylist()]
        table = _with_columns(table, reason=reasons, flags=[None] * table.num_rows)
        return self._apply_finding_limit(self.run_all(table))

    def _apply_finding_limit(self, table: pa.Table) -> pa.Table:
        """Findings of the earlier scrub are in the counts and no longer in the text, so the limit is applied to the counts."""
        limit = self._max_findings
        if limit is None:
            return table
        findings = [sum(n for _, n in counts or ()) for counts in table["pii"].to_pylist()]
        reasons = [
            reason or (Reason.TOO_MUCH_PII.value if n > limit else None)
            for reason, n in zip(table["reason"].to_pylist(), findings, strict=True)
        ]
        return _with_columns(table, reason=reasons)

    def scrub_and_fingerprint(self, table: pa.Table) -> pa.Table:
        """The stages of a real row, which is not checked."""
        before = self._compared(table) if self._embeds_asked else None
        table = self.scrubber.scrub_rows(table)
        text = self._compared(table)
        return _with_embedding(self.fingerprinter.fingerprint_rows(table, text), self._embedding(table, text, before))

    def _compared(self, table: pa.Table) -> pa.ChunkedArray:
        return compared_text(table, self._compared_columns, mask=self._mask)

    def _embedding(self, table: pa.Table, text: pa.ChunkedArray, before: pa.ChunkedArray | None) -> pa.Array | pa.ChunkedArray:
        """The vector of each text: made here, or by a model that was asked, whose vector of a text that the scrub has changed
        is dropped, since it tells of what was taken out.
        """
        if self._embedder is not None:
            return embedding_column(self._embedder, text)
        if before is None:
            return pa.nulls(table.num_rows, pa.binary())
        return pc.if_else(pc.equal(text, before), table["embedding"], pa.scalar(None, pa.binary()))


def _with_embedding(table: pa.Table, vectors: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index("embedding"), "embedding", vectors)


def _with_columns(table: pa.Table, **columns: list[Any]) -> pa.Table:
    for name, values in columns.items():
        field = STAGED.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    return table


def thought_rules(job: Job) -> ThoughtRules:
    """What the job says of thoughts: whether its rows should have them, and the marks it names."""
    is_asked_for = job.recipe.reasoning == "keep" or job.recipe.marks is not None
    is_asked_for |= any(teacher.reasoning is not None and teacher.may_think for teacher in job.models.teachers)
    named = [model.reasoning.marks for model in job.models.by_role().values() if model.reasoning is not None]
    named += [job.recipe.marks] if job.recipe.marks is not None else []
    return ThoughtRules(job.keeps_reasoning and is_asked_for, tuple(mark for pair in named for mark in pair))


def stage_keys(job: Job) -> dict[str, Any]:
    """What staged rows depend on beside what was asked: the job's keys, and the version of the normal form of fingerprints."""
    return job.keys_by_cost("stage") | {"dedup.normal_form": VERSION}


def comparison_of_job(job: Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns two rows are compared by, and the texts left out of them: the job's choice, else the recipe's."""
    recipe = find(job.recipe.name)
    options = options_of(job.recipe)
    return tuple(job.dedup.compares or recipe.compares(options)), (*recipe.mask(options), *job.dedup.mask)
