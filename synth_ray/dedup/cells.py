"""Vectors by cell: an inverted file whose centroids, cells and products are whole numbers, the same on any machine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from synth_ray.dedup import cell_kernels as kernels
from synth_ray.dedup.embedding import to_int8
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.table import GrowableArray

Array = np.ndarray[Any, Any]

_ROWS = 4096  # of a product of matrices
_ROUNDS = 4
_FLOAT32_DIMENSIONS = 1040
"""With more, sums of products of int8 are no longer whole numbers that float32 represents exactly; float64 does."""


def exact(vectors: Array) -> Array:
    """The vectors as floats whose products are exact, in any order of summation."""
    return vectors.astype(np.float32 if vectors.shape[1] <= _FLOAT32_DIMENSIONS else np.float64)


def norms_of(vectors: Array) -> Array:
    norms: Array = np.sqrt((vectors.astype(np.int64) ** 2).sum(axis=1))
    return norms


class Centroids:
    """The middles of cells, N×D int8: a vector lies in the cell of the nearest one, of equally near ones the first."""

    def __init__(self, vectors: Array) -> None:
        self.vectors = vectors
        norms = norms_of(vectors)
        self._norms = np.where(norms > 0, norms, 1.0)
        self._columns = np.ascontiguousarray(exact(vectors).T)

    @classmethod
    def of_sample(cls, sample: Array, cells: int) -> Centroids:
        """By spherical k-means (Dhillon & Modha, 2001) over a sample of vectors, in whole numbers."""
        made = cls(sample[np.linspace(0, len(sample) - 1, cells).astype(np.int64)])
        for _ in range(_ROUNDS):
            made = cls(_means(sample, made.nearest(sample, 1)[:, 0], made.vectors))
        return made

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes + self._norms.nbytes + self._columns.nbytes

    def nearest(self, vectors: Array, wanted: int) -> Array:
        """The `wanted` nearest cells of each row, the nearest first; all of them where there are fewer."""
        found = np.empty((len(vectors), min(wanted, len(self))), np.int32)
        for at in range(0, len(vectors), _ROWS):
            products = exact(vectors[at : at + _ROWS]) @ self._columns
            kernels.nearest_cells(products.astype(np.float32, copy=False), self._norms, found[at : at + _ROWS])
        return found

    def cells_of(self, vectors: Array) -> Array:
        """The cell of each row."""
        return np.ascontiguousarray(self.nearest(vectors, 1)[:, 0])


class Cells:
    """The places of vectors in memory, by cell. Law: what is in a cell follows from the centroids and the vectors added."""

    def __init__(self, centroids: Centroids) -> None:
        self._centroids = centroids
        self._ids = GrowableArray(np.int32, width=kernels.BLOCK_IDS)
        self._previous = GrowableArray(np.int32)
        self._last, self._filled = np.full(len(centroids), kernels.NO_BLOCK, np.int32), np.zeros(len(centroids), np.int32)
        self._added = 0

    def __len__(self) -> int:
        """Vectors that were added."""
        return self._added

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self._centroids, self._ids, self._previous, self._last, self._filled))

    @property
    def lists(self) -> kernels.Lists:
        return kernels.Lists(self._ids.array, self._previous.array, self._last, self._filled)

    def add(self, vectors: Array) -> None:
        """Add vectors under the places that follow."""
        for at in range(0, len(vectors), _ROWS):
            cells = self._centroids.cells_of(vectors[at : at + _ROWS])
            self._ids.reserve(len(cells))
            self._previous.reserve(len(cells))
            blocks = kernels.add_places(self.lists, self._ids.length, cells, self._added)
            self._ids.length = self._previous.length = blocks
            self._added += len(cells)


class Asked(NamedTuple):
    """Rows to compare with the vectors in cells: (row, cell) pairs in order of cells, so that a cell is read once for all."""

    rows: Array
    cells: Array
    vectors: Array
    norms: Array
    threshold: float

    @classmethod
    def of(cls, vectors: Array, cells: Array, threshold: float) -> Asked:
        """`cells` are those of each row, each once. A row of zeros is near to nothing, and asks for nothing."""
        norms, flat = norms_of(vectors), cells.reshape(-1)
        order = np.argsort(flat, kind="stable")
        rows = (order // cells.shape[1]).astype(np.int32)
        some = norms[rows] > 0
        return cls(rows[some], flat[order][some], vectors.astype(np.float64), norms, threshold)


def near_in_lists(asked: Asked, lists: kernels.Lists, kept: Array, kept_norms: Array) -> tuple[Array, Array, Array]:
    """(row, place, similarity) of the kept vectors that are near rows that ask for their cells."""
    frozen = kernels.Lists(*(read_only(array) for array in lists))
    new = kernels.New(*(read_only(array) for array in asked[:4]))
    vectors = kernels.Vectors(read_only(kept), read_only(kept_norms))
    room = 4 * len(asked.vectors) + 1024
    while True:
        found = kernels.Found(*(np.empty(room, np.int64) for _ in range(3)))
        count = kernels.near_in_cells(frozen, new, vectors, asked.threshold, found)
        if count <= room:
            row, place, product = (part[:count] for part in found)
            return row, place, product / (asked.norms[row] * kept_norms[place])
        room = count


def _means(sample: Array, cells: Array, before: Array) -> Array:
    """The direction of each cell's vectors; an empty cell keeps its centroid."""
    order = np.argsort(cells, kind="stable")
    sizes = np.bincount(cells, minlength=len(before))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    means = before.copy()
    some = np.flatnonzero(sizes)
    sums = np.add.reduceat(sample[order].astype(np.int32), starts[some], axis=0)
    means[some] = to_int8(sums.astype(np.float64))
    return means
