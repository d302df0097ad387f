"""A word n-gram model: interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1999), counted as KenLM does (Heafield et
al., 2013), in arrays.

A text is read as n - 1 beginnings, its words, and an end. In the highest order an n-gram counts as often as it occurs; in a lower
one, by the number of different words before it, unless it begins with a beginning, which nothing precedes. Law: over the
vocabulary, the end included, the probabilities after any context sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth_ray.quality.features import Ragged
from synth_ray.quality.intervals import Array

UNKNOWN, END, BEGINNING, FIRST_WORD = range(4)
"""Numbers of what is no word of the vocabulary: a word outside it, the end of a text, its beginning."""

_FALLBACK = (0.5, 1.0, 1.5)
_MANY = 3


@dataclass(frozen=True, slots=True)
class _Stream:
    """Texts one after the other. `is_told`: the places that are predicted, all but the beginnings. `rows`: their texts."""

    words: Array
    is_told: Array
    rows: Array


def _stream(texts: Ragged, order: int) -> _Stream:
    lengths = texts.lengths + order
    starts = np.cumsum(lengths) - lengths
    words = np.full(int(lengths.sum()), BEGINNING, np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(words)) - starts[rows]
    words[place == lengths[rows] - 1] = END
    words[(place >= order - 1) & (place < lengths[rows] - 1)] = texts.values
    is_told = place >= order - 1
    return _Stream(words, is_told, rows[is_told])


@dataclass(frozen=True, slots=True)
class _Order:
    """The n-grams of one order, sorted by key (number of the context times the vocabulary, plus the word).

    `discounted` is by n-gram, the two others by context: what its counts sum to, and the share left for the lower order.
    """

    keys: Array
    discounted: Array
    totals: Array
    left: Array


class LanguageModel:
    """Trained on texts of numbered words: FIRST_WORD and above, below `vocabulary`, or UNKNOWN."""

    def __init__(self, texts: Ragged, *, vocabulary: int, order: int) -> None:
        self._vocabulary, self.order = vocabulary, order
        stream = _stream(texts, order)
        keys, grams = self._numbered_grams(stream.words)
        counts = _counts(stream, grams, order)
        self._words = keys[0]
        self._unigrams = self._unigram_probabilities(counts[0])
        self._orders = [_order_of(keys[k], counts[k], keys[k] // vocabulary, contexts=len(keys[k - 1])) for k in range(1, order)]

    def log_probabilities(self, texts: Ragged) -> tuple[Array, Array]:
        """(natural logarithm of the probability, number of predicted words) of each text; its end is a predicted word."""
        stream = _stream(texts, self.order)
        n = len(texts.lengths)
        logs = np.log(self.probabilities(stream.words)[stream.is_told])
        return np.bincount(stream.rows, logs, minlength=n), np.bincount(stream.rows, minlength=n)

    def _numbered_grams(self, words: Array) -> tuple[list[Array], list[Array]]:
        """The keys of each order, and the number of the n-gram that ends at each place."""
        distinct, grams = np.unique(words, return_inverse=True)
        keys, numbers = [distinct], [grams]
        for _ in range(1, self.order):
            distinct, grams = np.unique(_shifted(numbers[-1]) * self._vocabulary + words, return_inverse=True)
            keys.append(distinct)
            numbers.append(grams)
        return keys, numbers

    def _unigram_probabilities(self, counts: Array) -> Array:
        """By word. What is discounted is spread evenly over the vocabulary, which no beginning is part of."""
        by_word = np.zeros(self._vocabulary)
        by_word[self._words] = counts
        discounts = _discounts(counts)
        kept = by_word - discounts[np.minimum(by_word, _MANY).astype(np.int64)]
        total = by_word.sum()
        left = (total - kept.sum()) / total if total else 1.0
        probabilities: Array = kept / max(total, 1) + left / (self._vocabulary - 1)
        probabilities[BEGINNING] = 0.0
        return probabilities

    def probabilities(self, words: Array) -> Array:
        """The probability of each word after those before it, of which order - 1 are beginnings; of a beginning, 0."""
        probabilities = self._unigrams[words]
        grams = _found(self._words, words)
        for order in self._orders:
            contexts = _shifted(grams)
            grams = np.where(contexts < 0, -1, _found(order.keys, contexts * self._vocabulary + words))
            totals = np.where(contexts < 0, 0, order.totals[contexts])
            seen = np.where(grams < 0, 0.0, order.discounted[grams])
            lower = order.left[contexts] * probabilities
            probabilities = np.where(totals > 0, seen / np.maximum(totals, 1) + lower, probabilities)
        return probabilities


def _shifted(numbers: Array) -> Array:
    """The number at the place before; there is nothing before the first, which is a beginning."""
    return np.concatenate([numbers[:1], numbers[:-1]])


def _found(keys: Array, wanted: Array) -> Array:
    """The place of each wanted key, -1 where it is missing."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Array = np.where(keys[places] == wanted, places, -1)
    return found


def _counts(stream: _Stream, grams: list[Array], order: int) -> list[Array]:
    """How much each n-gram counts in each order."""
    told = stream.is_told
    counts = [np.bincount(numbers[told], minlength=int(numbers.max()) + 1) for numbers in grams]
    for k in range(order - 1):
        first = np.unique(grams[k + 1][told], return_index=True)[1]
        preceded = np.bincount(grams[k][told][first], minlength=len(counts[k]))
        starts = np.zeros(len(counts[k]), bool)
        starts[grams[k][told]] = np.concatenate([np.full(k, BEGINNING), stream.words])[: len(stream.words)][told] == BEGINNING
        counts[k] = np.where(starts, counts[k], preceded)
    return counts


def _order_of(keys: Array, counts: Array, of_context: Array, *, contexts: int) -> _Order:
    discounts = _discounts(counts)
    kept = counts - discounts[np.minimum(counts, _MANY)]
    totals = np.bincount(of_context, counts, minlength=contexts)
    kept_by_context = np.bincount(of_context, kept, minlength=contexts)
    left = np.where(totals > 0, (totals - kept_by_context) / np.maximum(totals, 1), 1.0)
    return _Order(keys, kept, totals, left)


def _discounts(counts: Array) -> Array:
    """What is taken from a count of 0, of 1, of 2, and of more; KenLM's fallback where the counts do not determine it."""
    one, two, three, four = (int((counts == n).sum()) for n in range(1, 5))
    if not (one and two and three):
        return np.array([0.0, *_FALLBACK])
    share = one / (one + 2 * two)
    found = np.array([1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three])
    is_valid = bool(((found > 0) & (found <= (1, 2, 3))).all())
    return np.concatenate([[0.0], found if is_valid else _FALLBACK])
