"""From staged chunks to the dataset: admit in chunk order, write rows as they are admitted, and count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.admit.admission import Admission
from synth_ray.dataset.ledger import CommittedChunk, Ledger
from synth_ray.dataset.schema import VERDICT_COLUMNS
from synth_ray.dataset.writer import DatasetWriter
from synth_ray.meter.tally import Tally, count_causes
from synth_ray.prepare.plan_record import numbers_of
from synth_ray.prepare.schedule import Schedule
from synth_ray.publish.observers import RowObserver
from synth_ray.publish.progress import Progress
from synth_ray.recipes.with_judge import GOLD
from synth_ray.records import SPLITS, Verdict
from synth_ray.scrub.counts import pii_counts


class Publisher:
    """Admits chunk after chunk, each once. The dataset is a function of the chunks, in their order."""

    KEEPS = ("real_by_split", "real_mixed_rows", "mix_rejected")

    def __init__(
        self,
        *,
        ledger: Ledger,
        admission: Admission,
        writer: DatasetWriter,
        tally: Tally,
        schedule: Schedule,
        observers: Sequence[RowObserver] = (),
    ) -> None:
        """`progress` is set before anything is admitted."""
        self._ledger = ledger
        self._admission = admission
        self._writer = writer
        self._tally = tally
        self._schedule = schedule
        self.observers = observers
        self.progress: Progress | None = None
        self.real_by_split: dict[str, int] = {}
        self.real_mixed_rows = 0
        self.mix_rejected: Counter[str] = Counter()

    @property
    def contaminated_by_set(self) -> dict[str, int]:
        """Rows contaminated by each evaluation set."""
        return self._admission.contaminated_by_set

    @property
    def contradictory_labels(self) -> dict[str, Any]:
        """Rows whose input is that of an earlier kept row and whose label is not, and the first of them; empty without any."""
        rows, first = self._admission.contradictory_rows, self._admission.first_contradictions
        return {"rows": rows, "first": [{"id": name, "witness": witness} for name, witness in first]} if rows else {}

    def write_real_rows(self, real: pa.Table) -> None:
        """Keep and write the real evaluation rows, before anything else."""
        self._admission.keep_real(real)
        for split in SPLITS:
            rows = real.filter(pc.equal(real["split"], split))
            if rows.num_rows:
                self._writer.write(split, rows)
                self.real_by_split[split] = rows.num_rows
        if self.progress is not None:
            self.progress.on_real(real)
        self._tally.pii.update(pii_counts(real))
        for observer in self.observers:
            observer.on_real(real)

    def admit_real_rows(self, mixed: pa.Table) -> None:
        """Decide and write real rows of `mix`, before any synthetic row. They may come in parts."""
        decided = self._admission.decide(mixed, remaining_rows=np.array([mixed.num_rows]))
        rows = _with_verdicts(mixed, decided)
        accepted = rows.filter(pc.equal(rows["verdict"], Verdict.ACCEPTED.value))
        self._write(rows)
        for split in SPLITS:
            if n := int(pc.sum(pc.equal(accepted["split"], split)).as_py() or 0):
                self.real_by_split[split] = self.real_by_split.get(split, 0) + n
        self.real_mixed_rows += accepted.num_rows
        if self.progress is not None:
            self.progress.on_real(accepted)
        self.mix_rejected.update(reason for reason in rows["reason"].to_pylist() if reason is not None)
        self._tally.pii.update(pii_counts(mixed))
        for observer in self.observers:
            observer.on_real(accepted)

    def admit(self, chunk: int, loaded: CommittedChunk | None = None) -> None:
        """Decide every row of a committed chunk and write it to its split or to `rejected/`.

        `loaded` is the chunk as it was read ahead, and where it is curated, staged again; left out, it is read now.
        """
        loaded = loaded if loaded is not None else self._ledger.read_committed(chunk)
        commit, staged = loaded.commit, loaded.rows
        if superseded := self._schedule.superseded_positions(chunk):
            staged = staged.filter(pc.invert(pc.is_in(staged["position"], value_set=pa.array(sorted(superseded), pa.int32()))))
        for observer in self.observers:
            observer.on_staged(staged, commit.facts.get("attempts", {}))
        numbers = numbers_of(commit)
        self._schedule.refuse_other_plan(chunk, numbers)
        cells = self._schedule.cells_of(staged, numbers)
        decided = self._admission.decide(staged, cells)
        accepted = pc.equal(decided["verdict"], Verdict.ACCEPTED.value).to_numpy()
        accepted_by_cell = np.bincount(cells[accepted], minlength=len(self._schedule.remaining_rows))
        self._schedule.on_admitted(chunk, accepted_by_cell)
        self._tally.index_bytes = self._admission.index_bytes
        rows = _with_verdicts(staged, decided)
        self._write(rows)
        self._count(rows, commit.facts)
        kept = rows.filter(pc.equal(rows["verdict"], Verdict.ACCEPTED.value))
        for observer in self.observers:
            observer.on_decided(rows)
            observer.on_accepted(kept)
        if self.progress is not None:
            self.progress.on_admitted(chunk, kept, accepted_by_cell)

    def _write(self, rows: pa.Table) -> None:
        accepted = pc.equal(rows["verdict"], Verdict.ACCEPTED.value)
        for split in SPLITS:
            chosen = rows.filter(pc.and_(accepted, pc.equal(rows["split"], split)))
            if chosen.num_rows:
                self._writer.write(split, chosen)
        refused = rows.filter(pc.invert(accepted))
        if refused.num_rows:
            self._writer.reject(refused)

    def _count(self, rows: pa.Table, facts: dict[str, Any]) -> None:
        tally = self._tally
        for group in rows.group_by(["verdict", "reason"]).aggregate([([], "count_all")]).to_pylist():
            count = group["count_all"]
            if group["verdict"] == Verdict.ACCEPTED.value:
                tally.accepted += count
            else:
                counter = tally.rejected if group["verdict"] == Verdict.REJECTED.value else tally.failed
                counter[group["reason"]] += count
        failed = rows.filter(pc.equal(rows["verdict"], Verdict.FAILED.value))
        for group in failed.group_by(["reason", "detail"]).aggregate([([], "count_all")]).to_pylist():
            count_causes(tally.failure_causes, {(group["reason"], group["detail"] or ""): group["count_all"]})
        tally.pii.update(pii_counts(rows))
        tally.committed_tokens.update(facts.get("tokens", {}))
        attempts = facts.get("attempts", {})
        tally.attempts.update({name: n for name, n in attempts.items() if not name.startswith(GOLD)})


def _with_verdicts(staged: pa.Table, decided: pa.Table) -> pa.Table:
    rows = staged.drop_columns(["reason", "detail"])
    for name, _ in VERDICT_COLUMNS:
        rows = rows.append_column(name, decided[name])
    return rows
