"""Vectors by cell: an inverted file whose centroids, cells and products are whole numbers, the same on any machine."""

from __future__ import annotations

from typing import Any

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


class Cells:
    """The places of kept vectors, by the nearest of a few centroids. Law: a function of the sample and of the vectors added."""

    def __init__(self, sample: Array, cells: int, *, probes: int) -> None:
        """Centroids by spherical k-means (Dhillon & Modha, 2001) over a sample of vectors, in whole numbers."""
        self._set_centroids(sample[np.linspace(0, len(sample) - 1, cells).astype(np.int64)])
        for _ in range(_ROUNDS):
            self._set_centroids(_means(sample, self.nearest(sample, 1)[:, 0], self._centroids))
        self._begin(cells, probes)

    @classmethod
    def around(cls, centroids: Array, *, probes: int) -> Cells:
        """Empty cells around centroids that were made before."""
        made = cls.__new__(cls)
        made._set_centroids(centroids)
        made._begin(len(centroids), probes)
        return made

    @property
    def centroids(self) -> Array:
        return self._centroids

    def _begin(self, cells: int, probes: int) -> None:
        self._probes = min(probes, cells)
        self._ids = GrowableArray(np.int32, width=kernels.BLOCK_IDS)
        self._previous = GrowableArray(np.int32)
        self._last, self._filled = np.full(cells, kernels.NO_BLOCK, np.int32), np.zeros(cells, np.int32)
        self._added = 0

    def _set_centroids(self, centroids: Array) -> None:
        norms = norms_of(centroids)
        self._centroids, self._norms = centroids, np.where(norms > 0, norms, 1.0)
        self._columns = np.ascontiguousarray(exact(centroids).T)

    @property
    def nbytes(self) -> int:
        arrays = (self._ids, self._previous, self._centroids, self._columns, self._norms, self._last, self._filled)
        return sum(array.nbytes for array in arrays)

    def nearest(self, vectors: Array, wanted: int = 0) -> Array:
        """The nearest cells of each row, the nearest first: `probes` of them, or as many as wanted."""
        found = np.empty((len(vectors), wanted or self._probes), np.int32)
        for at in range(0, len(vectors), _ROWS):
            products = exact(vectors[at : at + _ROWS]) @ self._columns
            kernels.nearest_cells(products.astype(np.float32, copy=False), self._norms, found[at : at + _ROWS])
        return found

    def add(self, vectors: Array) -> None:
        """Add vectors under the places that follow."""
        for at in range(0, len(vectors), _ROWS):
            cells = np.ascontiguousarray(self.nearest(vectors[at : at + _ROWS], 1)[:, 0])
            self._ids.reserve(len(cells))
            self._previous.reserve(len(cells))
            blocks = kernels.add_places(self._lists(), self._ids.length, cells, self._added)
            self._ids.length = self._previous.length = blocks
            self._added += len(cells)

    def _lists(self) -> kernels.Lists:
        return kernels.Lists(self._ids.array, self._previous.array, self._last, self._filled)

    def near(
        self, cells: Array, new: Array, new_norms: Array, kept: Array, kept_norms: Array, threshold: float
    ) -> tuple[Array, Array, Array]:
        """(row, place, product) of the vectors in the rows' cells that are near them."""
        lists = kernels.Lists(*(read_only(array) for array in self._lists()))
        vectors = kernels.Vectors(read_only(kept), read_only(kept_norms))
        wide, room = new.astype(np.float64), 4 * len(new) + 1024
        while True:
            found = kernels.Found(*(np.empty(room, np.int64) for _ in range(3)))
            count = kernels.near_in_cells(lists, cells, wide, new_norms, vectors, threshold, found)
            if count <= room:
                return found.row[:count], found.place[:count], found.product[:count]
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
