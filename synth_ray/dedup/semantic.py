"""The kept rows' embeddings: which kept row, or earlier row of the batch, does a row repeat in other words?"""

from __future__ import annotations

from typing import Any

import numpy as np

from synth_ray.dedup.hashing import U32
from synth_ray.dedup.index import Blockers
from synth_ray.dedup.table import GrowableArray

Array = np.ndarray[Any, Any]

_BLOCK = 1 << 16
_FLOAT32_DIMENSIONS = 1040
"""With more, sums of products of int8 are no longer whole numbers that float32 represents exactly; float64 does."""
_BATCH_ORDER = 2**40  # rows of the same batch are ordered after every kept row


class SemanticIndex:
    """The vectors of the kept rows, compared with every new one. Law: exact cosine of the rounded vectors, for any batches.

    A byte per dimension and twelve per row. Every row is compared with every kept one: with a million kept rows of 256 dimensions
    that is about half a billion multiplications per row, some ten milliseconds on one core.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._vectors: GrowableArray | None = None
        self._numbers, self._norms = GrowableArray(U32), GrowableArray(np.float64)

    @property
    def nbytes(self) -> int:
        vector_bytes = self._vectors.nbytes if self._vectors is not None else 0
        return vector_bytes + self._numbers.nbytes + self._norms.nbytes

    def blockers(self, vectors: Array) -> Blockers:
        """The blockers of each row: kept rows and earlier rows of the batch that are near enough, the nearest first."""
        new, norms = _exact(vectors), _norms(vectors)
        kept = self._numbers.length if vectors.shape[1] else 0  # without a vector among them, nothing is near
        runs = [self._blocked_by_kept(new, norms, at) for at in range(0, kept, _BLOCK)]
        row, other = np.nonzero(np.tril(self._near_pairs(new @ new.T, norms, norms), -1))
        runs.append((row, -1 - other, _cosine(new, norms, row, other)))
        rows, by, similarity = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        order = np.lexsort((np.where(by < 0, _BATCH_ORDER - by, by), -similarity, rows))
        ends = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(vectors)))))
        return Blockers(ends, by[order].astype(np.int64), similarity[order])

    def _blocked_by_kept(self, new: Array, norms: Array, at: int) -> tuple[Array, Array, Array]:
        assert self._vectors is not None
        block = _exact(self._vectors.view[at : at + _BLOCK])
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
        self._norms.append(_norms(vectors))


def _exact(vectors: Array) -> Array:
    return vectors.astype(np.float32 if vectors.shape[1] <= _FLOAT32_DIMENSIONS else np.float64)


def _norms(vectors: Array) -> Array:
    norms: Array = np.sqrt((vectors.astype(np.int64) ** 2).sum(axis=1))
    return norms


def _cosine(vectors: Array, norms: Array, row: Array, other: Array) -> Array:
    products = np.einsum("ij,ij->i", vectors[row], vectors[other], dtype=np.float64)
    return products / (norms[row] * norms[other])
