"""The kept rows, and the question "which of them does this row repeat?", answered in order and exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from synth_ray.dedup import index_kernels
from synth_ray.dedup.columns import one_array, runs_in, words16_in
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.hashing import U8, U32, U64, Array
from synth_ray.dedup.index_kernels import BARRED, EXACT, FULL, NEAR, NEW
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.table import Appended, Table
from synth_ray.job.dedup import Dedup
from synth_ray.records import SPLITS

__all__ = ["BARRED", "EXACT", "FULL", "NEAR", "NEW", "Bars", "Batch", "Found", "Index", "Shards"]

_AT_ONCE = 4096
_MOST = 2**32 - 2
_NO_RUNS = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to decide, in order: their ids (N×16 bytes), splits (places in `records.SPLITS`) and fingerprints.

    A row without shingles meets others by its exact digest alone.
    """

    ids: Array
    splits: Array
    digests: Array
    bands: Array
    shingles: Array
    offsets: Array

    def __len__(self) -> int:
        return len(self.digests)

    @classmethod
    def of(cls, staged: pa.Table, bands: int) -> Batch:
        """Of staged rows."""
        shingles, offsets = runs_in(staged["shingles"], U32)
        keys = np.zeros((staged.num_rows, bands), U64)
        packed, ends = runs_in(staged["bands"], U64)
        keys[np.diff(ends) > 0] = packed.reshape(-1, bands)
        ids = np.frombuffer(bytes.fromhex("".join(staged["id"].to_pylist())), U8).reshape(-1, 16)
        splits = one_array(staged["split"], pa.string()).to_pylist()
        return cls(ids, np.array([SPLITS.index(s) for s in splits], U8), words16_in(staged["digest"]), keys, shingles, offsets)

    def part(self, start: int, end: int) -> Batch:
        first, last = self.offsets[start], self.offsets[min(end, len(self))]
        rows = slice(start, end)
        return Batch(
            self.ids[rows],
            self.splits[rows],
            self.digests[rows],
            self.bands[rows],
            self.shingles[first:last],
            self.offsets[start : end + 1] - first,
        )

    def taken(self, rows: Array) -> Batch:
        """The rows of a mask."""
        sizes = np.diff(self.offsets)
        ends = np.zeros(int(rows.sum()) + 1, np.int64)
        np.cumsum(sizes[rows], out=ends[1:])
        shingles = self.shingles[np.repeat(rows, sizes)]
        return Batch(self.ids[rows], self.splits[rows], self.digests[rows], self.bands[rows], shingles, ends)

    def arrays(self) -> dict[str, Array]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Bars:
    """What else keeps a row out: runs of kept numbers, or of -1 - i for row i of the same batch, should that be kept."""

    ends: Array
    by: Array
    similarity: Array

    def joined(self, other: Bars) -> Bars:
        """What bars each row here, then there; the first that stands is the one that is told."""
        rows = np.concatenate([np.repeat(np.arange(len(one.ends) - 1), np.diff(one.ends)) for one in (self, other)])
        order = np.argsort(rows, kind="stable")
        by, similarity = (np.concatenate(parts)[order] for parts in ((self.by, other.by), (self.similarity, other.similarity)))
        return Bars(self.ends + other.ends, by, similarity)

    def part(self, start: int, end: int) -> Bars:
        """Rows of an earlier part have been decided by then: `Index` turns them into numbers first."""
        first, last = self.ends[start], self.ends[end]
        return Bars(self.ends[start : end + 1] - first, self.by[first:last], self.similarity[first:last])


_NO_BARS = Bars(_NO_RUNS, np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True)
class Found:
    """Per row: NEW, EXACT, NEAR, FULL or BARRED; the number of the kept row it repeats, or its own when kept; similarity."""

    code: Array
    number: Array
    similarity: Array


class Shards(Protocol):
    """A table that lies elsewhere. One call a batch: what the batch before it added, then what this one asks."""

    def exchange(self, keys: Array, ids: Array, asked: Array) -> tuple[Array, Array]:
        """Add (key, id) pairs in order; then (position in `asked`, id) of all that is under the asked keys, by position."""
        ...

    def entries(self) -> dict[str, Array]: ...

    @property
    def nbytes(self) -> int: ...


class Index:
    """Keep-first: a row repeats an earlier *kept* row or is kept itself, so every drop has a kept witness.

    Law: the result does not depend on how rows are cut into batches, nor on the number of shards. MinHash bands propose,
    exact Jaccard of the stored shingles decides, and of several near rows the nearest (then the earliest) is the witness.
    """

    def __init__(self, dedup: Dedup, *, shards: Shards | None = None, expected: int = 0) -> None:
        self._bands = banding_of(dedup).bands
        self._threshold, self._cap, self._near = dedup.threshold, dedup.bucket_cap, dedup.near
        self._shards = shards
        self._pending = (np.zeros(0, U64), np.zeros(0, U32))
        self.table = Table(expected=expected * (self._bands + 1) if shards is None else 0)
        self._counts = np.zeros(2, np.int64)
        self.ids, self.splits = Appended(U8, width=16, expected=expected), Appended(U8, expected=expected)
        self._digests = Appended(U64, width=2, expected=expected)
        self._store, self._ends = Appended(U32), Appended(np.int64, expected=expected)
        self._ends.append(np.zeros(1, np.int64))

    @property
    def kept(self) -> int:
        return self.splits.length

    @property
    def nbytes(self) -> int:
        """Bytes of the tables; and with `store_nbytes`, of everything."""
        tables = self.table.nbytes if self._shards is None else self._shards.nbytes
        return tables + sum(a.nbytes for a in (self.ids, self.splits, self._digests, self._ends))

    @property
    def store_nbytes(self) -> int:
        return self._store.nbytes

    def decide(self, batch: Batch, *, room: Array, cell: Array, bars: Bars | None = None, force: bool = False) -> Found:
        """Decide rows in order, keeping the new ones. A new row of a cell without `room` is FULL and not kept.

        `cell` is each row's place in `room`, which is counted down. `force` keeps every row, whatever it repeats.
        """
        rows = len(batch)
        code, number, similarity = np.zeros(rows, np.int8), np.full(rows, -1, np.int64), np.zeros(rows)
        found = Found(code, number, similarity)
        for at in range(0, rows, _AT_ONCE):
            end = min(rows, at + _AT_ONCE)
            part = Found(code[at:end], number[at:end], similarity[at:end])
            barred = _settled(bars, at, end, found) if bars is not None else _NO_BARS
            self._decide(batch.part(at, end), room, cell[at:end], barred, force, part)
        return found

    def _decide(self, batch: Batch, room: Array, cell: Array, bars: Bars, force: bool, out: Found) -> None:
        rows, before = len(batch), self.kept
        if before + rows >= _MOST:
            raise OverflowError("an index: wanted fewer than 4 billion kept rows, got more; start another output")
        answers = self._elsewhere(batch)
        table = self.table if self._shards is None else Table(expected=rows * (self._bands + 1))
        table.reserve(rows * (self._bands + 1))
        self._reserve(rows, len(batch.shingles))
        to_decide = _rows_of(batch, cell, bars, answers)
        kept = index_kernels.Kept(self._digests.array, self._store.array, self._ends.array, room)
        rules = index_kernels.Rules(self._threshold, self._cap, self._near, force)
        decisions = index_kernels.Decisions(out.code, out.number, out.similarity)
        counters = np.array([len(table), before, 0], np.int64)
        scratch = index_kernels.Scratch(np.empty((self._bands + 1) * self._cap, U32), counters)
        row = 0
        while row < rows:
            row = index_kernels.decide(to_decide, kept, table.slots, rules, decisions, scratch, row)
            table.used = int(counters[index_kernels.ENTRIES])
            if row < rows:
                table.widen()
        self._keep(batch, out, int(counters[index_kernels.KEPT]) - before)

    def _elsewhere(self, batch: Batch) -> index_kernels.Answers:
        """What shards hold under the keys of the batch."""
        if self._shards is None:
            return index_kernels.Answers(_NO_RUNS, np.zeros(0, U32))
        width = self._bands + 1
        asked = self._keys(batch)
        at, found = self._shards.exchange(*self._pending, asked)
        ends = np.zeros(len(batch) * width + 1, np.int64)
        np.cumsum(np.bincount(at, minlength=len(batch) * width), out=ends[1:])
        return index_kernels.Answers(ends, found)

    def _keys(self, batch: Batch) -> Array:
        """Every key of every row, the digest's first; 0, which is none, for the bands of a row without shingles."""
        banded = (np.diff(batch.offsets) > 0) & self._near
        bands = np.where(banded[:, None], batch.bands, U64(0))
        return np.concatenate((batch.digests[:, :1], bands), axis=1).reshape(-1)

    def _reserve(self, rows: int, shingles: int) -> None:
        """Make room beforehand, so that the compiled loop never allocates."""
        self._digests.reserve(rows)
        self._ends.reserve(rows)
        self._store.reserve(shingles)

    def _keep(self, batch: Batch, out: Found, more: int) -> None:
        new = out.code == NEW
        self._digests.length += more
        self._ends.length += more
        self._store.length = int(self._ends.array[self._ends.length - 1])
        self.ids.append(batch.ids[new])
        self.splits.append(batch.splits[new])
        if self._shards is not None:
            width = self._bands + 1
            keys = self._keys(batch).reshape(-1, width)[new]
            self._pending = keys.reshape(-1), np.repeat(out.number[new].astype(U32), width)

    def state(self) -> dict[str, Array]:
        """Everything the index holds, as arrays. See `snapshot`."""
        if self._shards is not None:
            self._shards.exchange(*self._pending, np.zeros(0, U64))
            self._pending = (np.zeros(0, U64), np.zeros(0, U32))
        held = {"ids": self.ids, "splits": self.splits, "digests": self._digests, "store": self._store, "ends": self._ends}
        entries = self.table.entries() if self._shards is None else self._shards.entries()
        return entries | {name: array.view for name, array in held.items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Hold what another index held, before or besides what is here; its rows come after the ones already here."""
        keys = state["his"].astype(U64) << U64(32) | state["los"].astype(U64) << U64(16)
        ids = state["values"] + U32(self.kept)
        if self._shards is None:
            self.table.insert(keys, ids, cap=self._cap)
        else:
            self._shards.exchange(*self._pending, np.zeros(0, U64))
            self._shards.exchange(keys, ids, np.zeros(0, U64))
            self._pending = (np.zeros(0, U64), np.zeros(0, U32))
        self._ends.append(state["ends"][1:] + self._store.length)
        for array, name in ((self.ids, "ids"), (self.splits, "splits"), (self._digests, "digests"), (self._store, "store")):
            array.append(state[name])

    def apply(self, batch: Batch) -> Found:
        """Keep every row, as a log or a real row demands."""
        return self.decide(batch, room=np.array([2**62]), cell=np.zeros(len(batch), np.int64), force=True)


def _rows_of(batch: Batch, cell: Array, bars: Bars, answers: index_kernels.Answers) -> index_kernels.Rows:
    return index_kernels.Rows(
        digests=read_only(batch.digests),
        bands=read_only(batch.bands),
        shingles=read_only(batch.shingles),
        offsets=read_only(batch.offsets),
        cells=read_only(cell),
        blockers=index_kernels.Blockers(read_only(bars.ends), read_only(bars.by), read_only(bars.similarity)),
        answers=index_kernels.Answers(read_only(answers.ends), read_only(answers.ids)),
    )


def _settled(bars: Bars, start: int, end: int, found: Found) -> Bars:
    """The bars of a part: rows of earlier parts are decided, so those that were kept are numbers and the others are gone."""
    part = bars.part(start, end)
    earlier = -1 - part.by
    decided = (part.by < 0) & (earlier < start)
    row = np.where(decided, earlier, 0)
    gone = decided & (found.code[row] != NEW)
    by = np.where(decided, found.number[row], np.where(part.by < 0, part.by + start, part.by))
    owner = np.repeat(np.arange(end - start), np.diff(part.ends))[~gone]
    ends: Any = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=end - start))))
    return Bars(ends, by[~gone], part.similarity[~gone])
