"""What admission remembers of rows that it kept, as arrays: for the log of checkpoints, and put into new stores at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from synth_ray.admit.guard import LEAK_NGRAM, ONE_ROW
from synth_ray.admit.kept_rows import KeptRows
from synth_ray.dedup.batch import Batch
from synth_ray.dedup.bulk import Filling
from synth_ray.dedup.columns import runs_in
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.fingerprint import without_thoughts
from synth_ray.dedup.hashing import U32, U64, Array
from synth_ray.dedup.ngrams import ngrams
from synth_ray.dedup.reference import offsets_of
from synth_ray.dedup.stores import MemoryRows, RowStore, StoredRows
from synth_ray.dedup.table import Table
from synth_ray.job.dedup import Dedup
from synth_ray.records import SPLITS, TRAIN

COLUMNS = ["id", "split", "digest", "bands", "shingles", "ngrams"]
"""Of staged rows, what is remembered of them."""

_TRAIN = SPLITS.index(TRAIN)
_NOTHING = np.zeros(0, U32)


class Remembered(NamedTuple):
    """Kept rows, in order: as they are stored, with every key of each, the digest's first (0 is none), and of the training rows
    and the others every key of the guard with its row's position.
    """

    rows: StoredRows
    keys: Array
    train: tuple[Array, Array]
    evaluation: tuple[Array, Array]


class Rememberer:
    """Packs kept rows for the log, and puts them into stores that hold none of them yet.

    Law: afterwards the stores are what they would be had the rows been decided there and kept, in the same order.
    """

    def __init__(self, dedup: Dedup, kept: KeptRows) -> None:
        self._bands, self._near, self._cap = banding_of(dedup).bands, dedup.near, dedup.bucket_cap
        self._stores, self._with_guard = kept.index.stores, kept.guard.fills

    def pack(self, rows: pa.Table) -> dict[str, Array]:
        """`rows` have COLUMNS. Word hashes are in it only where the guard needs them."""
        batch = Batch.of(rows, self._bands)
        banded = np.diff(batch.offsets) > 0 if self._near else np.zeros(len(batch), bool)
        words, ends = without_thoughts(*runs_in(rows["ngrams"], U32)) if self._with_guard else _no_words(len(batch))
        return {
            "ids": batch.ids,
            "splits": batch.splits,
            "digests": batch.digests,
            "bands": batch.bands[banded],
            "shingles": batch.shingles if self._near else _NOTHING,
            "shingle_counts": (np.diff(batch.offsets) * self._near).astype(U32),
            "words": words,
            "word_counts": np.diff(ends).astype(U32),
        }

    def unpack(self, arrays: Mapping[str, Array]) -> Remembered:
        """For threads: reads nothing of this but what never changes."""
        counts, splits, digests = arrays["shingle_counts"], arrays["splits"], arrays["digests"]
        keys = np.zeros((len(splits), 1 + self._bands), U64)
        keys[:, 0] = digests[:, 0]
        keys[counts > 0, 1:] = arrays["bands"]
        hashes, at, _ = ngrams(arrays["words"], offsets_of(arrays["word_counts"]), LEAK_NGRAM)
        of_train = splits[at] == _TRAIN
        sides = [(hashes, at) if side.all() else (hashes[side], at[side]) for side in (of_train, ~of_train)]
        rows = StoredRows(arrays["ids"], splits, digests, arrays["shingles"], offsets_of(counts))
        return Remembered(rows, keys.reshape(-1), sides[0], sides[1])

    def sizes(self) -> dict[str, int]:
        """Entries of the tables and the rows as they are now: what a later `putting` should expect."""
        stores = self._stores
        tables = {name: getattr(stores, name) for name in ("keys", "train", "evaluation")}
        shingles = stores.rows.shingles.length if isinstance(stores.rows, MemoryRows) else 0
        entries = {name: len(table) if isinstance(table, Table) else 0 for name, table in tables.items()}
        return entries | {"rows": len(stores.rows), "shingles": shingles}

    @contextmanager
    def putting(self, sizes: Mapping[str, int]) -> Iterator[Putting]:
        """Takes rows while it is open; the stores answer nothing until it is left. `sizes` are expected, not needed."""
        stores = self._stores
        if isinstance(stores.rows, MemoryRows):
            stores.rows.reserve_all(sizes["rows"], sizes["shingles"])
        caps = {"keys": self._cap, "train": ONE_ROW, "evaluation": ONE_ROW}
        with ExitStack() as stack:
            yield Putting(
                stores.rows,
                **{
                    name: stack.enter_context(Filling(getattr(stores, name), expected=sizes[name], cap=cap))
                    for name, cap in caps.items()
                },
            )


class Putting:
    """Takes remembered rows; see `Rememberer.putting`."""

    def __init__(self, rows: RowStore, *, keys: Filling, train: Filling, evaluation: Filling) -> None:
        self._rows, self._keys, self._sides = rows, keys, (train, evaluation)

    def add(self, part: Remembered) -> None:
        """Call in the order in which the rows were kept."""
        first, added = len(self._rows), len(part.rows.splits)
        numbers = np.arange(first, first + added, dtype=U32)
        self._keys.add(part.keys, np.repeat(numbers, len(part.keys) // max(1, added)))
        for side, (hashes, at) in zip(self._sides, (part.train, part.evaluation), strict=True):
            side.add(hashes, numbers[at])
        self._rows.append(part.rows)


def joined_entries(parts: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Arrays of equal names, one after the other; those without entries count only where all are without, as their width may
    not be known then.
    """
    by_name: dict[str, list[Array]] = {}
    for part in parts:
        for name, array in part.items():
            by_name.setdefault(name, []).append(array)
    return {name: np.concatenate([a for a in arrays if len(a)] or arrays[:1]) for name, arrays in by_name.items()}


def _no_words(rows: int) -> tuple[Array, Array]:
    return _NOTHING, np.zeros(rows + 1, np.int64)
