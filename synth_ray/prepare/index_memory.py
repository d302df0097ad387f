"""How much memory a run's admission will take, and which long n-grams it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth_ray.admit.guard import LEAK_NGRAM
from synth_ray.dedup.memory import bytes_a_row, bytes_a_row_beside_disk
from synth_ray.prepare.lengths import Lengths
from synth_ray.prepare.preparation import Prepared
from synth_ray.records import SPLITS, TRAIN

_SAMPLE = 1000
_WORDS_A_TOKEN = 0.75


@dataclass(frozen=True, slots=True)
class IndexMemory:
    """Of the kept rows: bytes of one that is as long as expected, in `words`, and how many `rows` there will be at most.

    `fixed` are bytes for the newest keys, where older ones and the rows are on disk; then `row` is what is in memory of one.
    """

    row: float
    words: float
    rows: int
    fixed: int = 0

    @property
    def total(self) -> float:
        return self.fixed + self.row * self.rows


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
    dedup = prepared.job.dedup
    bytes_of = bytes_a_row_beside_disk if dedup.spill_bytes else bytes_a_row
    return IndexMemory(bytes_of(dedup, words=words, guard_ngram=guard_ngram), words, rows, dedup.spill_bytes or 0)


def _words(fields: Mapping[str, Any]) -> int:
    return len(f"{fields.get('prompt', '')} {fields.get('answer', '')}".split())
