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
from synth_ray.dedup.index_kernels import BLOCKED, EXACT, NEAR, NEW, OVER_QUOTA
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.table import GrowableArray, Table
from synth_ray.job.dedup import Dedup
from synth_ray.records import SPLITS

__all__ = ["BLOCKED", "EXACT", "OVER_QUOTA", "NEAR", "NEW", "Blockers", "Batch", "Decisions", "Index", "Shards"]

_BATCH_ROWS = 4096
_MAX_ROWS = 2**32 - 2
_NO_RUNS = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to decide, in order: their ids (N×16 bytes), splits (positions in `records.SPLITS`) and fingerprints.

    A row without shingles is compared by its exact digest only.
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
        """The batch of these staged rows."""
        shingles, offsets = runs_in(staged["shingles"], U32)
        keys = np.zeros((staged.num_rows, bands), U64)
        packed, ends = runs_in(staged["bands"], U64)
        keys[np.diff(ends) > 0] = packed.reshape(-1, bands)
        ids = np.frombuffer(bytes.fromhex("".join(staged["id"].to_pylist())), U8).reshape(-1, 16)
        splits = one_array(staged["split"], pa.string()).to_pylist()
        return cls(ids, np.array([SPLITS.index(s) for s in splits], U8), words16_in(staged["digest"]), keys, shingles, offsets)

    def slice(self, start: int, end: int) -> Batch:
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

    def filter(self, rows: Array) -> Batch:
        """The rows of a mask."""
        sizes = np.diff(self.offsets)
        ends = np.zeros(int(rows.sum()) + 1, np.int64)
        np.cumsum(sizes[rows], out=ends[1:])
        shingles = self.shingles[np.repeat(rows, sizes)]
        return Batch(self.ids[rows], self.splits[rows], self.digests[rows], self.bands[rows], shingles, ends)

    def arrays(self) -> dict[str, Array]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Blockers:
    """Other reasons to reject a row, in CSR layout: `blocker >= 0` is a kept row, `-1 - i` row i of this batch, if kept."""

    ends: Array
    blocker: Array
    similarity: Array

    def joined(self, other: Blockers) -> Blockers:
        """The blockers of both, those of `self` first; the first that applies is reported."""
        rows = np.concatenate([np.repeat(np.arange(len(part.ends) - 1), np.diff(part.ends)) for part in (self, other)])
        order = np.argsort(rows, kind="stable")
        by, similarity = (
            np.concatenate(parts)[order] for parts in ((self.blocker, other.blocker), (self.similarity, other.similarity))
        )
        return Blockers(self.ends + other.ends, by, similarity)

    def of_rows(self, start: int, end: int) -> Blockers:
        """A part's blockers. Blockers among rows of an earlier part are decided by then: `Index` has resolved them."""
        first, last = self.ends[start], self.ends[end]
        return Blockers(self.ends[start : end + 1] - first, self.blocker[first:last], self.similarity[first:last])


_NO_BLOCKERS = Blockers(_NO_RUNS, np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True)
class Decisions:
    """Per row: NEW, EXACT, NEAR, OVER_QUOTA or BLOCKED; the number of the kept row it repeats, or its own when kept; the
    similarity.
    """

    code: Array
    number: Array
    similarity: Array


class Shards(Protocol):
    """A table that is held elsewhere. One call per batch: the previous batch's additions, then this one's queries."""

    def exchange(self, keys: Array, ids: Array, queries: Array) -> tuple[Array, Array]:
        """Add (key, id) pairs in order; then return (position in `queries`, id) of everything under the queried keys, by
        position.
        """
        ...

    def entries(self) -> dict[str, Array]: ...

    @property
    def nbytes(self) -> int: ...


class Index:
    """Keep-first: a row repeats an earlier *kept* row or is kept itself, so every rejected row has a kept witness.

    Law: the result does not depend on how rows are cut into batches, nor on the number of shards. MinHash bands propose
    candidates, exact Jaccard similarity of the stored shingles decides, and of several near rows the nearest (then the earliest)
    is the witness.
    """

    def __init__(self, dedup: Dedup, *, shards: Shards | None = None, expected: int = 0) -> None:
        self._bands = banding_of(dedup).bands
        self._threshold, self._cap, self._near = dedup.threshold, dedup.bucket_cap, dedup.near
        self._shards = shards
        self._pending = (np.zeros(0, U64), np.zeros(0, U32))
        self.table = Table(expected=expected * (self._bands + 1) if shards is None else 0)
        self._counts = np.zeros(2, np.int64)
        self.ids, self.splits = GrowableArray(U8, width=16, expected=expected), GrowableArray(U8, expected=expected)
        self._digests = GrowableArray(U64, width=2, expected=expected)
        self._store, self._ends = GrowableArray(U32), GrowableArray(np.int64, expected=expected)
        self._ends.append(np.zeros(1, np.int64))

    @property
    def kept(self) -> int:
        return self.splits.length

    @property
    def nbytes(self) -> int:
        """Bytes of the tables. With `store_nbytes`, of everything."""
        tables = self.table.nbytes if self._shards is None else self._shards.nbytes
        return tables + sum(a.nbytes for a in (self.ids, self.splits, self._digests, self._ends))

    @property
    def store_nbytes(self) -> int:
        return self._store.nbytes

    def decide(
        self, batch: Batch, *, remaining_rows: Array, cell: Array, blockers: Blockers | None = None, force: bool = False
    ) -> Decisions:
        """Decide rows in order, keeping the new ones.

        A new row of a cell without `remaining_rows` is OVER_QUOTA and not kept. `cell` is each row's position in
        `remaining_rows`, which is counted down. `force` keeps every row, whatever it repeats.
        """
        rows = len(batch)
        code, number, similarity = np.zeros(rows, np.int8), np.full(rows, -1, np.int64), np.zeros(rows)
        decisions = Decisions(code, number, similarity)
        for at in range(0, rows, _BATCH_ROWS):
            end = min(rows, at + _BATCH_ROWS)
            part = Decisions(code[at:end], number[at:end], similarity[at:end])
            barred = _resolve_earlier_rows(blockers, at, end, decisions) if blockers is not None else _NO_BLOCKERS
            self._decide(batch.slice(at, end), remaining_rows, cell[at:end], barred, force, part)
        return decisions

    def _decide(self, batch: Batch, remaining_rows: Array, cell: Array, blockers: Blockers, force: bool, out: Decisions) -> None:
        rows, before = len(batch), self.kept
        if before + rows >= _MAX_ROWS:
            raise OverflowError("an index: wanted fewer than 4 billion kept rows, got more; start another output")
        answers = self._lookup_shards(batch)
        table = self.table if self._shards is None else Table(expected=rows * (self._bands + 1))
        table.reserve(rows * (self._bands + 1))
        self._reserve(rows, len(batch.shingles))
        to_decide = _rows_of(batch, cell, blockers, answers)
        kept = index_kernels.Kept(self._digests.array, self._store.array, self._ends.array, remaining_rows)
        rules = index_kernels.Rules(self._threshold, self._cap, self._near, force)
        decisions = index_kernels.Decisions(out.code, out.number, out.similarity)
        counters = np.array([len(table), before, 0], np.int64)
        scratch = index_kernels.Scratch(np.empty((self._bands + 1) * self._cap, U32), counters)
        row = 0
        while row < rows:
            row = index_kernels.decide(to_decide, kept, table.slots, rules, decisions, scratch, row)
            table.used = int(counters[index_kernels.ENTRIES])
            if row < rows:
                table.grow_step()
        self._keep(batch, out, int(counters[index_kernels.KEPT]) - before)

    def _lookup_shards(self, batch: Batch) -> index_kernels.Answers:
        """The ids that shards hold under the keys of the batch."""
        if self._shards is None:
            return index_kernels.Answers(_NO_RUNS, np.zeros(0, U32))
        width = self._bands + 1
        queries = self._keys(batch)
        at, ids = self._shards.exchange(*self._pending, queries)
        ends = np.zeros(len(batch) * width + 1, np.int64)
        np.cumsum(np.bincount(at, minlength=len(batch) * width), out=ends[1:])
        return index_kernels.Answers(ends, ids)

    def _keys(self, batch: Batch) -> Array:
        """Every key of every row, the digest's first. 0 means no key: for the bands of a row without shingles."""
        banded = (np.diff(batch.offsets) > 0) & self._near
        bands = np.where(banded[:, None], batch.bands, U64(0))
        return np.concatenate((batch.digests[:, :1], bands), axis=1).reshape(-1)

    def _reserve(self, rows: int, shingles: int) -> None:
        """Allocate for the batch beforehand, so that the compiled loop never allocates."""
        self._digests.reserve(rows)
        self._ends.reserve(rows)
        self._store.reserve(shingles)

    def _keep(self, batch: Batch, out: Decisions, more: int) -> None:
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
        arrays = {"ids": self.ids, "splits": self.splits, "digests": self._digests, "store": self._store, "ends": self._ends}
        entries = self.table.entries() if self._shards is None else self._shards.entries()
        return entries | {name: array.view for name, array in arrays.items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Add the rows of another index's state; they are numbered after the rows that are here already."""
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

    def keep_all(self, batch: Batch) -> Decisions:
        """Keep every row: for rows of a log, and for real rows."""
        return self.decide(batch, remaining_rows=np.array([2**62]), cell=np.zeros(len(batch), np.int64), force=True)


def _rows_of(batch: Batch, cell: Array, blockers: Blockers, answers: index_kernels.Answers) -> index_kernels.Rows:
    return index_kernels.Rows(
        digests=read_only(batch.digests),
        bands=read_only(batch.bands),
        shingles=read_only(batch.shingles),
        offsets=read_only(batch.offsets),
        cells=read_only(cell),
        blockers=index_kernels.Blockers(read_only(blockers.ends), read_only(blockers.blocker), read_only(blockers.similarity)),
        answers=index_kernels.Answers(read_only(answers.ends), read_only(answers.ids)),
    )


def _resolve_earlier_rows(blockers: Blockers, start: int, end: int, decisions: Decisions) -> Blockers:
    """The blockers of a part: rows of earlier parts are decided, so kept ones become numbers and others are left out."""
    part = blockers.of_rows(start, end)
    earlier = -1 - part.blocker
    decided = (part.blocker < 0) & (earlier < start)
    row = np.where(decided, earlier, 0)
    dropped = decided & (decisions.code[row] != NEW)
    by = np.where(decided, decisions.number[row], np.where(part.blocker < 0, part.blocker + start, part.blocker))
    owner = np.repeat(np.arange(end - start), np.diff(part.ends))[~dropped]
    ends: Any = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=end - start))))
    return Blockers(ends, by[~dropped], part.similarity[~dropped])
