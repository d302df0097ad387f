"""The definitions of the measures, each over S pairs of subsets at once: a subset is a row of weights 0 and 1, so that a measure
of it is a product of matrices and not a new count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from synth_ray.quality.features import Grams
from synth_ray.quality.rows import NEIGHBOURS, Rows
from synth_ray.quality.subsets import Sides

Array = np.ndarray[Any, Any]

_TOP_OPENERS = 10
_FRAME_WORDS = 3
_FRAME_ROWS = 0.02
_FRAME_SHARE = 0.3
_LONG_RUN = 20
_MAUVE_SCALE = 5.0


def compression(rows: Rows, sides: Sides) -> Array:
    """Of blocks, since compressing anew for every subset would take most of the time. A block is shorter than zlib's window."""
    plain, packed = rows.block_sizes
    return _ratio(*((side @ plain) / (side @ packed) for side in (sides.ours, sides.theirs)))


def distinct(rows: Rows, sides: Sides, *, n: int) -> Array:
    grams = rows.grams(n)
    return _ratio(*(_distinct_share(grams, side) for side in (sides.ours, sides.theirs)))


def _distinct_share(grams: Grams, side: Array) -> Array:
    different = side @ grams.once + (_counts(grams, side) > 0).sum(axis=0)
    return np.asarray(different / np.maximum(1, side @ grams.total))


def _counts(grams: Grams, side: Array) -> Array:
    """How often each n-gram of `again` stands in each subset, G×S."""
    return np.asarray(grams.again.T @ side.T)


def entropy(rows: Rows, sides: Sides, *, n: int) -> Array:
    grams = rows.grams(n)
    return _ratio(*(_entropy_bits(grams, side) for side in (sides.ours, sides.theirs)))


def _entropy_bits(grams: Grams, side: Array) -> Array:
    counts, total = _counts(grams, side), np.maximum(1, side @ grams.total)
    return np.asarray(np.log2(total) - (counts * np.log2(np.maximum(1, counts))).sum(axis=0) / total)


def openers(rows: Rows, sides: Sides) -> Array:
    return np.asarray(np.subtract(*(_top_share(rows.openers.T @ side.T) for side in (sides.ours, sides.theirs))))


def _top_share(counts: Array) -> Array:
    top = min(_TOP_OPENERS, len(counts))
    return np.asarray(np.partition(counts, len(counts) - top, axis=0)[-top:].sum(axis=0) / np.maximum(1, counts.sum(axis=0)))


def templates(rows: Rows, sides: Sides) -> Array:
    """A frame is found by what fills no slot: runs of three words that a fiftieth of the rows have. A row is a filled-in frame
    where three in ten of its runs are such.
    """
    return np.asarray(np.subtract(*(_framed(rows.grams(_FRAME_WORDS), side) for side in (sides.ours, sides.theirs))))


def _framed(grams: Grams, side: Array) -> Array:
    size = side.sum(axis=1)
    least = np.maximum(3, _FRAME_ROWS * size)
    common = grams.again[:, np.flatnonzero(grams.again.sum(axis=0) >= least.min())]
    is_frame = (least <= common.T @ side.T).astype(np.float32)
    is_framed = (common @ is_frame) >= np.maximum(1, _FRAME_SHARE * grams.total)[:, None]
    return np.asarray((is_framed * side.T).sum(axis=0) / np.maximum(1, size))


def repeats(rows: Rows, sides: Sides) -> Array:
    """Self-repetition (Salkar et al., 2022, arXiv 2212.07140), of near-duplicates: a row counts once, however often repeated."""
    return np.asarray(np.subtract(*(_share(rows.alike @ side.T > 0, side) for side in (sides.ours, sides.theirs))))


def long_runs(rows: Rows, sides: Sides) -> Array:
    grams = rows.grams(_LONG_RUN)
    return np.asarray(
        np.subtract(
            *(_share(grams.again @ (_counts(grams, s) > 1).astype(np.float32) > 0, s) for s in (sides.ours, sides.theirs))
        )
    )


def _share(is_so: Array, side: Array) -> Array:
    """The share of each subset's rows that are so, from N×S."""
    return np.asarray((is_so * side.T).sum(axis=0) / np.maximum(1, side.sum(axis=1)))


def vocabulary(rows: Rows, sides: Sides) -> Array:
    return _divergence(rows.vocabulary, sides)


def lengths(rows: Rows, sides: Sides) -> Array:
    return _divergence(rows.lengths, sides)


def _divergence(counts: Any, sides: Sides) -> Array:
    """Jensen-Shannon divergence of two histograms, in bits (Lin, 1991)."""
    p, q = _histograms(counts, sides)
    return np.asarray(_bits((p + q) / 2) - (_bits(p) + _bits(q)) / 2)


def _histograms(counts: Any, sides: Sides) -> tuple[Array, Array]:
    """The shares of the columns in each subset of both sides, S×columns each."""
    one, other = (np.asarray(counts.T @ side.T, np.float64).T for side in (sides.ours, sides.theirs))
    return tuple(h / np.maximum(1, h.sum(axis=1, keepdims=True)) for h in (one, other))  # type: ignore[return-value]


def _bits(shares: Array) -> Array:
    return np.asarray(-(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=1))


def vendi(rows: Rows, sides: Sides) -> Array:
    scores = [[vendi_score(moments(rows.vectors[row > 0])) for row in side] for side in (sides.ours, sides.theirs)]
    return _ratio(*(np.array(values) for values in scores))


def moments(vectors: Array) -> Array:
    """The sum of x·xᵀ over unit vectors x, D×D: it adds up over parts."""
    vectors = vectors.astype(np.float64)
    return np.asarray(vectors.T @ vectors)


def vendi_score(moments: Array) -> float:
    """The effective number of different rows: the exponential of the entropy of the eigenvalues of the mean of x·xᵀ (Friedman and
    Dieng, arXiv 2210.02410).
    """
    values = np.linalg.eigvalsh(moments)
    values = values[values > 1e-9 * max(1.0, float(values[-1]))]
    values = values / values.sum() if len(values) else values
    return float(np.exp(-(values * np.log(values)).sum()))


def clusters(rows: Rows, sides: Sides) -> Array:
    """The distance in total variation of the two histograms of clusters."""
    p, q = _histograms(rows.clusters, sides)
    return np.asarray(np.abs(p - q).sum(axis=1) / 2)


def coverage(rows: Rows, sides: Sides) -> Array:
    """Coverage after Naeem et al. (arXiv 2002.09797), as the mean over k from 1 to NEIGHBOURS: the share of real rows with a
    generated row among the k nearest of both sides. At a large k chance leaves nearly no row uncovered, so that a missing topic
    shows; with the small ones the mean is close to normal.
    """
    return np.array([_covered(rows.neighbours, *pair) for pair in zip(sides.ours > 0, sides.theirs > 0, strict=True)])


def _covered(neighbours: Array, ours: Array, theirs: Array) -> float:
    near = neighbours[theirs]
    is_ours = ours[near]
    rank = np.cumsum(is_ours | theirs[near], axis=1)  # neighbours of neither side do not count
    first = np.where(is_ours, rank, NEIGHBOURS + 1).min(axis=1, initial=NEIGHBOURS + 1)
    return float((NEIGHBOURS + 1 - first).mean() / NEIGHBOURS)


def mauve(rows: Rows, sides: Sides) -> Array:
    """MAUVE (Pillutla et al., arXiv 2102.01454): the area under the divergence curve of the two cluster histograms."""
    p, q = _histograms(rows.clusters, sides)
    curves = [(np.zeros(len(p)), np.ones(len(p)))]
    for weight in np.linspace(1e-6, 1 - 1e-6, 25):
        mixed = weight * p + (1 - weight) * q
        curves.append((np.exp(-_MAUVE_SCALE * _kl(q, mixed)), np.exp(-_MAUVE_SCALE * _kl(p, mixed))))
    curves.append((np.ones(len(p)), np.zeros(len(p))))
    xs, ys = (np.array(values) for values in zip(*curves, strict=True))
    order = np.argsort(xs, axis=0, kind="stable")
    return np.asarray(np.trapezoid(np.take_along_axis(ys, order, 0), np.take_along_axis(xs, order, 0), axis=0))


def _kl(p: Array, q: Array) -> Array:
    return np.asarray((p * np.log(np.where(p > 0, p, 1) / np.where(q > 0, q, 1))).sum(axis=1))


def _ratio(one: Array, other: Array) -> Array:
    return np.divide(one, other, out=np.ones(len(one)), where=other > 0)
