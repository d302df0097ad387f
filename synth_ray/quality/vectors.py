"""Vectors of what texts say, their neighbours and their clusters.

Without an embedding model a text is the TF-IDF of its words and of its first characters, hashed. Measures that need few
dimensions read the leading components of that (latent semantic analysis, Deerwester et al., 1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack

from synth_ray.dedup.embedding import Embedder
from synth_ray.quality.features import Ragged, counted

Array = np.ndarray[Any, Any]

DIMENSIONS = 64
_BUCKET_BITS = 12
_MAX_BYTES = 80
_BYTES_IN_GRAM = 4
_SHARED_TERMS = 0.8
"""Two rows have so many terms of a kind in common on average, at most. Beyond that the commonest terms are left out: they say
little about which rows are alike, and take most of the time."""

_BLOCK_ROWS = 500
_ODD = np.uint64(0x9E3779B97F4A7C15)


def term_vectors(words: Ragged, texts: Sequence[str]) -> csr_array:
    """Unit TF-IDF vectors of N rows, over hashed words and character sequences."""
    blocks = [_weighted(rows, hashes, len(texts)) for rows, hashes in (_words(words), _characters(texts))]
    return csr_array(unit(csr_array(hstack(blocks, format="csr"))))


def embedded(embedder: Embedder, texts: Sequence[str]) -> Array:
    """Unit vectors by a model. Texts of equal length are embedded together, which spares most of the padding."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = embedder.vectors([texts[i] for i in order])
    vectors = np.empty_like(found, dtype=np.float32)
    vectors[order] = found
    return np.asarray(unit(np.nan_to_num(vectors)))


def _words(words: Ragged) -> tuple[Array, Array]:
    return words.row_numbers, words.values.astype(np.uint64) * _ODD


def _characters(texts: Sequence[str]) -> tuple[Array, Array]:
    """Four bytes each, of a text's beginning in lower case: words with other endings share most of theirs."""
    parts = [b" " + text[:_MAX_BYTES].lower().encode()[:_MAX_BYTES] + b" " for text in texts]
    raw = np.frombuffer(b"".join(parts), np.uint8).astype(np.uint64)
    rows = np.repeat(np.arange(len(parts)), np.array([len(part) for part in parts], np.int64))
    count = max(0, len(raw) - _BYTES_IN_GRAM + 1)
    packed = sum((raw[k : k + count] << np.uint64(8 * k) for k in range(_BYTES_IN_GRAM)), np.zeros(count, np.uint64))
    whole = rows[:count] == rows[_BYTES_IN_GRAM - 1 :][:count]
    return rows[:count][whole], packed[whole] * _ODD


def _weighted(rows: Array, hashes: Array, size: int) -> csr_array:
    """1 + log of the count, times the log of the inverse share of rows. The commonest terms are left out."""
    terms = counted(rows, (hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64), (size, 1 << _BUCKET_BITS))
    rows_with = np.bincount(terms.indices, minlength=terms.shape[1])
    weight = np.log((1 + size) / (1 + rows_with)).astype(np.float32)
    rarest_first = np.argsort(rows_with, kind="stable")
    pairs = np.cumsum(rows_with[rarest_first].astype(np.float64) ** 2)
    weight[rarest_first[pairs > _SHARED_TERMS * float(size) ** 2]] = 0
    terms.data = (1 + np.log(terms.data)) * weight[terms.indices]
    terms.eliminate_zeros()
    return terms


def unit(vectors: Any) -> Any:
    """Rows of length 1; a row of zeros stays one."""
    if isinstance(vectors, csr_array):
        norms = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
        vectors.data = vectors.data / np.repeat(np.maximum(norms, 1e-12), np.diff(vectors.indptr)).astype(np.float32)
        return vectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def leading_components(vectors: Any) -> Array:
    """Unit vectors of the rows in the space of the largest singular values, by random projection and power iterations (Halko,
    Martinsson and Tropp, 2011). Fitted on the rows of both sides: fitted on one, the other would look narrower.
    """
    wanted = min(DIMENSIONS, *vectors.shape)
    basis = np.random.default_rng(1).standard_normal((vectors.shape[1], wanted)).astype(np.float32)
    for _ in range(2):
        basis, _ = np.linalg.qr(vectors.T @ (vectors @ basis))
    reduced: Array = unit(np.asarray(vectors @ basis, np.float32))
    return reduced


def cluster(vectors: Array, *, k: int, rounds: int = 8) -> Array:
    """The nearest of k centroids for every row (spherical k-means; the start is spread as in k-means++, Arthur and
    Vassilvitskii, 2007). Fitted on the rows of both sides, for the reason given above.
    """
    centroids = _spread(vectors[: 10 * k], k, np.random.default_rng(2))
    for _ in range(rounds):
        nearest = np.argmax(vectors @ centroids.T, axis=1)
        sums = counted(nearest, np.arange(len(vectors)), (k, len(vectors))) @ vectors
        has_rows = np.linalg.norm(sums, axis=1, keepdims=True) > 0
        centroids = np.where(has_rows, unit(sums), centroids)
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


def neighbours(vectors: Any, k: int) -> Array:
    """The k rows nearest to each row by cosine, nearest first, N×k. Of equally near ones, their order decides."""
    size = vectors.shape[0]
    k = min(k, size - 1)
    found = np.zeros((size, k), np.int64)
    transposed = vectors.T.tocsr() if isinstance(vectors, csr_array) else vectors.T
    for start in range(0, size, _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS] @ transposed
        near = -(block.toarray() if isinstance(block, csr_array) else block)
        near[np.arange(len(near)), start + np.arange(len(near))] = np.inf
        some = np.argpartition(near, k - 1, axis=1)[:, :k]
        found[start : start + len(near)] = np.take_along_axis(some, np.argsort(np.take_along_axis(near, some, 1), axis=1), 1)
    return found
