"""Rows to decide, other reasons against them, and what was decided: arrays, one entry a row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup.columns import one_array, runs_in, words16_in
from synth_ray.dedup.hashing import U8, U32, U64, Array
from synth_ray.dedup.index_kernels import NEW
from synth_ray.records import SPLITS

NO_RUNS = np.zeros(1, np.int64)


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
        splits = pc.index_in(one_array(staged["split"], pa.string()), pa.array(SPLITS)).to_numpy(zero_copy_only=False)
        return cls(ids, splits.astype(U8), words16_in(staged["digest"]), keys, shingles, offsets)

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

    def of_rows(self, start: int, end: int, decisions: Decisions) -> Blockers:
        """A part's blockers: rows of earlier parts are decided, so kept ones become numbers and others are left out."""
        part = self._slice(start, end)
        earlier = -1 - part.blocker
        decided = (part.blocker < 0) & (earlier < start)
        row = np.where(decided, earlier, 0)
        dropped = decided & (decisions.code[row] != NEW)
        by = np.where(decided, decisions.number[row], np.where(part.blocker < 0, part.blocker + start, part.blocker))
        owner = np.repeat(np.arange(end - start), np.diff(part.ends))[~dropped]
        ends: Any = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=end - start))))
        return Blockers(ends, by[~dropped], part.similarity[~dropped])

    def _slice(self, start: int, end: int) -> Blockers:
        first, last = self.ends[start], self.ends[end]
        return Blockers(self.ends[start : end + 1] - first, self.blocker[first:last], self.similarity[first:last])


NO_BLOCKERS = Blockers(NO_RUNS, np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True)
class Decisions:
    """Per row: NEW, EXACT, NEAR, OVER_QUOTA or BLOCKED; the number of the kept row it repeats, or its own when kept; the
    similarity.
    """

    code: Array
    number: Array
    similarity: Array
