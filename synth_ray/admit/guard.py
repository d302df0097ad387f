"""Split-leak guard: no long n-gram is in both a training row and an evaluation row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synth_ray.dedup.batch import Blockers
from synth_ray.dedup.fingerprint import COLUMN_BREAK
from synth_ray.dedup.hashing import U32, U64, Array, fmix64
from synth_ray.dedup.ngrams import ngrams
from synth_ray.dedup.stores import KeyTable, Stores
from synth_ray.records import SPLITS, TRAIN

LEAK_NGRAM = 13
"""Words in an n-gram that a training row and an evaluation row must not share."""

ONE_ROW = 1
"""The rows that are remembered of an n-gram: the first of each side."""

_TRAIN = SPLITS.index(TRAIN)
_SOME_KEPT_ROW = 2**62
_BATCH_PAIRS = 1 << 22


@dataclass(frozen=True, slots=True)
class Leak:
    """A long n-gram of a row that a kept row of the other side has. `word` counts from 1, `column` from 0: prompt, completion.

    `number` is the number of the kept row in the index.
    """

    column: int
    word: int
    number: int


class SplitLeakGuard:
    """The long n-grams of the kept rows of each side, each with the number of the first row that has it.

    An n-gram is known by its 64-bit hash, whole: with 48 bits, of a hundred million rows of 200 words, one in eighty evaluation
    rows would be rejected for an n-gram that no row has. About 14 bytes each, 2.7 kB for a row of 200 words. `stores` is where
    they are. Without `fills` no row is remembered: for a job whose rows are all of one side. Without `asks` none is compared,
    either: for one that is not run against rows of an earlier one.
    """

    def __init__(self, stores: Stores | None = None, *, fills: bool = True, asks: bool = True) -> None:
        stores = stores or Stores.in_memory()
        self._fills, self._asks = fills, asks
        self._sides: dict[bool, KeyTable] = {True: stores.train, False: stores.evaluation}

    @property
    def fills(self) -> bool:
        """Whether rows are remembered."""
        return self._fills

    @property
    def nbytes(self) -> int:
        return sum(table.nbytes for table in self._sides.values())

    def blockers(self, words: Array, ends: Array, splits: Array) -> Blockers:
        """The blockers of each row: a kept row of the other side, or an earlier row of this batch, if that one is kept."""
        if not self._asks:
            return Blockers(np.zeros(len(splits) + 1, np.int64), np.zeros(0, np.int64), np.zeros(0))
        hashes, rows, _ = ngrams(words, ends, LEAK_NGRAM)
        train = splits[rows] == _TRAIN
        by_kept = self._blocked_by_kept(hashes, rows, train)
        # A row blocked by a kept row is never kept, so it blocks no other: leave it out of the pairs.
        free = ~np.isin(rows, by_kept[0])
        barred = [by_kept, _blocked_within_batch(hashes[free], rows[free], train[free])]
        row, by = (np.concatenate(parts) for parts in zip(*barred, strict=True))
        order = np.lexsort((by, row))
        counts = np.bincount(row, minlength=len(splits))
        return Blockers(np.concatenate(([0], np.cumsum(counts))), by[order], np.zeros(len(order)))

    def _blocked_by_kept(self, hashes: Array, rows: Array, train: Array) -> tuple[Array, Array]:
        pairs = []
        for side, table in self._sides.items():
            positions = np.flatnonzero(train != side)
            if len(positions):
                pairs.append(rows[positions][np.unique(table.lookup(hashes[positions])[0])])
        barred = np.unique(np.concatenate(pairs)) if pairs else np.zeros(0, np.int64)
        return barred, np.full(len(barred), _SOME_KEPT_ROW)

    def keep(self, words: Array, ends: Array, splits: Array, kept: Array, numbers: Array) -> None:
        """Add the n-grams of the rows of the mask `kept`; `numbers` are all rows' numbers in the index."""
        if not self._fills:
            return
        hashes, rows, _ = ngrams(words, ends, LEAK_NGRAM)
        for side, table in self._sides.items():
            new = kept[rows] & ((splits[rows] == _TRAIN) == side)
            first, at = np.unique(hashes[new], return_index=True)
            table.insert(first, numbers[rows[new][at]].astype(U32), cap=ONE_ROW)

    def first_leaks(self, words: Array, ends: Array, splits: Array, below: Array) -> list[Leak | None]:
        """Of each row, the first n-gram that a kept row of the other side has whose number is below the row's `below`.

        Law: a function of the rows kept before this one, however rows are cut into batches.
        """
        hashes, rows, position = ngrams(words, ends, LEAK_NGRAM)
        train = splits[rows] == _TRAIN
        leaks: list[Leak | None] = [None] * len(splits)
        for side, table in self._sides.items():
            asked = np.flatnonzero(train != side)
            at, numbers = table.lookup(hashes[asked]) if len(asked) else (asked, asked)
            earlier = numbers < below[rows[asked[at]]]
            at, numbers = asked[at[earlier]], numbers[earlier]
            leaking, first = np.unique(rows[at], return_index=True)
            for row, gram, number in zip(leaking.tolist(), at[first].tolist(), numbers[first].tolist(), strict=True):
                leaks[row] = _leak(words[ends[row] : ends[row + 1]], int(position[gram]), number)
        return leaks


def _leak(words: Array, start: int, number: int) -> Leak:
    """`start` is the first word of the n-gram."""
    breaks = np.flatnonzero(words[:start] == COLUMN_BREAK)
    begin = int(breaks[-1]) + 1 if len(breaks) else 0
    return Leak(len(breaks), start - begin + 1, number)


def _blocked_within_batch(hashes: Array, rows: Array, train: Array) -> tuple[Array, Array]:
    """(row, -1 - earlier row) of every pair of rows of different sides that share an n-gram.

    A sentence that many rows share gives many n-grams with the same set of rows: each set is paired once.
    """
    size = int(rows.max()) + 1 if len(rows) else 1
    batches, pending = [np.zeros(0, np.int64)], 0
    for members, of_train in _shared(hashes, rows, train):
        train_members, other = members[of_train], members[~of_train]
        batches.append((np.maximum.outer(train_members, other) * size + np.minimum.outer(train_members, other)).ravel())
        pending += len(batches[-1])
        if pending > _BATCH_PAIRS:
            batches, pending = [np.unique(np.concatenate(batches))], 0
    pairs = np.unique(np.concatenate(batches))
    return pairs // size, -1 - pairs % size


def _shared(hashes: Array, rows: Array, train: Array) -> Iterator[tuple[Array, Array]]:
    """Every set of rows that share an n-gram and have both sides among them, with a mask of the training rows."""
    order = np.lexsort((rows, hashes))
    hashes, rows, train = hashes[order], rows[order], train[order]
    is_first = _differs(hashes) | _differs(rows)
    hashes, rows, train = hashes[is_first], rows[is_first], train[is_first]
    starts = np.flatnonzero(_differs(hashes))
    if not len(starts):
        return
    sizes = np.diff(np.append(starts, len(hashes)))
    train_counts = np.add.reduceat(train.astype(np.int64), starts)
    sets = np.add.reduceat(fmix64(rows.astype(U64) + U64(1)), starts)
    mixed = np.flatnonzero((train_counts > 0) & (train_counts < sizes))
    for group in mixed[np.unique(sets[mixed], return_index=True)[1]].tolist():
        members = slice(starts[group], starts[group] + sizes[group])
        yield rows[members], train[members]


def _differs(entries: Array) -> Array:
    """True where an entry differs from the one before it, and for the first."""
    return np.concatenate(([True], entries[1:] != entries[:-1]))[: len(entries)]
