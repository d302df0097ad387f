"""What the dataset is measured against, and with what."""

from __future__ import annotations

from typing import Annotated

from synth_ray.job.section import OneOrMore, Section, key
from synth_ray.job.seeds import Source


class Quality(Section):
    """Measures of the finished dataset: they reject no row, so changing them costs a `curate` and no model is asked."""

    measure: bool = key(True, "Measure the dataset against real rows at the end of a run.", changes="nothing")
    reference: Annotated[list[Source], OneOrMore] = key(
        list,
        "Real rows to measure against, which no model saw. Left out: the rows of `split.real`, else those of `mix.real`, else "
        "the seeds, and the report says which.",
        changes="nothing",
    )
    columns: list[str] = key(
        list,
        "Texts measured: prompt, completion, or a field. Left out, those that the recipe generates.",
        changes="nothing",
    )
    label: str = key(
        "",
        "The class of a row: completion, or a field. Left out, the completion where the recipe's answers are labels, else the "
        "field of `fill`'s `by`, one named label, category, class or intent, or that of target.balance or split.stratify.",
        changes="nothing",
    )
    embedding: str = key(
        "",
        "Folder of a local embedding model, as for `dedup.semantic`, for measures of meaning. Left out, weighted words and word "
        "pairs are used.",
        changes="nothing",
    )
