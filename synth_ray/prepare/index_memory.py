"""How much memory a run's admission will take, and which long n-grams it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synth_ray.admit.guard import LEAK_NGRAM
from synth_ray.dedup.embedding import dimensions_of
from synth_ray.dedup.memory import NO_BYTES, VectorBytes, bytes_a_row, bytes_a_row_beside_disk, label_bytes, vector_bytes
from synth_ray.job.document import Job
from synth_ray.prepare.lengths import Lengths
from synth_ray.prepare.preparation import Prepared
from synth_ray.records import SPLITS, TRAIN

_SAMPLE = 1000
_WORDS_A_TOKEN = 0.75


@dataclass(frozen=True, slots=True)
class IndexMemory:
    """Of the kept rows: bytes of one that is as long as expected, in `words`, and how many `rows` there will be at most.

    They are in the driver, or in so many `shards`. `newest` are bytes for the newest keys, where older ones and the rows are on
    disk; then `row` is what is in memory of one. `vectors`: of rows that are compared by their vectors, and what is in `row` of
    one of `dimensions`, which is 0 where they are not known before the model answers.
    """

    row: float
    words: float
    rows: int
    shards: int = 0
    newest: int = 0
    dimensions: int = 0
    vectors: VectorBytes | None = None

    @property
    def in_one_place(self) -> float:
        """In the driver, or in each shard."""
        cells = self.vectors.cells if self.vectors is not None else 0
        return self.newest + cells + self.row * self.rows / max(1, self.shards)

    @property
    def beside(self) -> float:
        """In the driver, wherever the rows are."""
        if self.vectors is None:
            return 0
        return self.vectors.sample + (self.vectors.centroids if self.shards else 0)

    @property
    def in_driver(self) -> float:
        return self.beside + (0 if self.shards else self.in_one_place)

    @property
    def total(self) -> float:
        return self.beside + self.in_one_place * max(1, self.shards)


def compared_sides(prepared: Prepared) -> set[str]:
    """The sides whose long n-grams rows of this job are compared with: a training row with those of evaluation rows, and the
    other way round. Where all rows are of one side, its own n-grams are neither kept nor saved.
    """
    splits = {SPLITS[code] for code in np.unique(prepared.seeds.splits).tolist()}
    splits |= set(prepared.real["split"].unique().to_pylist()) | prepared.mixed.splits
    return {"evaluation" if split == TRAIN else "train" for split in splits}


def index_memory(prepared: Prepared, lengths: Lengths | None) -> IndexMemory:
    """Rows are as long as an earlier run's answers, where `lengths` tell; else as the seeds, prompt and answer."""
    if lengths is not None and len(lengths.completion):
        words = _WORDS_A_TOKEN * float(np.mean(lengths.completion)) / prepared.slots
    else:
        seeds = prepared.seeds
        sizes = [_words(seeds[i].fields) for i in range(min(len(seeds), _SAMPLE))]
        words = float(np.mean(sizes)) if sizes else 0.0
    wanted = sum(prepared.wanted_rows.values())
    rows = (wanted or prepared.planned_requests * prepared.slots) + prepared.real.num_rows + len(prepared.mixed)
    guard_ngram = LEAK_NGRAM if len(compared_sides(prepared)) > 1 else None
    job, newest = prepared.job, prepared.job.dedup.spill_bytes or 0
    on_disk = bool(newest)
    row = (bytes_a_row_beside_disk if on_disk else bytes_a_row)(job.dedup, words=words, guard_ngram=guard_ngram)
    if prepared.recipe.label_words(prepared.options):
        row += label_bytes(on_disk=on_disk)
    memory = IndexMemory(row, words, rows, job.cluster.index_shards, newest)
    return _with_vectors(memory, job, on_disk=on_disk)


def _with_vectors(memory: IndexMemory, job: Job, *, on_disk: bool) -> IndexMemory:
    semantic = job.dedup.semantic
    if semantic is None:
        return memory
    model = job.models.by_role()[semantic.role] if semantic.role else None
    kept = model.scoring.dimensions if model is not None else None
    dimensions = kept or dimensions_of(model.model if model is not None else semantic.model)
    if dimensions is None:
        return replace(memory, vectors=NO_BYTES)
    vectors = vector_bytes(dimensions, rows=memory.rows, on_disk=on_disk)
    row = memory.row + (0 if on_disk else vectors.row)
    return replace(memory, row=row, dimensions=dimensions, vectors=vectors)


def _words(fields: Mapping[str, Any]) -> int:
    return len(f"{fields.get('prompt', '')} {fields.get('answer', '')}".split())
