"""Kept rows by their meaning: which of them, or of the rows before it, a row says again in other words."""

from __future__ import annotations

from typing import Any

import numpy as np

from synth_ray.dedup.hashing import U32
from synth_ray.dedup.index import Bars
from synth_ray.dedup.table import Appended

Array = np.ndarray[Any, Any]

_BLOCK = 1 << 16
_LATER = 2**40  # rows of the same batch come after every kept one


class Meanings:
    """The vectors of the kept rows, compared with every new one. Law: cosine of the rounded vectors, exactly, in any batches.

    A byte a dimension and twelve a row. Every row is held against every kept one: a million kept rows of 256 dimensions cost
    about half a billion multiplications a row, which one core does in some ten milliseconds.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._vectors: Appended | None = None
        self._numbers, self._norms = Appended(U32), Appended(np.float64)

    @property
    def nbytes(self) -> int:
        held = self._vectors.nbytes if self._vectors is not None else 0
        return held + self._numbers.nbytes + self._norms.nbytes

    def bars(self, vectors: Array) -> Bars:
        """What bars each row: the kept rows and the earlier ones of the batch that are as near, the nearest first."""
        new, norms = vectors.astype(np.float32), _norms(vectors)
        found = [self._kept(new, norms, at) for at in range(0, self._numbers.length, _BLOCK)]
        row, other = np.nonzero(np.tril(self._near(new @ new.T, norms, norms), -1))
        found.append((row, -1 - other, _cosine(new, norms, row, other)))
        rows, by, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((np.where(by < 0, _LATER - by, by), -similarity, rows))
        ends = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(vectors)))))
        return Bars(ends, by[order].astype(np.int64), similarity[order])

    def _kept(self, new: Array, norms: Array, at: int) -> tuple[Array, Array, Array]:
        assert self._vectors is not None
        block = self._vectors.view[at : at + _BLOCK].astype(np.float32)
        theirs = self._norms.view[at : at + _BLOCK]
        products = new @ block.T  # whole numbers below 2**24: exact in float32, in whatever order they are summed
        row, kept = np.nonzero(self._near(products, norms, theirs))
        similarity = products[row, kept].astype(np.float64) / (norms[row] * theirs[kept])
        return row, self._numbers.view[at + kept].astype(np.int64), similarity

    def _near(self, products: Array, mine: Array, theirs: Array) -> Array:
        floor = self._threshold * np.outer(mine, theirs)
        return (products >= floor) & (floor > 0)

    def keep(self, vectors: Array, numbers: Array) -> None:
        """These rows are kept, under these numbers of the index."""
        if self._vectors is None:
            self._vectors = Appended(np.int8, width=vectors.shape[1])
        self._vectors.append(vectors)
        self._numbers.append(numbers.astype(U32))
        self._norms.append(_norms(vectors))


def _norms(vectors: Array) -> Array:
    norms: Array = np.sqrt((vectors.astype(np.int64) ** 2).sum(axis=1))
    return norms


def _cosine(vectors: Array, norms: Array, row: Array, other: Array) -> Array:
    products = np.einsum("ij,ij->i", vectors[row], vectors[other], dtype=np.float64)
    return products / (norms[row] * norms[other])
