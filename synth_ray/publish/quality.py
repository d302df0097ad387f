"""Measures a version's accepted rows against real ones, for its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.normalise import FIELD
from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.classes import labels
from synth_ray.publish.observers import RowObserver
from synth_ray.quality.narrowing import compare
from synth_ray.quality.sample import RowSample, SampledRow
from synth_ray.quality.usefulness import usefulness
from synth_ray.records import Origin

Facts = dict[str, Any]

_NARROWING_ROWS = 2_000


class QualityObserver(RowObserver):
    """Samples the accepted rows that a model generated."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self.sample = RowSample()

    def on_accepted(self, accepted: pa.Table) -> None:
        """Only rows that the sample takes are read: of a long run few."""
        generated = accepted.filter(pc.equal(accepted["origin"], Origin.SYNTHETIC.value))
        small = generated.filter(pa.array(id_numbers(generated["id"]) <= self.sample.bar))
        self.sample.add(sampled_rows(self._prepared, small))
        self.sample.seen += generated.num_rows - small.num_rows


def id_numbers(ids: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """The first eight bytes of each id as a number: in the order of the ids."""
    return np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ">u8").reshape(-1, 2)[:, 0]


def is_measured(prepared: Prepared) -> bool:
    return prepared.job.quality.measure and not prepared.recipe.copies


def quality_facts(prepared: Prepared, sample: RowSample, *, scrub_and_fingerprint: Callable[[pa.Table], pa.Table]) -> Facts:
    """The manifest's keys that compare the sampled rows with the job's reference."""
    reference = prepared.reference
    real = list(sampled_rows(prepared, scrub_and_fingerprint(reference.rows)))
    generated = sample.rows
    facts: Facts = {"source": reference.source, "rows": len(real), "generated": len(generated)}
    narrowing = compare(_texts(generated), _texts(real))
    return {"reference": facts, "narrowing": narrowing, **usefulness(generated, real, are_seeds=reference.source == "seeds")}


def sampled_rows(prepared: Prepared, rows: pa.Table) -> Iterator[SampledRow]:
    """The measured text and the class of each row; rows without that text are left out."""
    texts = pc.replace_substring(compared_text(rows, text_columns(prepared)), FIELD, "\n").to_pylist()
    columns = (rows[name].to_pylist() for name in ("id", "split", "lineage"))
    for text, label, name, split, lineage in zip(texts, labels(prepared, rows), *columns, strict=True):
        if text.strip():
            yield SampledRow(name, text, label, split or "", lineage or "")


def text_columns(prepared: Prepared) -> Sequence[str]:
    """The columns that hold what the recipe generates; of labels, the text that is labelled."""
    recipe, options = prepared.recipe, prepared.options
    if prepared.job.quality.columns:
        return prepared.job.quality.columns
    generated = [name for name in recipe.generated(options) if name != "turns"]
    if "prompt" in generated:
        return ["prompt"]
    return generated or ["prompt" if recipe.label_words(options) else "completion"]


def _texts(rows: Sequence[SampledRow]) -> list[str]:
    return [row.text for row in rows[:_NARROWING_ROWS]]
