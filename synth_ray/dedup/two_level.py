"""A table larger than memory: the keys that came last in a table, all others in sorted runs on the local disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from synth_ray.dedup import run_kernels as kernels
from synth_ray.dedup.background import Background
from synth_ray.dedup.disk_array import DiskArray
from synth_ray.dedup.hashing import U32, U64, Array
from synth_ray.dedup.run_kernels import Entries
from synth_ray.dedup.runs import MOST_ENTRIES, Run, merged, merged_range
from synth_ray.dedup.table import LOAD, Table

_HOT_LOAD = 0.5  # of the hot table, which is made once: an entry then shifts 2 others instead of 20
_AS_LARGE = 1.5  # a run of one size is somewhat smaller where it lost more values past the cap
MOST_WAITING = 4
"""Runs that come while others are merged; then the next one waits."""
_ORDER_BITS = 12  # of a key: lookups are in this order, so that memory is read about from end to end


class TwoLevelTable:
    """Answers exactly as `table.Table` does.

    A full table becomes a run. A run is merged with those before it that are about as large as all after them together, so there
    are about as many as the number of full tables has binary digits, and each entry is written again about half as often. A key
    may have `cap` ids in each run; the first `cap` of all are its ids, as in one table. So no answer depends on which runs are
    merged: that happens on a thread of its own, and takes the place of the runs at the first call after it is done.

    `hot_bytes` bound the table. Memory beside it: see `Run`; for what is being merged, twice that. `folder` is a new one of this
    table alone; `close` deletes its files. Every call raises SynthRayError once the disk is full, and whatever else made a merge
    fail.
    """

    def __init__(self, folder: Path, *, cap: int, hot_bytes: int, is_wide: bool = False) -> None:
        self._folder, self._cap = folder, cap
        self._is_wide = is_wide
        self._most = max(1, int(hot_bytes * _HOT_LOAD / (12 if is_wide else 10)))
        self._hot = Table(expected=int(self._most * LOAD / _HOT_LOAD), is_wide=is_wide)
        self._runs: list[Run] = []
        self._due: list[Run] = []
        self._merge: Background[Run] | None = None
        self._written = 0
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        """Entries, those past a key's cap included until a merge drops them."""
        return len(self._hot) + sum(map(len, self._runs))

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._hot.nbytes + sum(run.nbytes for run in self._runs)

    @property
    def disk_nbytes(self) -> int:
        return sum(file.nbytes for file in self.files)

    @property
    def files(self) -> list[DiskArray]:
        return [file for run in self._runs for file in run.files]

    @property
    def runs(self) -> int:
        return len(self._runs)

    def insert(self, keys: Array, ids: Array, *, cap: int) -> None:
        """Add pairs in order, at most `cap` ids to a key. A key of 0 is none."""
        if cap != self._cap:
            raise ValueError(f"a table in two levels: wanted the cap it was opened with, {self._cap}, got {cap}")
        self._take_merged()
        keys, positions = _in_order(keys)
        ids, at = ids[positions], 0
        while at < len(keys):
            if len(self._hot) >= self._most:
                self._flush()
            end = at + self._most - len(self._hot)
            self._hot.insert(keys[at:end], ids[at:end], cap=cap)
            at = end

    def lookup(self, keys: Array) -> tuple[Array, Array]:
        """(position in `keys`, id) of everything under the keys, in order."""
        self._take_merged()
        asked, positions = _in_order(keys)
        parts = [level.find(asked) for level in self._runs]
        parts.append(self._hot.lookup(asked))
        at, ids = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        at = positions[at]
        order = np.argsort(at, kind="stable")
        at, ids = at[order], ids[order]
        count = kernels.first_distinct(at, ids, self._cap)
        return at[:count], ids[:count]

    def _flush(self) -> None:
        """Write the table as a run, and begin to merge it with the runs before it that are due."""
        entries = _entries(self._hot)
        self._runs.append(self._write([entries], at_most=len(self._hot)))
        self._hot.clear()
        if self._merge is not None and len(self._runs) - self._runs.index(self._due[-1]) > MOST_WAITING:
            self._put_in_place(self._merge.result())
        self._begin_merge()

    def _begin_merge(self) -> None:
        due = self._runs[self._first_due() :]
        if self._merge is not None or len(due) < 2:
            return

        def merge(go_on: Callable[[], None]) -> Run:
            return self._write(merged(due, cap=self._cap, go_on=go_on), at_most=sum(map(len, due)))

        self._due, self._merge = due, Background(merge, name=f"merge in {self._folder.name}")

    def _first_due(self) -> int:
        first, size = len(self._runs) - 1, len(self._runs[-1])
        while first > 0 and len(self._runs[first - 1]) <= _AS_LARGE * size and size + len(self._runs[first - 1]) <= MOST_ENTRIES:
            first -= 1
            size += len(self._runs[first])
        return first

    def _take_merged(self) -> None:
        if self._merge is not None and self._merge.is_done:
            self._put_in_place(self._merge.result())
            self._begin_merge()

    def _put_in_place(self, run: Run) -> None:
        first = self._runs.index(self._due[0])
        self._runs[first : first + len(self._due)] = [run]
        for old in self._due:
            old.close()
        self._merge, self._due = None, []

    def settle(self) -> None:
        """Wait until nothing is merged any more."""
        while self._merge is not None:
            self._put_in_place(self._merge.result())
            self._begin_merge()

    def _write(self, pieces: Iterable[Entries], *, at_most: int) -> Run:
        self._written += 1
        return Run(self._folder / f"run-{self._written:06d}", pieces, at_most=at_most, is_wide=self._is_wide)

    def pairs(self, part: int, parts: int) -> tuple[Array, Array]:
        """The (key, id) pairs whose keys lie in one of `parts` equal ranges; of one key, as inserted."""
        self._take_merged()
        levels: list[Run | Entries] = [*self._runs, _entries(self._hot)]
        key_hi, key_lo, values = merged_range(levels, part, parts, cap=self._cap)
        shift = U64(0 if self._is_wide else 16)
        return key_hi.astype(U64) << U64(32) | key_lo.astype(U64) << shift, values

    def close(self) -> None:
        """Delete the files."""
        last = self._merge.end() if self._merge is not None else None
        for run in (*self._runs, *([last] if last is not None else [])):
            run.close()
        self._runs, self._merge, self._due = [], None, []


def _in_order(keys: Array) -> tuple[Array, Array]:
    """The keys that are not 0, about ascending, and the position of each in `keys`. Equal ones keep their order."""
    out, at, ends = np.empty(len(keys), U64), np.empty(len(keys), U32), np.empty((1 << _ORDER_BITS) + 1, np.int64)
    count = kernels.in_order(keys, 64 - _ORDER_BITS, ends, out, at)
    return out[:count], at[:count]


def _entries(table: Table) -> Entries:
    """All entries of a table, in ascending order of `hi`; equal keys as inserted."""
    room = len(table) + 1
    out = Entries(np.empty(room, U32), np.empty(room, table.kind["lo"]), np.empty(room, U32))
    return out.part(0, kernels.take_entries(table.slots.entries, *out))
