"""Verdicts in chunk order. A row is rejected for a flag, for repeating or quoting another text, or for a full quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.admit.copies import CopyDetector
from synth_ray.admit.guard import SplitLeakGuard
from synth_ray.dedup.columns import runs_in
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.dedup.embedding import vectors_in
from synth_ray.dedup.hashing import U32, Array
from synth_ray.dedup.index import BLOCKED, EXACT, NEAR, NEW, OVER_QUOTA, Batch, Blockers, Decisions, Index
from synth_ray.dedup.semantic import SemanticIndex
from synth_ray.job.dedup import Dedup
from synth_ray.records import Origin, Reason, verdict_of

VERDICTS = pa.schema(
    [
        ("id", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("witness", pa.string()),
        ("similarity", pa.float64()),
    ]
)

_UNLIMITED = 2**62
_REASONS = {
    EXACT: Reason.EXACT_DUPLICATE,
    NEAR: Reason.NEAR_DUPLICATE,
    OVER_QUOTA: Reason.OVER_QUOTA,
    BLOCKED: Reason.CROSS_SPLIT,
}


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Memory of the kept rows: the duplicate index, and the split-leak guard."""

    index: Index
    guard: SplitLeakGuard


@dataclass(frozen=True, slots=True)
class Policy:
    """The flags that reject a generated row, and those that reject a real one."""

    generated: frozenset[str] = frozenset()
    real: frozenset[str] = frozenset()

    def of(self, origin: str) -> frozenset[str]:
        return self.real if origin == Origin.REAL else self.generated

    def without(self, flag: str) -> Policy:
        return Policy(self.generated - {flag}, self.real - {flag})


class Admission:
    """Decides staged rows. `real` rows (scrubbed and fingerprinted) are indexed first and always kept.

    `policy` says which flags reject a row; `copy_detector` finds rows that repeat a real record. `evals` are the evaluation sets
    by name; `contaminated_by_set` counts the rows that quote each, including rows rejected for another reason. `remaining_rows`
    is how many more rows each cell takes: it is counted down, and a row of a full cell is rejected(over_quota). A row that
    repeats a kept row of another split, or shares a long n-gram with one on the other side of the train/evaluation boundary, is
    rejected(cross_split), whichever of the two is the training row: no kept rows leak between splits, and a kept row stays kept.
    """

    def __init__(
        self,
        *,
        dedup: Dedup,
        policy: Policy | None = None,
        real: pa.Table,
        remaining_rows: Array | None = None,
        evals: Mapping[str, QuotedTexts] | None = None,
        kept: KeptRows | None = None,
        copy_detector: CopyDetector | None = None,
    ) -> None:
        kept = kept or KeptRows(Index(dedup), SplitLeakGuard())
        self._index, self._guard = kept.index, kept.guard
        self._bands, self._policy = banding_of(dedup).bands, policy or Policy()
        self._semantic_index = SemanticIndex(dedup.semantic.threshold) if dedup.semantic is not None else None
        self._evals = evals or {}
        self._copy_detector = copy_detector
        self.contaminated_by_set: Counter[str] = Counter(dict.fromkeys(self._evals, 0))
        self._remaining_rows = remaining_rows if remaining_rows is not None else np.array([_UNLIMITED], np.int64)
        if real.num_rows:
            batch = Batch.of(real, self._bands)
            self._keep(real, batch, self._index.keep_all(batch))

    def stop_rejecting_on(self, flag: str) -> None:
        """From now on this flag rejects no row."""
        self._policy = self._policy.without(flag)

    @property
    def index(self) -> Index:
        return self._index

    @property
    def index_bytes(self) -> int:
        meanings = self._semantic_index.nbytes if self._semantic_index is not None else 0
        return self._index.nbytes + self._index.store_nbytes + self._guard.nbytes + meanings

    def decide(self, staged: pa.Table, cells: Array | None = None, *, remaining_rows: Array | None = None) -> pa.Table:
        """A verdict per row, in the rows' order; see VERDICTS. Call with chunks in order, each once.

        `cells` is each row's index in `remaining_rows`; left out, 0. Pass other `remaining_rows` for rows that no target counts.
        """
        cells = cells if cells is not None else np.zeros(staged.num_rows, np.int64)
        decided = _VerdictBuilder(staged, self._policy)
        self._reject_contaminated(decided)
        self._reject_copies(decided)
        rows = decided.open_rows
        if len(rows):
            open_ = staged.take(pa.array(rows))
            batch = Batch.of(open_, self._bands)
            remaining_rows = self._remaining_rows if remaining_rows is None else remaining_rows
            decisions = self._index.decide(
                batch, remaining_rows=remaining_rows, cell=cells[rows], blockers=self._blockers(open_, batch)
            )
            self._keep(open_, batch, decisions)
            self._record_rejections(decided, batch, decisions)
        return decided.table()

    def _blockers(self, rows: pa.Table, batch: Batch) -> Blockers:
        bars = self._guard.blockers(*_word_hashes_of(rows), batch.splits)
        return bars if self._semantic_index is None else bars.joined(self._semantic_index.blockers(vectors_in(rows["embedding"])))

    def _keep(self, rows: pa.Table, batch: Batch, decisions: Decisions) -> None:
        new = decisions.code == NEW
        self._guard.keep(*_word_hashes_of(rows), batch.splits, new)
        if self._semantic_index is not None:
            self._semantic_index.keep(vectors_in(rows["embedding"])[new], decisions.number[new])

    def _reject_contaminated(self, decided: _VerdictBuilder) -> None:
        """A row that quotes several sets counts for each, and its detail names them all."""
        sets: dict[int, list[str]] = {}
        for name, texts in self._evals.items():
            for row in np.flatnonzero(texts.overlapping_rows(*_word_hashes_of(decided.staged))).tolist():
                sets.setdefault(row, []).append(name)
                self.contaminated_by_set[name] += 1
        for row, names in sets.items():
            decided.reject(row, Reason.CONTAMINATED, ", ".join(names))

    def _reject_copies(self, decided: _VerdictBuilder) -> None:
        for row, kind in (self._copy_detector.find_copies(decided.staged) if self._copy_detector is not None else {}).items():
            decided.reject(row, Reason.COPIED, kind)

    def _record_rejections(self, decided: _VerdictBuilder, batch: Batch, decisions: Decisions) -> None:
        rows = decided.open_rows
        for place in np.flatnonzero(decisions.code != NEW).tolist():
            row, code, kept = int(rows[place]), int(decisions.code[place]), int(decisions.number[place])
            is_semantic = code == BLOCKED and decisions.similarity[place] > 0
            is_leak = code == BLOCKED and not is_semantic
            decided.reject(
                row, Reason.SEMANTIC_DUPLICATE if is_semantic else _REASONS[code], "shares a long n-gram" if is_leak else None
            )
            if 0 <= kept < self._index.kept:
                if self._index.splits.array[kept] != batch.splits[place]:
                    decided.reasons[row] = Reason.CROSS_SPLIT.value
                decided.witness[row] = self._index.ids.array[kept].tobytes().hex()
                decided.similarity[row] = float(decisions.similarity[place]) if not is_leak else None


def first_dropped(flags: Iterable[str] | None, drop: Collection[str]) -> str | None:
    """The policy: the first of a row's flags that is in `drop`, and so rejects the row."""
    return next((flag for flag in flags or () if flag in drop), None)


class _VerdictBuilder:
    """Collects the verdicts of one chunk. A row keeps its first reason."""

    def __init__(self, staged: pa.Table, policy: Policy) -> None:
        self.staged = staged
        self.reasons: list[str | None] = staged["reason"].to_pylist()
        flagged = np.flatnonzero(pc.fill_null(pc.list_value_length(staged["flags"]), 0))
        columns = (staged[name].take(pa.array(flagged)).to_pylist() for name in ("flags", "origin"))
        for row, flags, origin in zip(flagged.tolist(), *columns, strict=True):
            self.reasons[row] = self.reasons[row] or first_dropped(flags, policy.of(origin))
        self.details: list[str | None] = staged["detail"].to_pylist()
        self.witness: list[str | None] = [None] * staged.num_rows
        self.similarity: list[float | None] = [None] * staged.num_rows
        self._open: Any = None

    @property
    def open_rows(self) -> Any:
        """The rows without a reason at the first access; computed once."""
        if self._open is None:
            self._open = np.flatnonzero([reason is None for reason in self.reasons])
        return self._open

    def reject(self, row: int, reason: Reason, detail: str | None = None) -> None:
        if self.reasons[row] is None:
            self.reasons[row], self.details[row] = reason.value, detail

    def table(self) -> pa.Table:
        verdicts = [verdict_of(Reason(r) if r is not None else None).value for r in self.reasons]
        columns: list[Any] = [self.staged["id"], verdicts, self.reasons, self.details, self.witness, self.similarity]
        return pa.table(columns, schema=VERDICTS)


def _word_hashes_of(rows: pa.Table) -> tuple[Array, Array]:
    return runs_in(rows["ngrams"], U32)
