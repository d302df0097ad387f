"""The kept rows' vectors in this process, and the questions that any store of vectors answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from synth_ray.dedup.cells import Asked, Cells, Centroids, exact, near_in_lists, norms_of
from synth_ray.dedup.hashing import U32
from synth_ray.dedup.table import GrowableArray

Array = np.ndarray[Any, Any]

BLOCK = 1 << 16
"""Vectors that are compared with all rows of a batch at once."""


class Near(NamedTuple):
    """Pairs, in any order: the position of the row that was asked about, the number of a kept row, and their cosine."""

    row: Array
    number: Array
    similarity: Array

    @classmethod
    def joined(cls, parts: Iterable[Near]) -> Near:
        return cls(*map(np.concatenate, zip(NOTHING_NEAR, *parts, strict=True)))


NOTHING_NEAR = Near(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


class MemoryVectors:
    """See `stores.VectorStore`. A byte a dimension and 12 a row; in cells, 4 more, and for each cell half a block of ids.

    Vectors are put into their cells by the next question: of cells that are set one after the other, only the last cost anything.
    """

    def __init__(self) -> None:
        self._vectors: GrowableArray | None = None
        self._numbers, self._norms = GrowableArray(U32), GrowableArray(np.float64)
        self._cells: Cells | None = None

    @property
    def nbytes(self) -> int:
        parts = (self._vectors, self._numbers, self._norms, self._cells)
        return sum(part.nbytes for part in parts if part is not None)

    def append(self, vectors: Array, numbers: Array) -> None:
        if not len(vectors):
            return
        if self._vectors is None:
            self._vectors = GrowableArray(np.int8, width=vectors.shape[1])
        self._vectors.append(vectors)
        self._numbers.append(numbers)
        self._norms.append(norms_of(vectors))

    def set_cells(self, centroids: Centroids) -> None:
        self._cells = Cells(centroids)

    def settle(self, most: int) -> int:
        """Put at most so many vectors into their cells; returns how many are left."""
        if self._cells is None or self._vectors is None:
            return 0
        first = len(self._cells)
        self._cells.add(self._vectors.view[first : first + most])
        return self._numbers.length - len(self._cells)

    def near(self, vectors: Array, cells: Array, threshold: float) -> Near:
        self.settle(self._numbers.length)
        if self._vectors is None:
            return NOTHING_NEAR
        if not cells.shape[1]:
            return near_any(self._blocks(), vectors, threshold)
        assert self._cells is not None  # rows ask for cells once they are set
        asked = Asked.of(vectors, cells, threshold)
        row, place, similarity = near_in_lists(asked, self._cells.lists, self._vectors.view, self._norms.view)
        return Near(row, self._numbers.view[place].astype(np.int64), similarity)

    def _blocks(self) -> Iterator[tuple[Array, Array, Array]]:
        assert self._vectors is not None
        for at in range(0, self._numbers.length, BLOCK):
            yield tuple(array.view[at : at + BLOCK] for array in (self._vectors, self._numbers, self._norms))  # type: ignore[misc]


def near_any(kept: Iterable[tuple[Array, Array, Array]], vectors: Array, threshold: float) -> Near:
    """Compare rows with all of the kept ones: blocks of vectors, numbers and norms."""
    new, norms, parts = exact(vectors), norms_of(vectors), []
    for block, numbers, kept_norms in kept:
        products = new @ exact(block).T  # whole numbers, exact in any order of summation
        row, place = np.nonzero(near_pairs(products, norms, kept_norms, threshold))
        similarity = products[row, place].astype(np.float64) / (norms[row] * kept_norms[place])
        parts.append(Near(row, numbers[place].astype(np.int64), similarity))
    return Near.joined(parts)


def near_pairs(products: Array, norms: Array, other_norms: Array, threshold: float) -> Array:
    """Which products are of vectors that are near each other. A vector of zeros is near to none."""
    floor = threshold * np.outer(norms, other_norms)
    near: Array = (products >= floor) & (floor > 0)
    return near
