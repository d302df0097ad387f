"""Finds rows that overlap an evaluation set: by one long n-gram, or by half of one of its texts in shorter n-grams.

The first is the rule of GPT-3 (Brown et al., 2020, appendix C), the second of Tülu 3 (Lambert et al., 2024): the share of an
evaluation text's words that lie in 8-grams which a single row also has.
"""

from __future__ import annotations

import numpy as np

from synth_ray.dedup.hashing import U64, Array, fmix64, gram_powers
from synth_ray.dedup.ngrams import ngrams
from synth_ray.job.dedup import Decontaminate


class QuotedTexts:
    """One evaluation set. A text shorter than the shorter n-gram counts only where a prompt, completion or thought is it."""

    def __init__(self, words: Array, ends: Array, section: Decontaminate) -> None:
        self._section = section
        self._lengths = np.diff(ends)
        self._long = np.unique(ngrams(words, ends, section.ngram)[0])
        hashes, self._text, self._place = ngrams(words, ends, section.coverage_ngram)
        order = np.argsort(hashes, kind="stable")
        self._short, self._text, self._place = hashes[order], self._text[order], self._place[order]
        brief = (self._lengths > 0) & (self._lengths < section.coverage_ngram)
        self._short_texts = np.unique(_text_hashes(words, ends)[brief])

    def overlapping_rows(self, words: Array, ends: Array) -> Array:
        """A mask of the rows that overlap this set. `words` as from `Fingerprinter.word_hashes`."""
        hit = np.zeros(len(ends) - 1, bool)
        hashes, rows, _ = ngrams(words, ends, self._section.ngram)
        hit[rows[_is_in(hashes, self._long)]] = True
        hit[self._covering(words, ends)] = True
        fields, owner = _field_hashes(words, ends)
        hit[owner[_is_in(fields, self._short_texts)]] = True
        return hit

    def _covering(self, words: Array, ends: Array) -> Array:
        n = self._section.coverage_ngram
        hashes, rows, _ = ngrams(words, ends, n)
        first, last = (np.searchsorted(self._short, hashes, side) for side in ("left", "right"))
        counts = last - first
        where = np.repeat(first - np.concatenate(([0], np.cumsum(counts)[:-1])), counts) + np.arange(counts.sum())
        if not len(where):
            return np.zeros(0, np.int64)
        # A word of an evaluation text counts once, however many of the row's n-grams cover it.
        widest = int(self._lengths.max()) + n
        pair = np.repeat(rows, counts) * len(self._lengths) + self._text[where]
        covered = np.unique((pair * widest + self._place[where])[:, None] + np.arange(n))
        pairs, words_covered = np.unique(covered // widest, return_counts=True)
        share = words_covered / self._lengths[pairs % len(self._lengths)]
        return pairs[share >= self._section.coverage] // len(self._lengths)


def _is_in(hashes: Array, known: Array) -> Array:
    if not len(known):
        return np.zeros(len(hashes), bool)
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return known[at] == hashes


def _text_hashes(words: Array, ends: Array) -> Array:
    """One hash of all the words of each text, in order."""
    sizes = np.diff(ends)
    place = np.arange(len(words)) - np.repeat(ends[:-1], sizes)
    powers = gram_powers(int(sizes.max(initial=0)) + 1)
    total = np.concatenate((np.zeros(1, U64), np.cumsum(words * powers[place], dtype=U64)))
    return fmix64(total[ends[1:]] - total[ends[:-1]] + sizes.astype(U64))


def _field_hashes(words: Array, ends: Array) -> tuple[Array, Array]:
    """The hash of each of a row's texts, and the row it belongs to."""
    cuts = np.flatnonzero(words == 0)
    bounds = np.unique(np.concatenate((ends, cuts, cuts + 1)))
    owner = np.searchsorted(ends, bounds[:-1], side="right") - 1
    return _text_hashes(words, bounds), owner
