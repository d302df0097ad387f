"""The kept rows, and the question "which of them does this row repeat?", answered in order and exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth_ray.dedup import index_kernels
from synth_ray.dedup.batch import NO_BLOCKERS, NO_RUNS, Batch, Blockers, Decisions
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.hashing import U32, U64, Array
from synth_ray.dedup.index_kernels import BLOCKED, EXACT, NEAR, NEW, OVER_QUOTA
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.stores import Compared, MemoryRows, StoredRows, Stores
from synth_ray.dedup.table import Table
from synth_ray.job.dedup import Dedup

__all__ = ["BLOCKED", "EXACT", "OVER_QUOTA", "NEAR", "NEW", "Blockers", "Batch", "Decisions", "Index"]

_BATCH_ROWS = 4096
_MAX_ROWS = 2**32 - 2
_MAX_CANDIDATES = 1 << 16
"""Kept rows fetched at once, at about a kilobyte each: rows that have more are decided in smaller batches."""


class Index:
    """Keep-first: a row repeats an earlier *kept* row or is kept itself, so every rejected row has a kept witness.

    Law: the result does not depend on how rows are cut into batches, nor on where `stores` keep them. MinHash bands propose
    candidates, exact Jaccard similarity of the stored shingles decides, and of several near rows the nearest (then the earliest)
    is the witness.

    Rows in this process are compared where they are. Of rows elsewhere the candidates of a batch are fetched, and numbered anew
    in the same order, for the same compiled code.
    """

    def __init__(self, dedup: Dedup, *, stores: Stores | None = None, expected: int = 0) -> None:
        self._width = banding_of(dedup).bands + 1
        self._cap = dedup.bucket_cap
        self._rules = index_kernels.Rules(dedup.threshold, dedup.bucket_cap, dedup.near, force=False)
        self.stores = stores or Stores.in_memory(keys=expected * self._width, rows=expected)

    @property
    def kept(self) -> int:
        return len(self.stores.rows)

    @property
    def nbytes(self) -> int:
        return self.stores.keys.nbytes + self.stores.rows.nbytes

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
        at, size = 0, _BATCH_ROWS
        while at < rows:
            end = min(rows, at + size)
            part = Decisions(code[at:end], number[at:end], similarity[at:end])
            barred = blockers.of_rows(at, end, decisions) if blockers is not None else NO_BLOCKERS
            rules = self._rules._replace(force=force)
            if self._decide(_Part(batch.slice(at, end), remaining_rows, cell[at:end], barred, rules, part)):
                at, size = end, min(2 * size, _BATCH_ROWS)
            else:
                size = (end - at) // 2
        return decisions

    def _decide(self, part: _Part) -> bool:
        """Returns False, with nothing decided, for more than one row with too many candidates."""
        size = len(part.batch)
        if self.kept + size >= _MAX_ROWS:
            raise OverflowError("an index: wanted fewer than 4 billion kept rows, got more; start another output")
        keys, rows = self.stores.keys, self.stores.rows
        if isinstance(rows, MemoryRows) and isinstance(keys, Table):
            self._decide_here(part, rows, keys)
            return True
        at, ids = _NO_ANSWERS if part.rules.force else keys.lookup(self._keys(part.batch))
        known = np.unique(ids)
        if len(known) > _MAX_CANDIDATES and size > 1:
            return False
        places = np.searchsorted(known, ids).astype(U32)
        self._decide_fetched(part, known.astype(np.int64), index_kernels.Answers(_runs(at, size * self._width), places))
        self._keep(part.batch, part.out)
        return True

    def _decide_here(self, part: _Part, rows: MemoryRows, table: Table) -> None:
        """Everything is in this process: compiled code reads the stores, and appends to them."""
        table.reserve(len(part.batch) * self._width)
        rows.reserve(len(part.batch), len(part.batch.shingles))
        kept = index_kernels.Kept(rows.digests.array, rows.shingles.array, rows.ends.array, part.remaining_rows)
        self._run(part, part.rows(index_kernels.Answers(NO_RUNS, _NO_ANSWERS[1])), kept, table, before=len(rows))
        new = part.out.code == NEW
        rows.take_over(part.batch.ids[new], part.batch.splits[new])

    def _decide_fetched(self, part: _Part, known: Array, answers: index_kernels.Answers) -> None:
        """`known` are the numbers of the candidates, ascending; `answers` name them by position."""
        fetched = self.stores.rows.fetch(known) if len(known) else _NO_ROWS
        batch, first, beyond = part.batch, len(known), len(known) + len(part.batch)
        kept = index_kernels.Kept(
            np.concatenate((fetched.digests, np.zeros((len(batch), 2), U64))),
            np.concatenate((fetched.shingles, np.zeros(len(batch.shingles), U32))),
            np.concatenate((fetched.ends, np.zeros(len(batch), np.int64))),
            part.remaining_rows,
        )
        table = Table(expected=len(batch) * self._width)
        self._run(part, part.rows(answers, shift=beyond), kept, table, before=first)
        local = part.out.number
        of_known = np.append(known, -1)[np.minimum(local, first)]  # -1, no number, stays
        of_new = np.where(local < beyond, local - first + self.kept, local - beyond)
        local[:] = np.where(local < first, of_known, of_new)

    def _run(self, part: _Part, rows: index_kernels.Rows, kept: index_kernels.Kept, table: Table, *, before: int) -> None:
        """Decide all rows; they are numbered from `before`."""
        decisions = index_kernels.Decisions(part.out.code, part.out.number, part.out.similarity)
        counters = np.array([len(table), before], np.int64)
        scratch = index_kernels.Scratch(np.empty(self._width * self._cap, U32), counters)
        row = 0
        while row < len(part.batch):
            row = index_kernels.decide(rows, kept, table.slots, part.rules, decisions, scratch, row)
            table.used = int(counters[index_kernels.ENTRIES])
            if row < len(part.batch):
                table.grow_step()

    def _keys(self, batch: Batch) -> Array:
        """Every key of every row, the digest's first. 0 means no key: for the bands of a row without shingles."""
        banded = (np.diff(batch.offsets) > 0) & self._rules.near
        bands = np.where(banded[:, None], batch.bands, U64(0))
        return np.concatenate((batch.digests[:, :1], bands), axis=1).reshape(-1)

    def _keep(self, batch: Batch, out: Decisions) -> None:
        """Add the new rows to stores elsewhere."""
        new = batch.filter(out.code == NEW)
        if not len(new):
            return
        numbers = np.arange(self.kept, self.kept + len(new), dtype=U32)
        self.stores.keys.insert(self._keys(new), np.repeat(numbers, self._width), cap=self._cap)
        near = self._rules.near
        shingles, ends = (new.shingles, new.offsets) if near else (new.shingles[:0], np.zeros(len(new) + 1, np.int64))
        self.stores.rows.append(StoredRows(new.ids, new.splits, new.digests, shingles, ends))

    def keep_all(self, batch: Batch) -> Decisions:
        """Keep every row: for real rows."""
        return self.decide(batch, remaining_rows=np.array([2**62]), cell=np.zeros(len(batch), np.int64), force=True)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows to decide at once, by which rules, and where their decisions go."""

    batch: Batch
    remaining_rows: Array
    cell: Array
    blockers: Blockers
    rules: index_kernels.Rules
    out: Decisions

    def rows(self, answers: index_kernels.Answers, *, shift: int = 0) -> index_kernels.Rows:
        """For compiled code. Kept rows among the blockers are numbered from `shift`."""
        by = self.blockers.blocker
        blockers = (self.blockers.ends, np.where(by < 0, by, by + shift), self.blockers.similarity)
        return index_kernels.Rows(
            digests=read_only(self.batch.digests),
            bands=read_only(self.batch.bands),
            shingles=read_only(self.batch.shingles),
            offsets=read_only(self.batch.offsets),
            cells=read_only(self.cell),
            blockers=index_kernels.Blockers(*map(read_only, blockers)),
            answers=index_kernels.Answers(*map(read_only, answers)),
        )


_NO_ANSWERS = (np.zeros(0, U32), np.zeros(0, U32))
_NO_ROWS = Compared(np.zeros((0, 2), U64), np.zeros(0, U32), NO_RUNS)


def _runs(at: Array, size: int) -> Array:
    """Ends of the runs of equal positions."""
    ends = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(at, minlength=size), out=ends[1:])
    return ends
