"""Verdicts in chunk order. A row is rejected for a flag, for repeating or quoting another text, or for a full quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from synth_ray.admit.copies import CopyDetector
from synth_ray.admit.guard import LEAK_NGRAM, SplitLeakGuard
from synth_ray.admit.kept_rows import KeptRows
from synth_ray.admit.labels import CONTRADICTS, Labelled
from synth_ray.admit.remembered import Rememberer, joined_entries
from synth_ray.admit.verdicts import Policy, VerdictBuilder
from synth_ray.dedup.columns import runs_in
from synth_ray.dedup.datasketch_parameters import banding_of
from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.dedup.embedding import vectors_in
from synth_ray.dedup.fingerprint import without_thoughts
from synth_ray.dedup.hashing import U32, Array
from synth_ray.dedup.index import BLOCKED, EXACT, NEAR, NEW, OVER_QUOTA, Batch, Blockers, Decisions, Index
from synth_ray.dedup.semantic import SemanticIndex
from synth_ray.job.dedup import Dedup
from synth_ray.records import SPLITS, Reason

_UNLIMITED = 2**62
_REASONS = {
    EXACT: Reason.EXACT_DUPLICATE,
    NEAR: Reason.NEAR_DUPLICATE,
    BLOCKED: Reason.SEMANTIC_DUPLICATE,
}
_NAMED_CONTRADICTIONS = 20


class Admission:
    """Decides staged rows. `real` rows (scrubbed and fingerprinted) are indexed first and always kept; see `keep_real`.

    `policy` says which flags reject a row; `copy_detector` finds rows that repeat a real record. `evals` are the evaluation sets
    by name; `contaminated_by_set` counts the rows that quote each, including rows rejected for another reason. `remaining_rows`
    is how many more rows each cell takes: it is counted down, and a row of a full cell is rejected(over_quota). A row that
    repeats a kept row of another split, or shares a long n-gram with one on the other side of the train/evaluation boundary, is
    rejected(cross_split), whichever of the two is the training row: no kept rows leak between splits, and a kept row stays kept.
    Rows whose label contradicts that of a kept row are counted, and rejected where `drop` says so.
    """

    KEEPS = ("contradictory_rows", "first_contradictions", "contaminated_by_set", "_semantic_index")

    def __init__(
        self,
        *,
        dedup: Dedup,
        policy: Policy | None = None,
        real: pa.Table | None = None,
        remaining_rows: Array | None = None,
        evals: Mapping[str, QuotedTexts] | None = None,
        kept: KeptRows | None = None,
        copy_detector: CopyDetector | None = None,
    ) -> None:
        kept = kept or KeptRows.empty(dedup)
        self._index, self._guard = kept.index, kept.guard
        self.rememberer = Rememberer(dedup, kept)
        self._untaken: list[dict[str, Array]] = []
        self._bands, self._policy = banding_of(dedup).bands, policy or Policy()
        self._semantic_index = _semantic_index(dedup, kept)
        self._evals = evals or {}
        self._copy_detector, self._label_conflicts = copy_detector, kept.labels
        self.contradictory_rows = 0
        self.first_contradictions: list[tuple[str, str]] = []  # the row's id, and that of the kept row it contradicts
        self.contaminated_by_set: Counter[str] = Counter(dict.fromkeys(self._evals, 0))
        self._remaining_rows = remaining_rows if remaining_rows is not None else np.array([_UNLIMITED], np.int64)
        if real is not None:
            self.keep_real(real)

    def keep_real(self, real: pa.Table) -> None:
        """Keep rows whatever they repeat."""
        if real.num_rows:
            batch = Batch.of(real, self._bands)
            if self._semantic_index is not None:
                self._semantic_index.skip(vectors_in(real["embedding"]))
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
        return self._index.stores.nbytes + (self._semantic_index.sample_bytes if self._semantic_index is not None else 0)

    def decide(self, staged: pa.Table, cells: Array | None = None, *, remaining_rows: Array | None = None) -> pa.Table:
        """A verdict per row, in the rows' order; see `verdicts.VERDICTS`. Call with chunks in order, each once.

        `cells` is each row's index in `remaining_rows`; left out, 0. Pass other `remaining_rows` for rows that no target counts.
        """
        cells = cells if cells is not None else np.zeros(staged.num_rows, np.int64)
        decided = VerdictBuilder(staged, self._policy)
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

    def take_entries(self) -> dict[str, Array]:
        """What labels and vectors of kept rows were added since this was last called, for `put_entries`: they are held here until
        then, so call it after each batch. The rows themselves are for `rememberer` to pack.
        """
        taken, self._untaken = self._untaken, []
        return joined_entries(taken)

    def put_entries(self, entries: Mapping[str, Array]) -> None:
        """Add what `take_entries` of an earlier run gave; its rows are put into the stores by `rememberer`."""
        if self._label_conflicts is not None and "labels" in entries:
            self._label_conflicts.put(entries["labels"])
        if self._semantic_index is not None and "vectors" in entries:
            self._semantic_index.keep(entries["vectors"], entries["numbers"])

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
            vectors, numbers = self._semantic_index.keep(vectors_in(rows["embedding"])[new], decisions.number[new])
            self._untaken.append({"vectors": vectors, "numbers": numbers})
        if self._label_conflicts is None or labelled is None:
            return []
        found, entries = self._label_conflicts.keep(labelled, decisions)
        self._untaken.append({"labels": entries})
        self.contradictory_rows += len(found)
        named = found[: _NAMED_CONTRADICTIONS - len(self.first_contradictions)]
        witnesses = self._witnesses(np.array([number for _, number in named], np.int64))
        for (row, _), (name, _split) in zip(named, witnesses, strict=True):
            self.first_contradictions.append((batch.ids[row].tobytes().hex(), name))
        return found

    def _reject_contaminated(self, decided: VerdictBuilder) -> None:
        """A row that quotes several sets counts for each, and its detail names them all."""
        sets: dict[int, list[str]] = {}
        for name, texts in self._evals.items():
            for row in np.flatnonzero(texts.overlapping_rows(*_word_hashes_of(decided.staged))).tolist():
                sets.setdefault(row, []).append(name)
                self.contaminated_by_set[name] += 1
        for row, names in sets.items():
            decided.reject(row, Reason.CONTAMINATED, ", ".join(names))

    def _reject_copies(self, decided: VerdictBuilder) -> None:
        for row, kind in (self._copy_detector.find_copies(decided.staged) if self._copy_detector is not None else {}).items():
            decided.reject(row, Reason.COPIED, kind)

    def _record_rejections(self, decided: VerdictBuilder, batch: Batch, decisions: Decisions) -> None:
        rows, similarity = decided.open_rows, decisions.similarity
        is_leak = (decisions.code == BLOCKED) & (similarity == 0)
        repeats = np.flatnonzero((decisions.code != NEW) & (decisions.code != OVER_QUOTA) & ~is_leak)
        witnesses = self._witnesses(decisions.number[repeats])
        for place, (name, split) in zip(repeats.tolist(), witnesses, strict=True):
            row, code = int(rows[place]), int(decisions.code[place])
            if code == BLOCKED and similarity[place] == CONTRADICTS:
                decided.reject(row, Reason.CONTRADICTORY_LABEL)
                decided.name_witness(row, name, None)
                continue
            reason = _REASONS[code]
            decided.reject(row, reason)
            decided.name_witness(row, name, float(similarity[place]))
            if split != batch.splits[place]:
                decided.reasons[row] = Reason.CROSS_SPLIT.value
                decided.details[row] = f"{reason} of a row of {SPLITS[split]}"
        for place in np.flatnonzero(decisions.code == OVER_QUOTA).tolist():
            decided.reject(int(rows[place]), Reason.OVER_QUOTA)

    def _record_leaks(self, decided: VerdictBuilder, rows: pa.Table, batch: Batch, decisions: Decisions) -> None:
        """Each with the first n-gram it shares and the first kept row that has it. That may be another row than the blocker."""
        new = decisions.code == NEW
        kept_before = self._index.kept - int(new.sum()) + np.cumsum(new)
        places = np.flatnonzero((decisions.code == BLOCKED) & (decisions.similarity == 0))
        if not len(places):
            return
        words = _compared_hashes_of(rows.take(pa.array(places)))
        found = self._guard.first_leaks(*words, batch.splits[places], kept_before[places])
        leaks = [leak for leak in found if leak is not None]
        assert len(leaks) == len(places)  # each is why its row was blocked
        witnesses = self._witnesses(np.array([leak.number for leak in leaks]))
        for row, leak, (name, split) in zip(decided.open_rows[places].tolist(), leaks, witnesses, strict=True):
            column = ("prompt", "completion")[leak.column]
            detail = f"shares {LEAK_NGRAM} words with a row of {SPLITS[split]}, from word {leak.word} of the {column} on"
            decided.reject(row, Reason.CROSS_SPLIT, detail)
            decided.name_witness(row, name, None)

    def _witnesses(self, numbers: Array) -> Iterator[tuple[str, int]]:
        """The ids and splits of kept rows."""
        rows = self._index.stores.rows
        if not len(numbers):
            return
        names, splits = rows.ids_of(numbers), rows.splits_of(numbers)
        yield from ((name.tobytes().hex(), split) for name, split in zip(names, splits.tolist(), strict=True))


def _semantic_index(dedup: Dedup, kept: KeptRows) -> SemanticIndex | None:
    semantic, store = dedup.semantic, kept.index.stores.vectors
    return SemanticIndex(semantic.threshold, store=store) if semantic is not None else None


def _word_hashes_of(rows: pa.Table) -> tuple[Array, Array]:
    return runs_in(rows["ngrams"], U32)


def _compared_hashes_of(rows: pa.Table) -> tuple[Array, Array]:
    """Those that tell a leak between splits: without thoughts, which share long stock phrases."""
    return without_thoughts(*_word_hashes_of(rows))
