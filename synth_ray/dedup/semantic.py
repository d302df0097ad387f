"""The kept rows' embeddings: which kept row, or earlier row of the batch, does a row repeat in other words?"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import Any

import numpy as np

from synth_ray.dedup.cells import Cells, exact, norms_of
from synth_ray.dedup.hashing import U32
from synth_ray.dedup.index import Blockers
from synth_ray.dedup.table import GrowableArray

Array = np.ndarray[Any, Any]

_BLOCK = 1 << 16
_BATCH_ORDER = 2**40  # rows of the same batch are ordered after every kept row
_EXACT_ROWS = 1 << 16
_PROBES = 16
_NONE = np.zeros(0, np.int64)


class SemanticIndex:
    """The vectors of the kept rows. Law: exact cosine of the rounded vectors decides; the rows are a function of the rows before.

    Of the rows that were asked about, the first `exact_rows` (a power of four) are compared with every kept row. A later one is
    compared with the kept rows, and the earlier ones of its batch, in the cells nearest to it. Cells are made anew whenever four
    times as many rows were asked about, eight times the square root of their number, from a sample of what was asked about, kept
    or not. So they do not depend on how the rows are cut into batches: within a batch, which rows will be kept is not known.

    Memory: a byte per dimension and 16 a row, and the sample: four vectors for each square root of a row.
    """

    KEEPS = ("_asked", "_next_cells", "_stride", "_sample", "centroids")

    def __init__(self, threshold: float, *, exact_rows: int = _EXACT_ROWS, probes: int = _PROBES) -> None:
        self._threshold, self._probes = threshold, probes
        self._vectors: GrowableArray | None = None
        self._numbers, self._norms = GrowableArray(U32), GrowableArray(np.float64)
        self._asked, self._next_cells, self._stride = 0, exact_rows, 2
        self._sample: list[tuple[Array, Array]] = []
        self._cells: Cells | None = None

    @property
    def nbytes(self) -> int:
        vector_bytes = self._vectors.nbytes if self._vectors is not None else 0
        cell_bytes = self._cells.nbytes if self._cells is not None else 0
        return (
            vector_bytes
            + self._numbers.nbytes
            + self._norms.nbytes
            + cell_bytes
            + sum(vectors.nbytes for _, vectors in self._sample)
        )

    def __len__(self) -> int:
        return self._numbers.length

    @property
    def dimensions(self) -> int:
        return self._vectors.array.shape[1] if self._vectors is not None else 0

    def entries(self, first: int) -> tuple[Array, Array]:
        """The vectors kept from the entry `first` on, and their numbers: to be kept by another one."""
        vectors = self._vectors.view[first:].copy() if self._vectors is not None else np.zeros((0, 0), np.int8)
        return vectors, self._numbers.view[first:].copy()

    @property
    def centroids(self) -> Array | None:
        return self._cells.centroids if self._cells is not None else None

    @centroids.setter
    def centroids(self, centroids: Array | None) -> None:
        """Those of another one that has the same vectors."""
        self._cells = Cells.around(centroids, probes=self._probes) if centroids is not None else None
        if self._cells is not None and self._vectors is not None:
            self._cells.add(self._vectors.view)

    def blockers(self, vectors: Array) -> Blockers:
        """The blockers of each row: kept rows and earlier rows of the batch that are near enough, the nearest first.

        Call once for each batch, in order.
        """
        norms, runs = norms_of(vectors), [(_NONE, _NONE, np.zeros(0))]
        for at, end in self._steps(vectors):
            runs += self._blocked(vectors, norms, at, end)
        rows, by, similarity = (np.concatenate(parts) for parts in zip(*runs, strict=True))
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
            self._cells = Cells(sample, min(len(sample), 8 * isqrt(self._next_cells)), probes=self._probes)
            if self._vectors is not None:
                self._cells.add(self._vectors.view)
        self._next_cells, self._stride = 4 * self._next_cells, 2 * self._stride

    def _blocked(self, vectors: Array, norms: Array, at: int, end: int) -> list[tuple[Array, Array, Array]]:
        """(row, blocker, similarity) of the rows from `at` to `end`, between which no cells are made."""
        if not vectors.shape[1]:
            return []  # without a vector among them, nothing is near
        new, own = exact(vectors[at:end]), norms[at:end]
        row, other = np.nonzero(np.tril(self._near_pairs(new @ exact(vectors[:end]).T, own, norms[:end]), at - 1))
        if self._cells is None:
            kept = [self._blocked_by_kept(new, own, block) for block in range(0, self._numbers.length, _BLOCK)]
        else:
            probed = self._cells.nearest(vectors[at:end])
            earlier, place = np.unique(other, return_inverse=True)
            shared = (probed[row] == self._cells.nearest(vectors[earlier], 1)[place]).any(axis=1)
            row, other = row[shared], other[shared]
            kept = [self._blocked_in_cells(self._cells, probed, vectors[at:end], own)]
        similarity = _cosine(vectors, norms, at + row, other)
        return [(at + row, by, near) for row, by, near in kept] + [(at + row, -1 - other, similarity)]

    def _blocked_in_cells(self, cells: Cells, probed: Array, new: Array, norms: Array) -> tuple[Array, Array, Array]:
        if self._vectors is None:
            return _NONE, _NONE, np.zeros(0)
        row, place, product = cells.near(probed, new, norms, self._vectors.view, self._norms.view, self._threshold)
        similarity = product / (norms[row] * self._norms.view[place])
        return row, self._numbers.view[place].astype(np.int64), similarity

    def _blocked_by_kept(self, new: Array, norms: Array, at: int) -> tuple[Array, Array, Array]:
        assert self._vectors is not None
        block = exact(self._vectors.view[at : at + _BLOCK])
        kept_norms = self._norms.view[at : at + _BLOCK]
        products = new @ block.T  # whole numbers, exact in any order of summation
        row, kept = np.nonzero(self._near_pairs(products, norms, kept_norms))
        similarity = products[row, kept].astype(np.float64) / (norms[row] * kept_norms[kept])
        return row, self._numbers.view[at + kept].astype(np.int64), similarity

    def _near_pairs(self, products: Array, new_norms: Array, kept_norms: Array) -> Array:
        floor = self._threshold * np.outer(new_norms, kept_norms)
        return (products >= floor) & (floor > 0)

    def keep(self, vectors: Array, numbers: Array) -> None:
        """Add kept rows, under their numbers in the index. A vector of zeros is near to none, and is not kept."""
        some = vectors.any(axis=1)
        vectors, numbers = vectors[some], numbers[some]
        if not len(vectors):
            return
        if self._vectors is None:
            self._vectors = GrowableArray(np.int8, width=vectors.shape[1])
        self._vectors.append(vectors)
        self._numbers.append(numbers.astype(U32))
        self._norms.append(norms_of(vectors))
        if self._cells is not None:
            self._cells.add(vectors)


def _cosine(vectors: Array, norms: Array, row: Array, other: Array) -> Array:
    products = np.einsum("ij,ij->i", vectors[row], vectors[other], dtype=np.float64)
    return products / (norms[row] * norms[other])
