"""Counts rows that share a key, such as their lineage, with a row of another split."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MAX_KEYS = 1_000_000
_PENDING = 1 << 18
_HASHES = 2.0**64
_SPLITS = 3


class SplitKeys:
    """Which splits the rows of each key are in.

    Law: exact up to `max_keys` distinct keys. Of more, those with the smallest hashes are kept, each with all of its rows: a
    random sample of keys, whose count is scaled up, so that it is unbiased; a leak of single keys may then be missed. The
    result does not depend on the order of the rows. Keys are 64-bit hashes: that two of a million are equal by chance has a
    probability of 3 in 100 million.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._keys: Array = np.zeros(0, np.uint64)
        self._rows: Array = np.zeros((0, _SPLITS + 1), np.int64)  # rows by split, and how many of them admission decided
        self._pending: list[tuple[Array, Array]] = []
        self._waiting = 0
        self._largest: int | None = None

    def add(self, keys: Array, splits: Array, *, decided: bool = True) -> None:
        """`keys`: a uint64 hash per row; `splits`: positions in `records.SPLITS`. Rows that are not `decided` are kept
        whatever they repeat, so a key that only such rows have is no leak.
        """
        rows = np.zeros((len(keys), _SPLITS + 1), np.int64)
        rows[np.arange(len(keys)), splits] = 1
        rows[:, _SPLITS] = int(decided)
        if self._largest is not None:
            may_count = keys <= np.uint64(self._largest)
            keys, rows = keys[may_count], rows[may_count]
        self._pending.append((keys, rows))
        self._waiting += len(keys)
        if self._waiting >= _PENDING:
            self._settle()

    def _settle(self) -> None:
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._pending)])
        rows = np.concatenate([self._rows, *(rows for _, rows in self._pending)])
        self._pending, self._waiting = [], 0
        if not len(keys):
            return
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
        first = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        keys, rows = keys[first], np.add.reduceat(rows, first)
        if len(keys) > self._max_keys:
            self._largest = int(keys[self._max_keys - 1])
        self._keys, self._rows = keys[: self._max_keys], rows[: self._max_keys]

    def leaks(self) -> int:
        """Rows whose key a row of another split has."""
        self._settle()
        by_split = self._rows[:, :_SPLITS]
        leaking = ((by_split > 0).sum(axis=1) > 1) & (self._rows[:, _SPLITS] > 0)
        found = int(by_split[leaking].sum())
        share = 1.0 if self._largest is None else (self._largest + 1) / _HASHES
        return max(found, round(found / share))


def mixed(words: Array) -> Array:
    """A uint64 hash of each row of an array of uint64 words (rows×words)."""
    out = np.zeros(len(words), np.uint64)
    for column in words.T:
        out = (out ^ column) * np.uint64(0x9E3779B97F4A7C15)
        out ^= out >> np.uint64(29)
        out *= np.uint64(0xBF58476D1CE4E5B9)
        out ^= out >> np.uint64(32)
    return out
