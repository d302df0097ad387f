"""Verdicts in chunk order. A row is rejected for a flag, for repeating or quoting another text, or for a full quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.admit.copies import CopyDetector
from synth_ray.admit.guard import LEAK_NGRAM, SplitLeakGuard
from synth_ray.admit.labels import CONTRADICTS, LabelConflicts, Labelled
from synth_ray.dedup.columns import runs_in
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.dedup.embedding import vectors_in
from synth_ray.dedup.fingerprint import without_thoughts
from synth_ray.dedup.hashing import U32, Array
from synth_ray.dedup.index import BLOCKED, EXACT, NEAR, NEW, OVER_QUOTA, Batch, Blockers, Decisions, Index
from synth_ray.dedup.semantic import SemanticIndex
from synth_ray.job.check import Check
from synth_ray.job.dedup import Dedup
from synth_ray.records import SPLITS, Origin, Reason, verdict_of

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
    BLOCKED: Reason.SEMANTIC_DUPLICATE,
    OVER_QUOTA: Reason.OVER_QUOTA,
}
_NAMED_CONTRADICTIONS = 20


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Memory of the kept rows: the duplicate index, the split-leak guard, and for labelled rows their labels."""

    index: Index
    guard: SplitLeakGuard
    labels: LabelConflicts | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The flags that reject a generated row, those that reject a real one, and the ids of the rows that people rejected."""

    generated: frozenset[str] = frozenset()
    real: frozenset[str] = frozenset()
    rejected_by_people: frozenset[str] = frozenset()

    @classmethod
    def of_checks(cls, check: Check, *, rejected_by_people: frozenset[str] = frozenset()) -> Policy:
        return cls(frozenset(check.drop), frozenset(check.drop_of_real), rejected_by_people)

    def of(self, origin: str) -> frozenset[str]:
        return self.real if origin == Origin.REAL else self.generated

    def without(self, flag: str) -> Policy:
        return replace(self, generated=self.generated - {flag}, real=self.real - {flag})


class Admission:
    """Decides staged rows. `real` rows (scrubbed and fingerprinted) are indexed first and always kept.

    `policy` says which flags reject a row; `copy_detector` finds rows that repeat a real record. `evals` are the evaluation sets
    by name; `contaminated_by_set` counts the rows that quote each, including rows rejected for another reason. `remaining_rows`
    is how many more rows each cell takes: it is counted down, and a row of a full cell is rejected(over_quota). A row that
    repeats a kept row of another split, or shares a long n-gram with one on the other side of the train/evaluation boundary, is
    rejected(cross_split), whichever of the two is the training row: no kept rows leak between splits, and a kept row stays kept.
    Rows whose label contradicts that of a kept row are counted, and rejected where `drop` says so.
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
        self._copy_detector, self._label_conflicts = copy_detector, kept.labels
        self.contradictory_rows = 0
        self.first_contradictions: list[tuple[str, str]] = []  # the row's id, and that of the kept row it contradicts
        self.contaminated_by_set: Counter[str] = Counter(dict.fromkeys(self._evals, 0))
        self._remaining_rows = remaining_rows if remaining_rows is not None else np.array([_UNLIMITED], np.int64)
        if real.num_rows:
            batch = Batch.of(real, self._bands)
            self._keep(real, batch, self._index.keep_all(batch), self._read_labels(real))

    def stop_rejecting_on(self, flag: str) -> None:
        """From now on this flag rejects no row."""
        self._policy = self._policy.without(flag)

    @property
    def index(self) -> Index:
        return self._index

    @property
    def guard(self) -> SplitLeakGuard:
        return self._guard

    @property
    def index_bytes(self) -> int:
        others = [part.nbytes for part in (self._semantic_index, self._label_conflicts) if part is not None]
        return self._index.nbytes + self._index.store_nbytes + self._guard.nbytes + sum(others)

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
            labelled = self._read_labels(open_)
            decisions = self._index.decide(
                batch, remaining_rows=remaining_rows, cell=cells[rows], blockers=self._blockers(open_, batch, labelled)
            )
            contradictions = self._keep(open_, batch, decisions, labelled)
            self._record_rejections(decided, batch, decisions)
            self._record_leaks(decided, open_, batch, decisions)
            for place, _ in contradictions:
                decided.explain(int(rows[place]), Reason.CONTRADICTORY_LABEL)
        return decided.table()

    def _read_labels(self, rows: pa.Table) -> Labelled | None:
        return self._label_conflicts.read(rows) if self._label_conflicts is not None else None

    def _blockers(self, rows: pa.Table, batch: Batch, labelled: Labelled | None) -> Blockers:
        bars = self._guard.blockers(*_compared_hashes_of(rows), batch.splits)
        if self._semantic_index is not None:
            bars = bars.joined(self._semantic_index.blockers(vectors_in(rows["embedding"])))
        if self._label_conflicts is not None and labelled is not None and Reason.CONTRADICTORY_LABEL in self._policy.generated:
            bars = bars.joined(self._label_conflicts.blockers(labelled, len(batch)))
        return bars

    def _keep(self, rows: pa.Table, batch: Batch, decisions: Decisions, labelled: Labelled | None) -> list[tuple[int, int]]:
        """Remember the kept rows. Returns (row, number of the kept row) of each contradiction."""
        new = decisions.code == NEW
        self._guard.keep(*_compared_hashes_of(rows), batch.splits, new, decisions.number)
        if self._semantic_index is not None:
            self._semantic_index.keep(vectors_in(rows["embedding"])[new], decisions.number[new])
        if self._label_conflicts is None or labelled is None:
            return []
        found = self._label_conflicts.keep(labelled, decisions)
        self.contradictory_rows += len(found)
        for row, number in found[: _NAMED_CONTRADICTIONS - len(self.first_contradictions)]:
            self.first_contradictions.append((batch.ids[row].tobytes().hex(), self._id_of(number)))
        return found

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
            similarity = float(decisions.similarity[place])
            if code == BLOCKED and similarity == 0:
                continue  # a leak
            if code == BLOCKED and similarity == CONTRADICTS:
                decided.reject(row, Reason.CONTRADICTORY_LABEL)
                self._name_witness(decided, row, kept, None)
                continue
            reason = _REASONS[code]
            decided.reject(row, reason)
            if code != OVER_QUOTA:
                self._name_witness(decided, row, kept, similarity)
                if self._index.splits.array[kept] != batch.splits[place]:
                    decided.reasons[row] = Reason.CROSS_SPLIT.value
                    decided.details[row] = f"{reason} of a row of {self._split_of(kept)}"

    def _record_leaks(self, decided: _VerdictBuilder, rows: pa.Table, batch: Batch, decisions: Decisions) -> None:
        """Each with the first n-gram it shares and the first kept row that has it. That may be another row than the blocker."""
        words, ends = _compared_hashes_of(rows)
        new = decisions.code == NEW
        kept_before = self._index.kept - int(new.sum()) + np.cumsum(new)
        for place in np.flatnonzero((decisions.code == BLOCKED) & (decisions.similarity == 0)).tolist():
            leak = self._guard.first_leak(
                words[ends[place] : ends[place + 1]], int(batch.splits[place]), below=int(kept_before[place])
            )
            assert leak is not None  # it is why the row was blocked
            row = int(decided.open_rows[place])
            column, split = ("prompt", "completion")[leak.column], self._split_of(leak.number)
            detail = f"shares {LEAK_NGRAM} words with a row of {split}, from word {leak.word} of the {column} on"
            decided.reject(row, Reason.CROSS_SPLIT, detail)
            self._name_witness(decided, row, leak.number, None)

    def _name_witness(self, decided: _VerdictBuilder, row: int, number: int, similarity: float | None) -> None:
        decided.witness[row] = self._id_of(number)
        decided.similarity[row] = similarity

    def _id_of(self, number: int) -> str:
        return str(self._index.ids.array[number].tobytes().hex())

    def _split_of(self, number: int) -> str:
        return SPLITS[int(self._index.splits.array[number])]


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
        if policy.rejected_by_people:
            for row, name in enumerate(staged["id"].to_pylist()):
                if name in policy.rejected_by_people:
                    self.reasons[row] = self.reasons[row] or Reason.REJECTED_BY_PEOPLE.value
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

    def explain(self, row: int, detail: str) -> None:
        """A detail for a rejected row that has none."""
        if self.reasons[row] not in (None, detail) and self.details[row] is None:
            self.details[row] = detail

    def table(self) -> pa.Table:
        verdicts = [verdict_of(Reason(r) if r is not None else None).value for r in self.reasons]
        columns: list[Any] = [self.staged["id"], verdicts, self.reasons, self.details, self.witness, self.similarity]
        return pa.table(columns, schema=VERDICTS)


def _word_hashes_of(rows: pa.Table) -> tuple[Array, Array]:
    return runs_in(rows["ngrams"], U32)


def _compared_hashes_of(rows: pa.Table) -> tuple[Array, Array]:
    """Those that tell a leak between splits: without thoughts, which share long stock phrases."""
    return without_thoughts(*_word_hashes_of(rows))
