"""The measures: what each says, from which value on it warns, and how it is computed from two sets of rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from zlib import crc32

import numpy as np

from synth_ray.quality.features import Ragged, cluster, hashed_words, leading_components, projected, term_vectors

Array = np.ndarray[Any, Any]

_OPENER_WORDS = 4
_TOP_OPENERS = 10
_VOCABULARY_BUCKETS = 512
_MAUVE_SCALE = 5.0
_NEIGHBOURS = 5
_ROWS_PER_CLUSTER = 20
_MAX_CLUSTERS = 100


class Rows:
    """Generated and real texts, as every measure reads them. A measure gets indices into both together."""

    def __init__(self, texts: Sequence[str], *, vectors: Array | None = None) -> None:
        self.texts = [text.encode("utf-8", "replace") for text in texts]
        self.words = hashed_words(texts)
        self._vectors = vectors

    @cached_property
    def fourgrams(self) -> Ragged:
        return self.words.ngrams(4)

    @cached_property
    def bigrams(self) -> Ragged:
        return self.words.ngrams(2)

    @cached_property
    def openers(self) -> Array:
        """The hashed first words of each text."""
        spans = zip(self.words.offsets[:-1], self.words.offsets[1:], strict=True)
        first = [self.words.values[a : min(b, a + _OPENER_WORDS)] for a, b in spans]
        return np.array([crc32(row.tobytes()) for row in first], np.int64)

    @cached_property
    def vocabulary(self) -> Ragged:
        return Ragged(self.words.values % np.uint64(_VOCABULARY_BUCKETS), self.words.offsets)

    @cached_property
    def length_bins(self) -> Array:
        """Half-octaves of the number of words."""
        bins: Array = np.floor(2 * np.log2(np.maximum(1, self.words.lengths))).astype(np.int64)
        return bins

    @cached_property
    def terms(self) -> Array:
        return term_vectors(self.words)

    @cached_property
    def fixed_vectors(self) -> Array:
        return self._vectors if self._vectors is not None else projected(self.terms)

    @cached_property
    def fitted_vectors(self) -> Array:
        return self._vectors if self._vectors is not None else leading_components(self.terms)

    @cached_property
    def similarity(self) -> Array:
        return self.fitted_vectors @ self.fitted_vectors.T

    @cached_property
    def clusters(self) -> Array:
        n = len(self.texts)
        return cluster(self.fitted_vectors, k=max(2, min(_MAX_CLUSTERS, n // _ROWS_PER_CLUSTER)))


Measured = Callable[[Rows, Array, Array], float]
"""The value for the generated and the real rows with these indices."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. Rows like the real ones have the value `like_real`, 1 or 0; `warn` and `fail` are on the narrower side.

    `matched`: compared between rows of equal length, since most measures of diversity follow the length of a text.
    """

    name: str
    meaning: str
    of: Measured
    like_real: Literal[0, 1]
    warn: float
    fail: float
    matched: bool = True

    def from_chance(self, value: float, chance: float) -> float:
        """The value relative to what chance gives, so that it is `like_real` for rows of the same kind."""
        if not self.like_real:
            return value - chance
        return value / chance if chance else 1.0

    def is_past(self, value: float, limit: float) -> bool:
        return value < limit if self.fail < self.like_real else value > limit


def _compression(rows: Rows, generated: Array, real: Array) -> float:
    return _ratio(*(_compressed(rows, side) for side in (generated, real)))


def _compressed(rows: Rows, side: Array) -> float:
    text = b"\n".join(rows.texts[i] for i in side)
    return len(text) / max(1, len(zlib.compress(text, 6)))


def _distinct(rows: Rows, generated: Array, real: Array) -> float:
    return _ratio(*(_distinct_share(rows.fourgrams.take(side)) for side in (generated, real)))


def _distinct_share(grams: Array) -> float:
    return len(np.unique(grams)) / len(grams) if len(grams) else 0.0


def _entropy(rows: Rows, generated: Array, real: Array) -> float:
    return _ratio(*(_entropy_bits(np.unique(rows.bigrams.take(side), return_counts=True)[1]) for side in (generated, real)))


def _entropy_bits(counts: Array) -> float:
    shares = counts / max(1, counts.sum())
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def _openers(rows: Rows, generated: Array, real: Array) -> float:
    return _top_share(rows.openers[generated]) - _top_share(rows.openers[real])


def _top_share(openers: Array) -> float:
    counts = np.sort(np.unique(openers, return_counts=True)[1])[::-1]
    return float(counts[:_TOP_OPENERS].sum() / max(1, len(openers)))


def _lengths(rows: Rows, generated: Array, real: Array) -> float:
    return _divergence(rows.length_bins[generated], rows.length_bins[real])


def _vocabulary(rows: Rows, generated: Array, real: Array) -> float:
    return _divergence(*(rows.vocabulary.take(side).astype(np.int64) for side in (generated, real)))


def _divergence(one: Array, other: Array) -> float:
    """Jensen-Shannon divergence of two lists of codes, in bits (Lin, 1991)."""
    size = int(max(one.max(initial=0), other.max(initial=0))) + 1
    p, q = (np.bincount(codes, minlength=size) / max(1, len(codes)) for codes in (one, other))
    return _entropy_bits((p + q) / 2) - (_entropy_bits(p) + _entropy_bits(q)) / 2


def _vendi(rows: Rows, generated: Array, real: Array) -> float:
    return _ratio(*(vendi_score(rows.fixed_vectors[side]) for side in (generated, real)))


def vendi_score(vectors: Array) -> float:
    """The effective number of different rows: the exponential of the entropy of the eigenvalues of the mean of x·xᵀ over unit
    vectors x (Friedman and Dieng, arXiv 2210.02410). The matrix adds up over parts.
    """
    vectors = vectors.astype(np.float64)
    values = np.linalg.eigvalsh(vectors.T @ vectors / max(1, len(vectors)))
    values = values[values > 1e-12]
    values = values / values.sum() if len(values) else values
    return float(np.exp(-(values * np.log(values)).sum()))


def _coverage(rows: Rows, generated: Array, real: Array) -> float:
    """Coverage (Naeem et al., arXiv 2002.09797): the share of real rows with a generated row nearer than their k-th real one."""
    among_real = rows.similarity[np.ix_(real, real)]
    kth = -np.partition(-among_real, _NEIGHBOURS, axis=1)[:, _NEIGHBOURS]  # the nearest is the row itself
    return float((rows.similarity[np.ix_(real, generated)].max(axis=1) >= kth).mean())


def _mauve(rows: Rows, generated: Array, real: Array) -> float:
    """MAUVE (Pillutla et al., arXiv 2102.01454): the area under the divergence curve of the two cluster histograms."""
    size = int(rows.clusters.max()) + 1
    p, q = (np.bincount(rows.clusters[side], minlength=size) / max(1, len(side)) for side in (generated, real))
    curve = [(0.0, 1.0)]
    for weight in np.linspace(1e-6, 1 - 1e-6, 25):
        mixed = weight * p + (1 - weight) * q
        curve.append((np.exp(-_MAUVE_SCALE * _kl(q, mixed)), np.exp(-_MAUVE_SCALE * _kl(p, mixed))))
    curve.append((1.0, 0.0))
    xs, ys = (np.array(values) for values in zip(*sorted(curve), strict=True))
    return float(np.trapezoid(ys, xs))


def _kl(p: Array, q: Array) -> float:
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


def _ratio(one: float, other: float) -> float:
    return one / other if other else 1.0


MEASURES: tuple[Measure, ...] = (
    Measure(
        "compression",
        "How much better the generated rows compress than real ones: above 1, they repeat themselves more.",
        _compression, 1, 1.08, 1.15,
    ),
    Measure(
        "distinct_4",
        "Share of different runs of four words, relative to real rows: below 1, phrases recur more often.",
        _distinct, 1, 0.95, 0.90,
    ),
    Measure(
        "entropy_2",
        "Information of the word pairs, relative to real rows: below 1, fewer pairs make up more of the text.",
        _entropy, 1, 0.97, 0.94,
    ),
    Measure(
        "openers",
        "Share of rows that begin with one of the ten commonest openings, beyond that of real rows: a template shows here first.",
        _openers, 0, 0.03, 0.06,
    ),
    Measure(
        "vocabulary",
        "Divergence of the words used from those of real rows, in bits, beyond chance.",
        _vocabulary, 0, 0.05, 0.15,
    ),
    Measure(
        "lengths",
        "Divergence of the lengths from those of real rows, in bits, beyond chance.",
        _lengths, 0, 0.05, 0.15, matched=False,
    ),
    Measure(
        "vendi",
        "Effective number of different meanings, relative to as many real rows: below 1, the rows say fewer things.",
        _vendi, 1, 0.92, 0.85,
    ),
    Measure(
        "coverage",
        "Share of real rows with a generated row near them, relative to other real rows: below 1, topics are missing.",
        _coverage, 1, 0.98, 0.95, matched=False,
    ),
    Measure(
        "mauve",
        "Overlap of the two distributions (MAUVE), relative to that of real rows with each other: lower is further from real.",
        _mauve, 1, 0.95, 0.85, matched=False,
    ),
)  # fmt: skip
