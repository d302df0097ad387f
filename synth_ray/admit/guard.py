"""No long n-gram on both sides of the line between training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from synth_ray.dedup.hashing import U8, U64, Array
from synth_ray.dedup.index import Bars
from synth_ray.dedup.ngrams import ngrams
from synth_ray.dedup.table import Table
from synth_ray.records import SPLITS, TRAIN

LONG = 13
"""Words of the n-gram no two rows may share across that line."""

_TRAIN = SPLITS.index(TRAIN)
_ELSEWHERE = 2**62


class Guard:
    """The long n-grams of the kept rows of either side, about nine bytes each: 1.6 KB for a row of 200 words."""

    def __init__(self) -> None:
        self._sides = {side: Table(value=U8) for side in (True, False)}

    @property
    def nbytes(self) -> int:
        return sum(table.nbytes for table in self._sides.values())

    def state(self) -> dict[str, Array]:
        """Both sides as arrays, for a snapshot."""
        entries = {_name(side): table.entries() for side, table in self._sides.items()}
        return {f"{name}_{part}": held[part] for name, held in entries.items() for part in ("his", "los")}

    def load(self, state: Mapping[str, Array]) -> None:
        """Hold what another guard held, besides what is here."""
        for side, table in self._sides.items():
            his, los = (state[f"{_name(side)}_{part}"] for part in ("his", "los"))
            keys = his.astype(U64) << U64(32) | los.astype(U64) << U64(16)
            table.insert(keys, np.zeros(len(keys), U8), cap=1)

    def bars(self, words: Array, ends: Array, splits: Array) -> Bars:
        """What bars each row: a kept row of the other side, or an earlier row of the same batch, should that be kept."""
        hashes, rows, _ = ngrams(words, ends, LONG)
        train = splits[rows] == _TRAIN
        barred = [self._by_kept(hashes, rows, train), _by_batch(hashes, rows, train)]
        row, by = (np.concatenate(parts) for parts in zip(*barred, strict=True))
        order = np.lexsort((by, row))
        counts = np.bincount(row, minlength=len(splits))
        return Bars(np.concatenate(([0], np.cumsum(counts))), by[order], np.zeros(len(order)))

    def _by_kept(self, hashes: Array, rows: Array, train: Array) -> tuple[Array, Array]:
        found = []
        for side, table in self._sides.items():
            asked = np.flatnonzero(train != side)
            if len(table) and len(asked):
                found.append(rows[asked][np.unique(table.lookup(hashes[asked])[0])])
        barred = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
        return barred, np.full(len(barred), _ELSEWHERE)

    def keep(self, words: Array, ends: Array, splits: Array, kept: Array) -> None:
        hashes, rows, _ = ngrams(words, ends, LONG)
        for side, table in self._sides.items():
            new = np.unique(hashes[kept[rows] & ((splits[rows] == _TRAIN) == side)])
            table.insert(new, np.zeros(len(new), U8), cap=1)


def _name(side: bool) -> str:
    return "long_of_train" if side else "long_of_evaluation"


def _by_batch(hashes: Array, rows: Array, train: Array) -> tuple[Array, Array]:
    """(row, -1 - earlier row) of every pair of rows of the two sides that share an n-gram."""
    order = np.lexsort((rows, hashes))
    hashes, rows, train = hashes[order], rows[order], train[order]
    new = np.concatenate(([True], hashes[1:] != hashes[:-1])) if len(hashes) else np.zeros(0, bool)
    group = np.cumsum(new) - 1
    mixed = np.bincount(group, train) % np.bincount(group) if len(group) else np.zeros(0)
    of_both = np.flatnonzero(mixed[group] > 0) if len(group) else np.zeros(0, np.int64)
    pairs: set[tuple[int, int]] = set()
    members: dict[int, list[Any]] = {}
    for i in of_both.tolist():
        earlier = members.setdefault(int(group[i]), [])
        pairs.update((int(rows[i]), int(rows[j])) for j in earlier if train[j] != train[i] and rows[j] != rows[i])
        earlier.append(i)
    ordered = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return ordered[:, 0], -1 - ordered[:, 1]
