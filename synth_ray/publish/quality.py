"""Measures a version's accepted rows against real ones, for its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.normalise import FIELD
from synth_ray.job.quality import Quality
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.reference import open_quality_embedder
from synth_ray.publish.classes import labels
from synth_ray.publish.observers import RowObserver
from synth_ray.quality.label_noise import label_noise
from synth_ray.quality.measures import MEASURES
from synth_ray.quality.narrowing import MAX_ROWS, MIN_ROWS, compare
from synth_ray.quality.sample import RowSample, SampledRow
from synth_ray.quality.usefulness import usefulness
from synth_ray.quality.vectors import embedded
from synth_ray.recipes.contract import ANY_LENGTH
from synth_ray.records import Origin, fields_of

Facts = dict[str, Any]

_NO_EQUAL_LENGTHS = (
    f"Fewer than {MIN_ROWS} generated and real rows are of equal length, so that measures which follow a text's length are left "
    "out; name real rows as long as those wanted under quality.reference."
)


class QualityObserver(RowObserver):
    """Samples the accepted rows that the recipe made: generated ones or, where it copies, the seeds it copied."""

    KEEPS = ("sample",)

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self.sample = RowSample()

    def on_accepted(self, accepted: pa.Table) -> None:
        """Only rows that the sample takes are read: of a long run few."""
        small = accepted.filter(pc.less(accepted["id"], self.sample.limit))
        if not self._prepared.recipe.copies:
            small = small.filter(pc.equal(small["origin"], Origin.SYNTHETIC.value))
        self.sample.add(sampled_rows(self._prepared, small))


def quality_facts(prepared: Prepared, sample: RowSample, *, scrub_and_fingerprint: Callable[[pa.Table], pa.Table]) -> Facts:
    """The manifest's keys that compare the sampled rows with the job's reference. Copied rows are real, so that only their labels
    are looked at.
    """
    if prepared.recipe.copies:
        return {"label_noise": label_noise(sample.rows)} if any(row.label for row in sample.rows) else {}
    reference = prepared.reference
    real = sorted(sampled_rows(prepared, scrub_and_fingerprint(reference.rows)), key=lambda row: row.id)
    generated = sample.rows
    facts = {"source": reference.source, "rows": len(real), "generated": len(generated)} | _reference_notes(prepared)
    narrowing = narrowing_facts(prepared.job.quality, facts, generated, real)
    return narrowing | usefulness(generated, real, are_seeds=reference.source == "seeds")


def narrowing_facts(quality: Quality, facts: Facts, generated: Sequence[SampledRow], real: Sequence[SampledRow]) -> Facts:
    """`reference` and `narrowing`, from the first rows of both samples by their ids, which are random."""
    ours, theirs = ([row.text for row in side[:MAX_ROWS]] for side in (generated, real))
    if missing := _not_measured(facts["source"], generated=len(generated), real=len(real)):
        return {"reference": facts | {"not_measured": missing}, "narrowing": {}}
    embedder = open_quality_embedder(quality)
    vectors = embedded(embedder, [*ours, *theirs]) if embedder is not None else None
    narrowing = compare(ours, theirs, vectors=vectors)
    if len(narrowing) < len(MEASURES):
        facts = facts | {"not_measured": _NO_EQUAL_LENGTHS}
    return {"reference": facts, "narrowing": narrowing}


def _reference_notes(prepared: Prepared) -> Facts:
    """What the rows are read with, and whether the teacher was shown the reference."""
    reference, quality = prepared.reference, prepared.job.quality
    rows = reference.rows.num_rows
    if reference.source == "seeds" and rows:
        note = (
            "No real rows were held out: the reference are the seeds, which the teacher was shown, so that rows copied from them "
            "look like real ones. Name real rows that no model saw under quality.reference."
        )
    elif reference.shown:
        note = f"{reference.shown:,} of {rows:,} reference rows are seeds too, which the teacher was shown."
    else:
        note = "The teacher was shown none of the reference rows."
    return {"vectors": Path(quality.embedding).name if quality.embedding else "words", "shown": reference.shown, "note": note}


def _not_measured(source: str, *, generated: int, real: int) -> str:
    """Why nothing is measured; empty where there are rows enough."""
    if min(generated, real) >= MIN_ROWS:
        return ""
    if real < MIN_ROWS:
        move = "name more real rows under quality.reference"
    else:
        move = "ask for more rows, or see under rejected why so few were accepted"
    return (
        f"Wanted at least {MIN_ROWS} generated and {MIN_ROWS} real rows with the measured text, got {generated:,} generated and "
        f"{real:,} real ones (from {source}); {move}."
    )


def sampled_rows(prepared: Prepared, rows: pa.Table) -> Iterator[SampledRow]:
    """The measured text and the class of each row; rows without that text are left out."""
    names = text_columns(prepared)
    missing = {*names} - {"prompt", "completion"}
    if missing:  # a field that is null is no text
        rows = rows.filter(pa.array([any(fields.get(name) for name in names) for fields in fields_of(rows)], pa.bool_()))
    texts = pc.replace_substring(compared_text(rows, names), FIELD, "\n").to_pylist()
    columns = (rows[name].to_pylist() for name in ("id", "split", "lineage"))
    for text, label, name, split, lineage in zip(texts, labels(prepared, rows), *columns, strict=True):
        if text.strip():
            yield SampledRow(name, text, label, split or "", lineage or "")


def text_columns(prepared: Prepared) -> Sequence[str]:
    """The columns that hold what the recipe generates, and that make rows alike; of labels, the text that is labelled."""
    recipe, options = prepared.recipe, prepared.options
    if prepared.job.quality.columns:
        return prepared.job.quality.columns
    if recipe.copies or recipe.label_words(options) == ANY_LENGTH:
        return ["prompt"]
    return [name for name in recipe.generated(options) if name in recipe.compares(options)] or ["completion"]
