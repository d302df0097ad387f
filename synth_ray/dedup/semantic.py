"""Near-duplicates in other words: which kept row, or earlier row of the batch, does a row repeat by its vector?"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import Any

import numpy as np

from synth_ray.dedup.cells import Centroids, exact, norms_of
from synth_ray.dedup.hashing import U32
from synth_ray.dedup.index import Blockers
from synth_ray.dedup.stores import VectorStore
from synth_ray.dedup.vectors import MemoryVectors, Near, near_pairs

Array = np.ndarray[Any, Any]

_BATCH_ORDER = 2**40  # rows of the same batch are ordered after every kept row
_EXACT_ROWS = 1 << 16
_STRIDE = 2
_PROBES = 16


def cells_and_stride(rows: int) -> tuple[int, int]:
    """Once so many rows were asked about: how many cells there are, 0 for none; and of how many rows one is in the sample."""
    cells, stride, made_at = 0, _STRIDE, _EXACT_ROWS
    while made_at < rows:
        cells, stride, made_at = 8 * isqrt(made_at), 2 * stride, 4 * made_at
    return cells, stride


class SemanticIndex:
    """The kept rows by their vectors. Law: exact cosine of the rounded vectors decides; the rows are a function of the rows
    before, wherever `store` has the vectors.

    Of the rows that were asked about, the first `exact_rows` (a power of four; left out, 4⁸) are compared with every kept row. A
    later one is compared with the kept rows, and the earlier ones of its batch, in the cells nearest to it. Cells are made anew
    whenever four times as many rows were asked about, eight times the square root of their number, from a sample of what was
    asked about, kept or not. So they do not depend on how the rows are cut into batches: within a batch, which rows will be kept
    is not known.

    Memory beside the store: the sample, 64 to 128 vectors for each square root of a row, and the centroids of the cells.
    """

    KEEPS = ("_asked", "_next_cells", "_stride", "_sample", "centroids")

    def __init__(
        self, threshold: float, *, store: VectorStore | None = None, exact_rows: int | None = None, probes: int = _PROBES
    ) -> None:
        self._threshold, self._probes = threshold, probes
        self._store = store if store is not None else MemoryVectors()
        self._asked, self._next_cells, self._stride = 0, exact_rows or _EXACT_ROWS, _STRIDE
        self._sample: list[tuple[Array, Array]] = []
        self._cells: Centroids | None = None

    @property
    def sample_bytes(self) -> int:
        return sum(vectors.nbytes for _, vectors in self._sample)

    @property
    def centroids(self) -> Array | None:
        return self._cells.vectors if self._cells is not None else None

    @centroids.setter
    def centroids(self, centroids: Array | None) -> None:
        """Those of another one that has the same vectors."""
        if centroids is not None:
            self._set_cells(Centroids(centroids))

    def _set_cells(self, cells: Centroids) -> None:
        self._cells = cells
        self._store.set_cells(cells)

    def blockers(self, vectors: Array) -> Blockers:
        """The blockers of each row: kept rows and earlier rows of the batch that are near enough, the nearest first.

        Call once for each batch, in order.
        """
        norms, runs = norms_of(vectors), list[Near]()
        for at, end in self._steps(vectors):
            runs += self._blocked(vectors, norms, at, end)
        rows, by, similarity = Near.joined(runs)
        order = np.lexsort((np.where(by < 0, _BATCH_ORDER - by, by), -similarity, rows))
        ends = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(vectors)))))
        return Blockers(ends, by[order].astype(np.int64), similarity[order])

    def skip(self, vectors: Array) -> None:
        """As if these rows had been asked about: for rows that are kept whatever they repeat."""
        for _ in self._steps(vectors):
            pass

    def _steps(self, vectors: Array) -> Iterator[tuple[int, int]]:
        """The parts of a batch between which cells are made."""
        at = 0
        while at < len(vectors):
            if self._asked == self._next_cells:
                self._make_cells()
            end = min(len(vectors), at + self._next_cells - self._asked)
            yield at, end
            self._take_sample(vectors[at:end])
            self._asked, at = self._asked + end - at, end

    def _take_sample(self, vectors: Array) -> None:
        """Every `stride`-th row that was asked about, if it has a vector."""
        rows = np.arange(-self._asked % self._stride, len(vectors), self._stride)
        rows = rows[vectors[rows].any(axis=1)]
        if len(rows):
            self._sample.append((self._asked + rows, vectors[rows]))

    def _make_cells(self) -> None:
        """Put the kept vectors into new cells, and thin the sample out for the next ones. Without any vector there are none."""
        if self._sample:
            asked, sample = (np.concatenate(parts) for parts in zip(*self._sample, strict=True))
            thinner = asked % (2 * self._stride) == 0
            self._sample = [(asked[thinner], sample[thinner])] if thinner.any() else []
            self._set_cells(Centroids.of_sample(sample, min(len(sample), 8 * isqrt(self._next_cells))))
        self._next_cells, self._stride = 4 * self._next_cells, 2 * self._stride

    def _blocked(self, vectors: Array, norms: Array, at: int, end: int) -> list[Near]:
        """Of the rows from `at` to `end`, between which no cells are made: kept rows, and as -1 - i earlier ones of the batch."""
        if not vectors.shape[1]:
            return []  # without a vector among them, nothing is near
        new = vectors[at:end]
        products = exact(new) @ exact(vectors[:end]).T
        row, other = np.nonzero(np.tril(near_pairs(products, norms[at:end], norms[:end], self._threshold), at - 1))
        if self._cells is None:
            probed = np.zeros((len(new), 0), np.int32)
        else:
            probed = self._cells.nearest(new, self._probes)
            earlier, place = np.unique(other, return_inverse=True)
            shared = (probed[row] == self._cells.nearest(vectors[earlier], 1)[place]).any(axis=1)
            row, other = row[shared], other[shared]
        by_kept = self._store.near(new, probed, self._threshold)
        similarity = _cosine(vectors, norms, at + row, other)
        return [by_kept._replace(row=at + by_kept.row), Near(at + row, -1 - other, similarity)]

    def keep(self, vectors: Array, numbers: Array) -> tuple[Array, Array]:
        """Add kept rows, under their numbers in the index. Returns what was added: a vector of zeros is near to none."""
        some = vectors.any(axis=1)
        vectors, numbers = vectors[some], numbers[some].astype(U32)
        if len(vectors):
            self._store.append(vectors, numbers)
        return vectors, numbers


def _cosine(vectors: Array, norms: Array, row: Array, other: Array) -> Array:
    products = np.einsum("ij,ij->i", vectors[row], vectors[other], dtype=np.float64)
    return products / (norms[row] * norms[other])
