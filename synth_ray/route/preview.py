"""The first rows of a plan as they would be published: asked, checked, scrubbed and decided as a run does, and written nowhere.

Quotas are not applied, and a judge's scores reject although its agreement with people is not measured: both need a whole run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.admit.admission import Admission
from synth_ray.admit.verdicts import Policy
from synth_ray.ask.rows import rows_by_chunk
from synth_ray.dataset.schema import Provenance, RowShape
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.schedule import open_schedule
from synth_ray.prepare.sources import evaluation_sets
from synth_ray.publish.copy_protection import open_copy_detector
from synth_ray.publish.indexing import index_seeds, open_index
from synth_ray.records import STAGED, Outcome, Request
from synth_ray.storage import open_storage
from synth_ray.workers.row_stages import RowStages

MAX_COMPARED = 20_000
"""Seeds and real rows up to which rows are compared with them: more would be scrubbed for minutes before the first answer."""


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """A row's request, its place there, its published columns by name, and every flag that it raised."""

    request: str
    slot: int
    columns: dict[str, Any]
    flags: list[str]


def first_requests(prepared: Prepared, count: int, *, folder: Path) -> list[Request]:
    """The first requests that a run of the job would ask, `count` at most. `folder` is for the plan's record."""
    schedule = open_schedule(prepared.job, prepared, open_storage(str(folder)), extend=False, retry_failed=False)
    requests: list[Request] = []
    chunk = 0
    while len(requests) < count and (planned := schedule.next_requests(chunk)):
        requests, chunk = requests + planned, chunk + 1
    return requests[:count]


def is_compared(prepared: Prepared) -> bool:
    """Whether rows are compared with the seeds and the real rows, of which there may be too many for a preview."""
    compared: int = len(prepared.seeds) + prepared.real.num_rows + len(prepared.mixed)
    return compared <= MAX_COMPARED


def preview_rows(prepared: Prepared, outcomes: Iterable[Outcome], *, raw: bool) -> list[PreviewedRow]:
    """Every row of the outcomes in plan order, decided as a run would. `raw`: with the text as it was before it was scrubbed.

    Raises JobError or MissingResource where a stage of the job cannot be opened.
    """
    stages = RowStages(prepared.job)
    batches = [answered.rows for answered in rows_by_chunk(outcomes)]
    order = [("chunk", "ascending"), ("position", "ascending"), ("slot", "ascending")]
    answered = pa.Table.from_batches(batches, schema=STAGED).sort_by(order)
    staged = stages.run_all(answered)
    decided = _admission(prepared, stages).decide(staged)
    shown = (answered if raw else staged).drop_columns(["reason", "detail"])
    for name in ("verdict", "reason", "detail", "witness", "similarity"):
        shown = shown.append_column(name, decided[name])
    rows = zip(staged.to_pylist(), _shape(prepared).rejected(shown).to_pylist(), strict=True)
    return [PreviewedRow(row["request"], row["slot"], columns, row["flags"] or []) for row, columns in rows]


def _shape(prepared: Prepared) -> RowShape:
    job = prepared.job
    return RowShape.of(
        job.output,
        provenance=Provenance(models=job.models, recipe=job.recipe.name, ask_digest=prepared.ask_digest),
        recipe_columns=prepared.recipe.columns(prepared.options),
        reasoning=prepared.job.keeps_reasoning,
    )


def _admission(prepared: Prepared, stages: RowStages) -> Admission:
    """The admission of a run before its first chunk: it knows the real rows, the evaluation sets and the seeds."""
    job, words, scrub = prepared.job, stages.fingerprinter.words, stages.scrub_and_fingerprint
    compared, kept = is_compared(prepared), open_index(prepared, None)
    admission = Admission(
        dedup=job.dedup,
        policy=Policy.of_checks(job.check),
        real=scrub(prepared.real if compared else prepared.real.slice(0, 0)),
        evals=evaluation_sets(job, words),
        kept=kept,
        copy_detector=open_copy_detector(prepared, scrub_and_fingerprint=scrub, hash_words=words) if compared else None,
    )
    if compared:
        for rows in prepared.mixed.batches():
            admission.decide(scrub(rows), remaining_rows=np.array([rows.num_rows]))
        index_seeds(prepared, kept.index, scrub_and_fingerprint=scrub)
    return admission
