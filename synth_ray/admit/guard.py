"""Split-leak guard: no long n-gram is in both a training row and an evaluation row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from synth_ray.dedup.fingerprint import COLUMN_BREAK
from synth_ray.dedup.hashing import U32, U64, Array, fmix64
from synth_ray.dedup.index import Blockers
from synth_ray.dedup.ngrams import ngrams
from synth_ray.dedup.table import Table
from synth_ray.records import SPLITS, TRAIN

LEAK_NGRAM = 13
"""Words in an n-gram that a training row and an evaluation row must not share."""

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

    About 12 bytes each, 2.2 KB for a row of 200 words; three of the 12 are what the number costs.
    """

    def __init__(self) -> None:
        self._sides = {side: Table() for side in (True, False)}

    @property
    def nbytes(self) -> int:
        return sum(table.nbytes for table in self._sides.values())

    def state(self) -> dict[str, Array]:
        """The n-grams of both sides as arrays, for a snapshot."""
        entries = {_array_name(side): table.entries() for side, table in self._sides.items()}
        return {f"{name}_{part}": entry[part] for name, entry in entries.items() for part in _PARTS}

    def load(self, state: Mapping[str, Array], *, first_number: int = 0) -> None:
        """Add the n-grams of another guard's `state`, whose rows are numbered from `first_number` in the index."""
        for side, table in self._sides.items():
            key_hi, key_lo, numbers = (state[f"{_array_name(side)}_{part}"] for part in _PARTS)
            keys = key_hi.astype(U64) << U64(32) | key_lo.astype(U64) << U64(16)
            table.insert(keys, numbers + U32(first_number), cap=1)

    def blockers(self, words: Array, ends: Array, splits: Array) -> Blockers:
        """The blockers of each row: a kept row of the other side, or an earlier row of this batch, if that one is kept."""
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
            if len(table) and len(positions):
                pairs.append(rows[positions][np.unique(table.lookup(hashes[positions])[0])])
        barred = np.unique(np.concatenate(pairs)) if pairs else np.zeros(0, np.int64)
        return barred, np.full(len(barred), _SOME_KEPT_ROW)

    def keep(self, words: Array, ends: Array, splits: Array, kept: Array, numbers: Array) -> None:
        """Add the n-grams of the rows of the mask `kept`; `numbers` are all rows' numbers in the index."""
        hashes, rows, _ = ngrams(words, ends, LEAK_NGRAM)
        for side, table in self._sides.items():
            new = kept[rows] & ((splits[rows] == _TRAIN) == side)
            first, at = np.unique(hashes[new], return_index=True)
            table.insert(first, numbers[rows[new][at]].astype(U32), cap=1)

    def first_leak(self, words: Array, split: int, *, below: int) -> Leak | None:
        """The first n-gram of a row that a kept row of the other side has whose number is below `below`.

        Law: a function of the rows kept before this one, however rows are cut into batches.
        """
        hashes, _, position = ngrams(words, np.array([0, len(words)]), LEAK_NGRAM)
        at, numbers = self._sides[split != _TRAIN].lookup(hashes)
        earlier = np.flatnonzero(numbers < below)
        if not len(earlier):
            return None
        start = int(position[at[earlier[0]]])
        breaks = np.flatnonzero(words[:start] == COLUMN_BREAK)
        begin = int(breaks[-1]) + 1 if len(breaks) else 0
        return Leak(len(breaks), start - begin + 1, int(numbers[earlier[0]]))


_PARTS = ("his", "los", "values")


def _array_name(side: bool) -> str:
    return "long_of_train" if side else "long_of_evaluation"


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
