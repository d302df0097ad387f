"""The decision, compiled: row after row, does it repeat a kept one? The law is in `index.Index`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import F64S, I64S, INLINED, U32S, U64_ROWS, UNCOUNTED, tuple_type
from synth_ray.dedup.table_kernels import SLOTS, Slots, high, low, place, prefetch, put

NEW, EXACT, NEAR, OVER_QUOTA, BLOCKED = range(5)

AHEAD = 4  # rows between the one whose slots are prefetched and the one that is decided
_U64 = np.uint64
# positions in `Scratch.counters`
ENTRIES, KEPT = range(2)


class Blockers(NamedTuple):
    """Other reasons to reject a row, as in `index.Blockers`. Without any, `ends` has one entry."""

    ends: Any
    blocker: Any
    similarity: Any


class Answers(NamedTuple):
    """The ids that shards hold under each key of each row, one run per key. Without shards, `ends` has one entry."""

    ends: Any
    ids: Any


class Rows(NamedTuple):
    """The batch to decide, read-only. `cells` is each row's position in `Kept.remaining_rows`."""

    digests: Any
    bands: Any
    shingles: Any
    offsets: Any
    cells: Any
    blockers: Blockers
    answers: Answers


class Kept(NamedTuple):
    """The kept rows, with space for the batch, and how many more rows each cell takes."""

    digests: Any
    shingles: Any
    ends: Any
    remaining_rows: Any


class Rules(NamedTuple):
    """`threshold`, `bucket_cap` and `near` of the job's `dedup`; `force` keeps every row, whatever it repeats."""

    threshold: float
    cap: int
    near: bool
    force: bool


class Decisions(NamedTuple):
    """Per row, as in `index.Decisions`."""

    code: Any
    number: Any
    similarity: Any


class Scratch(NamedTuple):
    """Ids of candidates; and counters, see ENTRIES and KEPT."""

    candidates: Any
    counters: Any


_BLOCKERS = tuple_type(Blockers, I64S, I64S, F64S)
_ANSWERS = tuple_type(Answers, I64S, U32S)
_ROWS = tuple_type(Rows, U64_ROWS, U64_ROWS, U32S, I64S, I64S, _BLOCKERS, _ANSWERS)
_KEPT_ROWS = tuple_type(Kept, nb.u8[:, ::1], nb.u4[::1], nb.i8[::1], nb.i8[::1])
_RULES = tuple_type(Rules, nb.f8, nb.i8, nb.b1, nb.b1)
_DECISIONS = tuple_type(Decisions, nb.i1[::1], nb.i8[::1], nb.f8[::1])
_SCRATCH = tuple_type(Scratch, nb.u4[::1], nb.i8[::1])


@nb.njit
def jaccard(a: Any, b: Any) -> float:
    """Jaccard similarity of two ascending arrays of distinct hashes. Without branches on the values, which no predictor could
    guess.
    """
    i = j = same = _U64(0)
    m, n = _U64(a.size), _U64(b.size)
    while i < m and j < n:
        x, y = a[i], b[j]
        same += _U64(x == y)
        i += _U64(x <= y)
        j += _U64(y <= x)
    return np.float64(same) / np.float64(m + n - same)


@nb.njit
def _add_candidate(candidates: Any, n: int, candidate: Any) -> int:
    for q in range(n):
        if candidates[q] == candidate:
            return n
    candidates[n] = candidate
    return n + 1


@nb.njit(**INLINED)
def _search(slots: Slots, key: Any, cap: int, below: Any, candidates: Any, n: int) -> int:
    """Add the ids under a key: at most `cap`, each once, and only those `below` the next number."""
    entries = slots.entries
    hi, lo = high(key), low(key)
    s = _U64(place(hi, slots.size))
    matches = 0
    while entries[s].hi != 0 and entries[s].hi <= hi and matches < cap:
        if entries[s].hi == hi and entries[s].lo == lo:
            matches += 1
            if entries[s].value < below:
                n = _add_candidate(candidates, n, entries[s].value)
        s += _U64(1)
    return n


@nb.njit(**INLINED)
def key_of(rows: Any, i: int, j: int) -> Any:
    """The first key of a row is half of its digest, the others are its bands. `rows`: any tuple with both."""
    return rows.digests[i, 0] if j == 0 else rows.bands[i, j - 1]


@nb.njit(**INLINED)
def _answers_under(rows: Rows, i: int, j: int) -> Any:
    """The range of the ids that shards hold under key j of row i."""
    if rows.answers.ends.size <= 1:
        return np.int64(0), np.int64(0)
    at = i * (rows.bands.shape[1] + 1) + j
    return rows.answers.ends[at], rows.answers.ends[at + 1]


@nb.njit(**INLINED)
def prefetch_row(rows: Any, slots: Slots, i: int) -> None:
    """Prefetch the slots of a row's keys, if there is such a row."""
    if i < rows.digests.shape[0]:
        prefetch(slots, rows.digests[i, 0])
        for j in range(rows.bands.shape[1]):
            prefetch(slots, rows.bands[i, j])


@nb.njit(**INLINED)
def _candidates(rows: Rows, slots: Slots, rules: Rules, scratch: Scratch, i: int, j: int, n: int) -> int:
    """Add the kept rows under key j of row i to the n candidates; returns their new number."""
    first, last = _answers_under(rows, i, j)
    for q in range(first, last):
        n = _add_candidate(scratch.candidates, n, rows.answers.ids[q])
    cap = rules.cap - (last - first)
    if cap > 0:
        n = _search(slots, key_of(rows, i, j), cap, scratch.counters[KEPT], scratch.candidates, n)
    return n


@nb.njit(**INLINED)
def _exact_match(rows: Rows, kept: Kept, candidates: Any, n: int, out: Decisions, i: int) -> None:
    for q in range(n):
        k = candidates[q]
        if kept.digests[k, 0] == rows.digests[i, 0] and kept.digests[k, 1] == rows.digests[i, 1]:
            out.code[i] = EXACT
            out.number[i] = k
            out.similarity[i] = 1.0


@nb.njit(**INLINED)
def _best_match(new: Any, kept: Kept, threshold: float, candidates: Any, n: int, out: Decisions, i: int) -> None:
    """The nearest of the candidates, of equally near ones the earliest, if it reaches the threshold."""
    for q in range(n):
        k = np.int64(candidates[q])
        old = kept.shingles[kept.ends[k] : kept.ends[k + 1]]
        if min(new.size, old.size) < threshold * max(new.size, old.size) or old.size == 0:
            continue
        same = jaccard(new, old)
        best = same > out.similarity[i] or (same == out.similarity[i] and k < out.number[i])
        if same >= threshold and (out.code[i] == NEW or best):
            out.code[i] = NEAR
            out.number[i] = k
            out.similarity[i] = same


@nb.njit(**INLINED)
def _block(blockers: Blockers, out: Decisions, i: int) -> None:
    """Reject the row for its first blocker that is kept, if any."""
    for q in range(blockers.ends[i], blockers.ends[i + 1]):
        other = blockers.blocker[q]
        if other < 0 and out.code[-1 - other] != NEW:
            continue
        out.code[i] = BLOCKED
        out.number[i] = other if other >= 0 else out.number[-1 - other]
        out.similarity[i] = blockers.similarity[q]
        break


@nb.njit(**INLINED)
def _match(rows: Rows, kept: Kept, slots: Slots, rules: Rules, out: Decisions, scratch: Scratch, i: int) -> None:
    """Set the row's decision to EXACT or NEAR if it repeats a kept row."""
    banded = rules.near and rows.offsets[i + 1] > rows.offsets[i]
    n = _candidates(rows, slots, rules, scratch, i, 0, 0)
    _exact_match(rows, kept, scratch.candidates, n, out, i)
    if out.code[i] != NEW or not banded:
        return
    for j in range(1, rows.bands.shape[1] + 1):
        n = _candidates(rows, slots, rules, scratch, i, j, n)
    new = rows.shingles[rows.offsets[i] : rows.offsets[i + 1]]
    _best_match(new, kept, rules.threshold, scratch.candidates, n, out, i)


@nb.njit(**INLINED)
def _insert_keys(rows: Rows, slots: Slots, rules: Rules, counters: Any, i: int) -> bool:
    """Insert the keys of a kept row; returns False if the table's slack was used up."""
    banded = rules.near and rows.offsets[i + 1] > rows.offsets[i]
    for j in range(rows.bands.shape[1] + 1 if banded else 1):
        first, last = _answers_under(rows, i, j)
        cap = rules.cap - (last - first)
        if cap > 0:
            added = put(slots, key_of(rows, i, j), np.uint32(counters[KEPT]), cap)
            if added < 0:
                return False
            counters[ENTRIES] += added
    return True


@nb.njit(**INLINED)
def _keep(rows: Rows, kept: Kept, near: bool, out: Decisions, counters: Any, i: int) -> None:
    """Number the row, and store its digest and shingles."""
    number = counters[KEPT]
    kept.remaining_rows[rows.cells[i]] -= 1
    out.number[i] = number
    kept.digests[number, 0] = rows.digests[i, 0]
    kept.digests[number, 1] = rows.digests[i, 1]
    begin = kept.ends[number]
    size = rows.offsets[i + 1] - rows.offsets[i] if near else 0
    for q in range(size):
        kept.shingles[begin + q] = rows.shingles[rows.offsets[i] + q]
    kept.ends[number + 1] = begin + size
    counters[KEPT] = number + 1


@nb.njit(nb.i8(_ROWS, _KEPT_ROWS, SLOTS, _RULES, _DECISIONS, _SCRATCH, nb.i8), **UNCOUNTED)
def decide(rows: Rows, kept: Kept, slots: Slots, rules: Rules, out: Decisions, scratch: Scratch, row: int) -> int:
    """Decide rows from `row` on. Returns the row at which the table's slack was used up, or the number of rows."""
    for i in range(row, row + AHEAD):
        prefetch_row(rows, slots, i)
    for i in range(row, rows.digests.shape[0]):
        prefetch_row(rows, slots, i + AHEAD)
        out.code[i] = NEW
        if not rules.force:
            _match(rows, kept, slots, rules, out, scratch, i)
            if out.code[i] == NEW and rows.blockers.ends.size > 1:
                _block(rows.blockers, out, i)
            if out.code[i] == NEW and kept.remaining_rows[rows.cells[i]] <= 0:
                out.code[i] = OVER_QUOTA
            if out.code[i] != NEW:
                continue
        if not _insert_keys(rows, slots, rules, scratch.counters, i):
            return i
        _keep(rows, kept, rules.near, out, scratch.counters, i)
    return rows.digests.shape[0]
