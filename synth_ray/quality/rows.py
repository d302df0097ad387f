"""The rows of both sides, as every measure reads them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from synth_ray.quality.features import MAX_WORDS, Grams, counted, grams_of, hashed_words, openers_of
from synth_ray.quality.subsets import Sides, divided
from synth_ray.quality.vectors import cluster, leading_components, neighbours, term_vectors

Array = np.ndarray[Any, Any]

NEIGHBOURS = 10
_OPENER_WORDS = 3
_VOCABULARY_BITS = 9
_ROWS_PER_CLUSTER = 20
_MAX_CLUSTERS = 100
_BLOCKS = 24
_SHARED_BY_FEW = 200


class Rows:
    """N generated and real texts, in random order so that equal rows favour no side. `vectors`: their unit embeddings, if any."""

    def __init__(self, generated: Sequence[str], real: Sequence[str], *, vectors: Array | None = None) -> None:
        both = [*generated, *real]
        order = np.random.default_rng(6).permutation(len(both))
        self.texts = [both[i].encode("utf-8", "replace").decode() for i in order]  # a lone surrogate is no UTF-8
        self._is_generated = order < len(generated)
        self._all_words = hashed_words(self.texts)
        self.words = self._all_words.first(MAX_WORDS)
        self._vectors = vectors[order] if vectors is not None else None
        self._grams: dict[int, Grams] = {}

    @cached_property
    def equal_numbers(self) -> tuple[Array, Array]:
        """As many rows of each side."""
        ours, theirs = np.flatnonzero(self._is_generated), np.flatnonzero(~self._is_generated)
        n = min(len(ours), len(theirs))
        return ours[:n], theirs[:n]

    @cached_property
    def equal_lengths(self) -> tuple[Array, Array]:
        """As many rows of each length of each side: most measures of diversity follow the length of a text."""
        chosen: tuple[list[Array], list[Array]] = ([], [])
        for length in np.unique(self.length_bins):
            of_length = [
                np.flatnonzero((self.length_bins == length) & side) for side in (self._is_generated, ~self._is_generated)
            ]
            n = min(map(len, of_length))
            for kept, side in zip(chosen, of_length, strict=True):
                kept.append(side[:n])
        return np.sort(np.concatenate(chosen[0])), np.sort(np.concatenate(chosen[1]))

    @cached_property
    def sides(self) -> dict[str, Sides]:
        """The subsets that measures compare: of `rows`, of rows of equal length (`matched`), of `blocks` of such rows."""
        size, free = len(self.texts), np.zeros(len(self.texts), np.int64)
        half = self.block_sizes.shape[1] // 2
        blocks = np.arange(2 * half)
        return {
            "rows": divided(*self.equal_numbers, size=size, strata=free),
            "matched": divided(*self.equal_lengths, size=size, strata=self.length_bins),
            "blocks": divided(blocks[:half], blocks[half:], size=2 * half, strata=np.zeros(2 * half, np.int64)),
        }

    @cached_property
    def block_sizes(self) -> Array:
        """Bytes of each block of rows of equal length, plain and compressed, 2×2B: the generated blocks first."""
        sizes = [_block_sizes([self.texts[i] for i in side]) for side in self.equal_lengths]
        return np.array([*sizes[0], *sizes[1]], np.float32).T

    def grams(self, n: int) -> Grams:
        if n not in self._grams:
            self._grams[n] = grams_of(self.words, n)
        return self._grams[n]

    @cached_property
    def openers(self) -> csr_array:
        """The first words of each row, N×openers, one 1 a row."""
        _, codes = np.unique(openers_of(self.words, _OPENER_WORDS), return_inverse=True)
        return one_hot(codes)

    @cached_property
    def vocabulary(self) -> csr_array:
        words = self.words.values >> np.uint32(32 - _VOCABULARY_BITS)
        return counted(self.words.row_numbers, words.astype(np.int64), (len(self.texts), 1 << _VOCABULARY_BITS))

    @cached_property
    def length_bins(self) -> Array:
        """Half-octaves of the number of words."""
        bins: Array = np.floor(2 * np.log2(np.maximum(1, self._all_words.lengths))).astype(np.int64)
        return bins

    @cached_property
    def lengths(self) -> csr_array:
        return one_hot(self.length_bins)

    @cached_property
    def alike(self) -> csr_array:
        """1 where half of a row's runs of four words stand in the other row too, N×N. Runs of very many rows do not count."""
        grams = self.grams(4)
        shared = csr_array(grams.again > 0, dtype=np.float32)
        few = np.bincount(shared.indices, minlength=shared.shape[1]) <= _SHARED_BY_FEW
        shared = csr_array(shared[:, np.flatnonzero(few)])
        pairs = (shared @ shared.T).tocoo()
        near = (pairs.row != pairs.col) & (pairs.data >= np.maximum(1, grams.total[pairs.row] / 2))
        return csr_array((np.ones(near.sum(), np.float32), (pairs.row[near], pairs.col[near])), shape=pairs.shape)

    @cached_property
    def _meanings(self) -> Any:
        return self._vectors if self._vectors is not None else term_vectors(self.words, self.texts)

    @cached_property
    def vectors(self) -> Array:
        """Unit vectors of few dimensions."""
        return leading_components(self._meanings)

    @cached_property
    def neighbours(self) -> Array:
        return neighbours(self._meanings, NEIGHBOURS)

    @cached_property
    def clusters(self) -> csr_array:
        k = max(2, min(_MAX_CLUSTERS, len(self.texts) // _ROWS_PER_CLUSTER))
        return one_hot(cluster(self.vectors, k=k))


def one_hot(codes: Array) -> csr_array:
    """One 1 a row, in the column of its code."""
    return counted(np.arange(len(codes)), codes, (len(codes), int(codes.max(initial=0)) + 1))


def _block_sizes(texts: Sequence[str]) -> list[tuple[int, int]]:
    blocks = min(_BLOCKS, max(1, len(texts)))
    raw = ["\n".join(texts[k::blocks]).encode() for k in range(blocks)]
    return [(len(block), len(zlib.compress(block, 6))) for block in raw]
