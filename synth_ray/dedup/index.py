"""The kept rows, and the question "which of them does this row repeat?", answered in order and exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np

from synth_ray.dedup import kernels
from synth_ray.dedup.kernels import U32, U64

NEW, EXACT, NEAR, FULL = 0, 1, 2, 3
_EMPTY = U32(0xFFFFFFFF)
_LOAD = 0.7
_EXACT_CAP = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to decide, in order. `identity` is N×2 uint64 (the exact digest); `banded` says which rows have bands."""

    identity: np.ndarray
    bands: np.ndarray
    banded: np.ndarray
    shingles: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, slots=True)
class Found:
    """Per row: NEW, EXACT, NEAR or FULL; the number of the kept row it repeats, or its own when kept; the similarity."""

    code: np.ndarray
    number: np.ndarray
    similarity: np.ndarray


class Index:
    """Keep-first: a row repeats an earlier *kept* row or is kept itself, so every drop has a kept witness.

    The result does not depend on how rows are cut into batches. Memory: `nbytes`; about 12 bytes per band and 4 bytes
    per distinct shingle of each kept row, at a load of at most 0.7.
    """

    def __init__(self, *, bands: int, threshold: float, cap: int, near: bool = True) -> None:
        self._bands = bands
        self._threshold = threshold
        self._cap = cap
        self._near = near
        self._slots, self._values = np.zeros(1 << 14, U64), np.full(1 << 14, _EMPTY, U32)
        self._used = 0
        self.kept = 0
        self._identity = np.zeros((1 << 10, 2), U64)
        self._store = np.zeros(1 << 16, U32)
        self._ends = np.zeros(1 << 10, np.int64)

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self._slots, self._values, self._identity, self._store, self._ends))

    def decide(self, batch: Batch, *, room: np.ndarray, cell: np.ndarray) -> Found:
        """Decide rows in order, keeping the new ones. A new row of a cell without `room` is FULL and not kept.

        `cell` is each row's place in `room`, which is counted down.
        """
        rows = len(batch.identity)
        self._grow(rows, len(batch.shingles))
        code, number = np.zeros(rows, np.int8), np.full(rows, -1, np.int64)
        similarity = np.zeros(rows)
        self.kept, self._used = _decide(
            batch.identity,
            batch.bands,
            batch.banded & self._near,
            batch.shingles,
            batch.offsets,
            room,
            cell,
            self._slots,
            self._values,
            self._identity,
            self._store,
            self._ends,
            self.kept,
            self._used,
            self._threshold,
            self._cap,
            np.empty(self._bands * self._cap + _EXACT_CAP, U32),
            code,
            number,
            similarity,
        )
        return Found(code, number, similarity)

    def _grow(self, rows: int, shingles: int) -> None:
        """Make room beforehand, so that the compiled loop never allocates."""
        if self.kept + rows >= 2**32 - 1:
            raise OverflowError("wanted fewer than 4 billion kept rows in one index, got more; shard it")
        size = len(self._values)
        while self._used + rows * (self._bands + 1) > _LOAD * size:
            size *= 2
        if size > len(self._values):
            slots, values = np.zeros(size, U64), np.full(size, _EMPTY, U32)
            kernels.rehash(self._slots, self._values, slots, values)
            self._slots, self._values = slots, values
        self._identity = _room_for(self._identity, self.kept + rows)
        self._ends = _room_for(self._ends, self.kept + rows + 1)
        self._store = _room_for(self._store, int(self._ends[self.kept]) + shingles)


def _room_for(array: np.ndarray, size: int) -> np.ndarray:
    if size <= len(array):
        return array
    larger = np.zeros((max(size, len(array) * 3 // 2), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


@nb.njit(nogil=True, cache=True, boundscheck=False)
def _decide(
    identity: Any,
    bands: Any,
    banded: Any,
    shingles: Any,
    offsets: Any,
    room: Any,
    cell: Any,
    slots: Any,
    values: Any,
    kept_identity: Any,
    store: Any,
    ends: Any,
    kept: Any,
    used: Any,
    threshold: float,
    cap: int,
    candidates: Any,
    code: Any,
    number: Any,
    similarity: Any,
) -> Any:
    for i in range(identity.shape[0]):
        n = kernels.lookup(slots, values, identity[i, 0], 8, candidates, 0)
        for c in range(n):
            k = candidates[c]
            if kept_identity[k, 0] == identity[i, 0] and kept_identity[k, 1] == identity[i, 1]:
                code[i] = 1
                number[i] = k
                similarity[i] = 1.0
                break
        if code[i] == 0 and banded[i]:
            mine = shingles[offsets[i] : offsets[i + 1]]
            n = 0
            for j in range(bands.shape[1]):
                n = kernels.lookup(slots, values, bands[i, j], cap, candidates, n)
            for c in range(n):
                k = candidates[c]
                theirs = store[ends[k] : ends[k + 1]]
                if min(mine.size, theirs.size) < threshold * max(mine.size, theirs.size):
                    continue
                same = kernels.jaccard(mine, theirs)
                if same >= threshold and same > similarity[i]:
                    code[i] = 2
                    number[i] = k
                    similarity[i] = same
        if code[i] != 0:
            continue
        if room[cell[i]] <= 0:
            code[i] = 3
            continue
        room[cell[i]] -= 1
        number[i] = kept
        kept_identity[kept, 0] = identity[i, 0]
        kept_identity[kept, 1] = identity[i, 1]
        used += kernels.insert(slots, values, identity[i, 0], np.uint32(kept), 8)
        begin = ends[kept]
        if banded[i]:
            for j in range(bands.shape[1]):
                used += kernels.insert(slots, values, bands[i, j], np.uint32(kept), cap)
            length = offsets[i + 1] - offsets[i]
            store[begin : begin + length] = shingles[offsets[i] : offsets[i + 1]]
            ends[kept + 1] = begin + length
        else:
            ends[kept + 1] = begin
        kept += 1
    return kept, used
