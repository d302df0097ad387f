"""Bytes that the memory of admission takes for a row, by what is in it; measured against filled stores by a test."""

from __future__ import annotations

from dataclasses import dataclass

from synth_ray.dedup.cell_kernels import BLOCK_IDS
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.fingerprint import LONG_NGRAM
from synth_ray.dedup.semantic import cells_and_stride
from synth_ray.job.dedup import Dedup

_LOAD = 0.763
"""Entries a slot of a growing table, between 0.73 and 0.8."""
_SPARE = 1.04
"""Of growing arrays, which have up to 8 % more space than they use."""
_KEY, _WIDE_KEY = 10 / _LOAD, 12 / _LOAD
_KEY_OF_RUN, _WIDE_KEY_OF_RUN = 2.21, 1.21
"""Of a sorted run: 2.14 to 2.28, and 1 less. See `runs.Run`."""
_ID, _SPLIT, _DIGEST, _END, _SHINGLE = 16, 1, 16, 8, 4
_NUMBER, _NORM, _PLACE, _LABEL = 4, 8, 4, 32
_LIST = 8
"""Of a cell: its last block, and how much of that is filled."""


def bytes_a_row(dedup: Dedup, *, words: float, guard_ngram: int | None) -> float:
    """For a kept row of so many distinct words. `guard_ngram`: words in an n-gram of the split-leak guard; None without it."""
    row, keys = _row_and_keys(dedup, words)
    return _SPARE * row + _KEY * keys + _WIDE_KEY * _guarded(words, guard_ngram)


def bytes_a_row_beside_disk(dedup: Dedup, *, words: float, guard_ngram: int | None) -> float:
    """The same where the rows and the sorted runs are on disk (`dedup.spill_bytes`): what of them stays in memory."""
    _, keys = _row_and_keys(dedup, words)
    return _KEY_OF_RUN * keys + _WIDE_KEY_OF_RUN * _guarded(words, guard_ngram)


def _row_and_keys(dedup: Dedup, words: float) -> tuple[float, int]:
    """Bytes of a row itself, and how many keys it has in the index."""
    row = float(_ID + _SPLIT + _DIGEST + _END)
    keys = 1
    if dedup.near and words >= dedup.min_tokens:
        row += _SHINGLE * max(1.0, words - (dedup.ngram or LONG_NGRAM) + 1)
        keys += banding_of(dedup).bands
    return row, keys


def _guarded(words: float, guard_ngram: int | None) -> float:
    return max(0.0, words - guard_ngram + 1) if guard_ngram is not None else 0.0


@dataclass(frozen=True, slots=True)
class VectorBytes:
    """Bytes of the vectors of kept rows: of one `row` where it lies, in memory or in a file; of the `cells` in memory, once in
    each place that has vectors; of the `sample` that cells are made of, and of the `centroids`, in the driver.
    """

    row: float
    cells: float
    sample: float
    centroids: float


NO_BYTES = VectorBytes(0, 0, 0, 0)


def vector_bytes(dimensions: int, *, rows: int, on_disk: bool) -> VectorBytes:
    """For so many rows that were asked about, all of them kept."""
    cells, stride = cells_and_stride(rows)
    centroids = cells * (5 * dimensions + _NORM)
    stored = dimensions + _NUMBER + _NORM
    per_cell = BLOCK_IDS * stored + _LIST if on_disk else BLOCK_IDS / 2 * _PLACE + _LIST
    in_lists = 0 if on_disk or not cells else _PLACE
    return VectorBytes(
        row=stored if on_disk else _SPARE * (stored + in_lists),
        cells=centroids + cells * per_cell,
        sample=rows / stride * dimensions,
        centroids=centroids,
    )


def label_bytes(*, on_disk: bool) -> float:
    """For the input of a labelled row."""
    return _KEY_OF_RUN if on_disk else _KEY + _SPARE * _LABEL
