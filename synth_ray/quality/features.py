"""Texts as arrays: hashed words and n-grams, and vectors of their meaning.

Without an embedding model the vectors are hashed TF-IDF of words and word pairs, reduced by a singular value decomposition
(latent semantic analysis, Deerwester et al., 1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from synth_ray.dedup.normal_form import words

Array = np.ndarray[Any, Any]

MAX_WORDS = 256
DIMENSIONS, PROJECTED = 64, 256
_BUCKETS = 1 << 12
_BUCKET_SHIFT = np.uint64(64 - 12)
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Numbers in rows of different lengths: the values of row i are `values[offsets[i]:offsets[i + 1]]`."""

    values: Array
    offsets: Array

    @classmethod
    def of(cls, rows: Sequence[Array]) -> Ragged:
        lengths = np.array([len(row) for row in rows], np.int64)
        values = np.concatenate(rows) if len(rows) else np.zeros(0, np.uint64)
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]))

    @property
    def lengths(self) -> Array:
        return np.diff(self.offsets)

    def take(self, rows: Array) -> Array:
        """The values of some rows, one row after the other."""
        lengths = self.lengths[rows]
        starts = np.repeat(self.offsets[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        taken: Array = self.values[starts + np.arange(lengths.sum())]
        return taken

    def ngrams(self, n: int) -> Ragged:
        """The hashed n-grams of every row."""
        return Ragged.of([_ngrams(self.values[a:b], n) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)])


def _ngrams(row: Array, n: int) -> Array:
    count = max(0, len(row) - n + 1)
    hashed = np.zeros(count, np.uint64)
    for k in range(n):
        hashed = (hashed ^ row[k : k + count]) * _ODD
        hashed ^= hashed >> np.uint64(29)
    return hashed


def hashed_words(texts: Sequence[str]) -> Ragged:
    """The first MAX_WORDS words of each text, as the deduplication reads words, hashed."""
    return Ragged.of([np.array([crc32(word.encode()) for word in words(text)[:MAX_WORDS]], np.uint64) for text in texts])


def term_vectors(unigrams: Ragged) -> Array:
    """Unit TF-IDF vectors of N rows, over hashed words and word pairs."""
    weights = _term_weights(unigrams) + _term_weights(unigrams.ngrams(2))
    weights *= np.log((1 + len(weights)) / (1 + (weights > 0).sum(axis=0))).astype(np.float32)
    return unit(weights)


def projected(terms: Array) -> Array:
    """Unit vectors in PROJECTED dimensions that do not depend on the rows, so that sums over parts add up."""
    signs = np.random.default_rng(1).choice(np.array([-1, 1], np.float32), (terms.shape[1], PROJECTED))
    return unit(terms @ signs)


def _term_weights(grams: Ragged) -> Array:
    """1 + log of how often each bucket of terms occurs, N×_BUCKETS."""
    n = len(grams.lengths)
    rows = np.repeat(np.arange(n), grams.lengths)
    buckets = ((grams.values * _ODD) >> _BUCKET_SHIFT).astype(np.int64)
    counts = np.bincount(rows * _BUCKETS + buckets, minlength=n * _BUCKETS).reshape(n, _BUCKETS).astype(np.float32)
    return np.log1p(counts, out=counts)


def leading_components(weights: Array) -> Array:
    """Unit vectors of the rows in the space of the largest singular values, by random projection and power iterations (Halko,
    Martinsson and Tropp, 2011). Fitted on the rows of both sides: fitted on one, the other would look narrower.
    """
    wanted = min(DIMENSIONS, *weights.shape)
    basis = np.random.default_rng(1).standard_normal((weights.shape[1], wanted)).astype(np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(weights.T @ (weights @ basis))
    reduced = weights @ basis
    _, _, directions = np.linalg.svd(reduced, full_matrices=False)
    return unit(reduced @ directions.T)


def unit(vectors: Array) -> Array:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Array = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return scaled


def cluster(vectors: Array, *, k: int, rounds: int = 12) -> Array:
    """The nearest of k centroids for every row (spherical k-means; the start is spread as in k-means++, Arthur and
    Vassilvitskii, 2007).
    """
    centroids = _spread(vectors, k, np.random.default_rng(2))
    for _ in range(rounds):
        nearest = np.argmax(vectors @ centroids.T, axis=1)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, vectors)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centroids = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centroids)
    nearest_centroid: Array = np.argmax(vectors @ centroids.T, axis=1)
    return nearest_centroid


def _spread(vectors: Array, k: int, draw: np.random.Generator) -> Array:
    chosen = [int(draw.integers(len(vectors)))]
    distance = np.full(len(vectors), np.inf)
    while len(chosen) < k:
        distance = np.minimum(distance, np.maximum(0.0, 1 - vectors @ vectors[chosen[-1]]))
        total = distance.sum()
        chosen.append(int(draw.choice(len(vectors), p=distance / total)) if total > 0 else int(draw.integers(len(vectors))))
    return vectors[chosen].copy()
