"""From a job's committed chunks to a published version: the same for a run and for a curation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pyarrow as pa

from synth_ray.admit.admission import Admission
from synth_ray.admit.copies import CopyDetector
from synth_ray.admit.kept_rows import KeptRows
from synth_ray.admit.labels import LabelConflicts
from synth_ray.admit.verdicts import Policy
from synth_ray.check.disclosure import DigestSample
from synth_ray.check.judge_reliability import JudgeReliability
from synth_ray.dataset.card import write_card
from synth_ray.dataset.croissant import write_croissant
from synth_ray.dataset.examples import read_examples, write_examples
from synth_ray.dataset.fenced import OfVersion
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import Manifest, write_manifest
from synth_ray.dataset.schema import Provenance, RowShape
from synth_ray.dataset.writer import DatasetWriter
from synth_ray.dedup.stores import Stores
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.meter.tally import Tally
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.schedule import Schedule
from synth_ray.prepare.sources import evaluation_sets
from synth_ray.publish import manifest_facts as facts
from synth_ray.publish.asked_facts import asked_facts
from synth_ray.publish.checkpoint import Checkpoints
from synth_ray.publish.copy_protection import disclosure_report, open_copy_detector
from synth_ray.publish.indexing import index_seeds, open_index, save_index
from synth_ray.publish.manifest_facts import RunFacts
from synth_ray.publish.observers import JudgeObserver, LabelAgreementObserver, RowObserver, SampleObserver
from synth_ray.publish.progress import Progress, key_of, spacing_of
from synth_ray.publish.publisher import Publisher
from synth_ray.publish.quality import QualityObserver, quality_facts
from synth_ray.publish.row_facts import RowFacts
from synth_ray.publish.top_k_facts import TopKObserver, top_k_facts
from synth_ray.publish.witnesses import EARLIER, REAL, SEED, Witnesses
from synth_ray.report.page import page
from synth_ray.storage import Storage
from synth_ray.workers.row_stages import RowStages

_INTERRUPTED = "The run was stopped by a signal; `synth-ray curate` measures what is committed, and so does the next run."

Restage = Callable[[pa.Table], pa.Table]


@dataclass(slots=True)
class _Measured:
    """What a version's rows are measured with, for its manifest."""

    gold: LabelAgreementObserver
    judge: JudgeReliability | None
    sample: DigestSample | None
    quality: QualityObserver | None
    top_k: TopKObserver | None


def shape_of(prepared: Prepared) -> RowShape:
    """The shape of a job's published rows."""
    job = prepared.job
    return RowShape.of(
        job.output,
        provenance=Provenance(models=job.models, recipe=job.recipe.name, ask_digest=prepared.ask_digest),
        recipe_columns=prepared.recipe.columns(prepared.options),
        reasoning=job.keeps_reasoning,
    )


class Publication:
    """One version of a job's dataset, from its chunks to its files."""

    def __init__(self, prepared: Prepared, storage: Storage, *, epoch: int = 0) -> None:
        """`epoch`: of the lease on the output, for checkpoints."""
        self._prepared, self._epoch = prepared, epoch
        self._job = prepared.job
        self._storage = storage
        self.ledger = Ledger(storage)
        self.tally = Tally()
        self._shape = shape_of(prepared)

    @contextmanager
    def open_publisher(
        self,
        schedule: Schedule,
        *,
        shards: Callable[[], Stores | None],
        restage: Restage | None = None,
        keeps_checkpoints: bool = False,
    ) -> Iterator[Publisher]:
        """The publisher of a version, with its real rows written, or all that the last checkpoint has. On exit, unfinished files
        are aborted.

        A curation keeps no checkpoints: it may decide otherwise than the run that would take them up.
        """
        stages = self._stages = RowStages(self._job)
        evals = evaluation_sets(self._job, stages.fingerprinter.words)
        with self._open_writer(logs_rows=keeps_checkpoints) as self._writer:
            self._kept = self._open_kept_rows(shards())
            self._copy_detector = self._open_copy_detector()
            self._measured = self._new_measures()
            self._rows = self._new_row_facts(restage)
            admission = Admission(
                dedup=self._job.dedup,
                policy=Policy.of_checks(self._job.check, rejected_by_people=self._prepared.rejected_by_people),
                remaining_rows=schedule.remaining_rows,
                evals=evals,
                kept=self._kept,
                copy_detector=self._copy_detector,
            )
            self._publisher = Publisher(
                ledger=self.ledger,
                admission=admission,
                writer=self._writer,
                tally=self.tally,
                schedule=schedule,
                observers=list(self._observers(admission)),
            )
            progress = self._publisher.progress = self._open_progress(admission, schedule, keeps_checkpoints=keeps_checkpoints)
            try:
                if not progress.resume():
                    self._admit_what_is_real(progress, schedule)
                yield self._publisher
            finally:
                progress.close()

    def _open_progress(self, admission: Admission, schedule: Schedule, *, keeps_checkpoints: bool) -> Progress:
        parts = {"publisher": self._publisher, "tally": self.tally, "admission": admission, "copies": self._copy_detector}
        parts |= {type(observer).__name__: observer for observer in self._publisher.observers}
        return Progress(
            parts={name: part for name, part in parts.items() if part is not None},
            admission=admission,
            writer=self._writer,
            schedule=schedule,
            every=spacing_of(self._job),
            checkpoints=self._new_checkpoints() if keeps_checkpoints else None,
        )

    def _open_writer(self, *, logs_rows: bool) -> DatasetWriter:
        logs_rows = logs_rows and spacing_of(self._job) > 0
        return DatasetWriter(self._storage, self._shape, self._job.output, keeps_row_digests=logs_rows)

    def _new_checkpoints(self) -> Checkpoints:
        return Checkpoints(self.ledger, self._storage, key_of(self._prepared), epoch=self._epoch)

    def _open_copy_detector(self) -> CopyDetector | None:
        stages = self._stages
        words = stages.fingerprinter.words
        return open_copy_detector(self._prepared, scrub_and_fingerprint=stages.scrub_and_fingerprint, hash_words=words)

    def _open_kept_rows(self, stores: Stores | None) -> KeptRows:
        kept, label_words = open_index(self._prepared, stores), self._prepared.recipe.label_words(self._prepared.options)
        if not label_words:
            return kept
        digests = self._stages.fingerprinter.digests
        return replace(kept, labels=LabelConflicts(label_words, digests, kept.index.stores.labels))

    def _new_measures(self) -> _Measured:
        gate, judge = self._job.check.judge, self._job.models.judge
        return _Measured(
            gold=LabelAgreementObserver(),
            judge=JudgeReliability(gate, judge.task if judge else "generate") if gate is not None else None,
            sample=DigestSample() if self._copy_detector is not None else None,
            quality=QualityObserver(self._prepared) if self._job.quality.measure else None,
            top_k=TopKObserver() if self._prepared.recipe.top_k(self._prepared.options) else None,
        )

    def _new_row_facts(self, restage: Restage | None) -> RowFacts:
        scrub = self._stages.scrub_and_fingerprint
        self._witnesses = Witnesses(self._prepared, read_chunk=self.ledger.read_chunk, restage=restage, scrub=scrub)
        self._witnesses.mark(EARLIER, self._kept.index.kept)
        columns = {**dict.fromkeys(self._shape.partition_values, "string"), **self._shape.columns}
        return RowFacts(self._prepared, index=self._kept.index, columns=columns, witnesses=self._witnesses)

    def _observers(self, admission: Admission) -> Iterator[RowObserver]:
        measured = self._measured
        yield self._rows
        if measured.judge is not None:
            yield JudgeObserver(measured.judge, admission.stop_rejecting_on)
        if "matches_gold" in self._prepared.recipe.columns(self._prepared.options):
            yield measured.gold
        if measured.sample is not None:
            yield SampleObserver(measured.sample)
        yield from (observer for observer in (measured.quality, measured.top_k) if observer is not None)

    def _admit_what_is_real(self, progress: Progress, schedule: Schedule) -> None:
        """Real rows come before every synthetic one: for evaluation, of the mix, and the seeds that rows must not repeat."""
        publisher, stages = self._publisher, self._stages
        publisher.write_real_rows(stages.scrub_and_fingerprint(self._prepared.real))
        for rows in self._prepared.mixed.batches():
            publisher.admit_real_rows(stages.scrub_and_fingerprint(rows))
        _cap_synthetic_share(self._job, schedule, publisher.real_mixed_rows)
        self._witnesses.mark(REAL, self._kept.index.kept)
        for seeds in index_seeds(self._prepared, self._kept.index, scrub_and_fingerprint=stages.scrub_and_fingerprint):
            progress.on_real(seeds)
        self._witnesses.mark(SEED, self._kept.index.kept)
        progress.begin()

    def save_index(self) -> None:
        """Call while the index's shards are running."""
        save_index(self._prepared, self._kept, self._storage)

    def publish(self, manifest: Manifest, *, replaces: str) -> None:
        """Replace the manifest version `replaces`, then write what describes it for people and catalogues. Raises Conflict."""
        etag = write_manifest(self._storage, manifest, replaces=replaces)
        storage = cast(Storage, OfVersion(self._storage, etag))
        write_examples(storage, self._examples, manifest)
        write_card(storage, manifest, endpoint_url=self._job.output.endpoint_url)
        write_croissant(storage, manifest)
        examples = read_examples(storage, manifest)
        storage.write("report.html", page(manifest.to_dict(), examples).encode())

    def finish(self, schedule: Schedule, run_facts: RunFacts, *, stopped: str, measure: bool = True) -> Manifest:
        """Finish the files and describe this version. Without `measure`, its rows are not compared with real ones."""
        written, scrubber = self._writer.finish(), self._stages.scrubber
        self._examples = self._rows.examples(scrubber)
        return Manifest(
            **facts.identity(self._prepared, stopped),
            **facts.counts(self._prepared, self.tally, self._publisher),
            **facts.measures(self._publisher, self._measured.gold.pairs, self._measured.judge),
            **self._rows.facts(self._stages.scrub_and_fingerprint(self._rows.reference_rows())),
            **self._quality_facts(measure=measure),
            teacher_errors=self._rows.errors.facts(self._measured.judge, self._measured.gold.pairs),
            disclosure=self._disclosure_report(),
            target=facts.scrubbed_or_nothing(scrubber, schedule.target_summary(), what="target"),
            **facts.run_facts_of(run_facts),
            top_k=self._top_k_facts(run_facts),
            **facts.provenance(self._job),
            **asked_facts(self._prepared, scrubber),
            **facts.layout(self._prepared, self._shape, self._publisher, written),
        )

    def _quality_facts(self, *, measure: bool) -> dict[str, Any]:
        observer = self._measured.quality
        if observer is None:
            return {}
        if not measure:
            return {"reference": {"not_measured": _INTERRUPTED}}
        return quality_facts(self._prepared, observer.sample, scrub_and_fingerprint=self._stages.scrub_and_fingerprint)

    def _top_k_facts(self, run_facts: RunFacts) -> dict[str, Any]:
        observer = self._measured.top_k
        return top_k_facts(self._prepared, observer, run_facts.engines, self._storage) if observer is not None else {}

    def _disclosure_report(self) -> dict[str, Any]:
        """What rows disclose of the records they stand in for; empty where the recipe makes no stand-ins."""
        sample, detector = self._measured.sample, self._copy_detector
        if detector is None or sample is None:
            return {}
        return disclosure_report(self._prepared, detector, sample, scrub_and_fingerprint=self._stages.scrub_and_fingerprint)


def _cap_synthetic_share(job: Job, schedule: Schedule, real: int) -> None:
    """Limit synthetic rows to the job's share. Raises JobError for a target that wants more."""
    max_share = job.mix.max_synthetic_share if job.mix is not None else None
    if max_share is None:
        return
    synthetic = int(real * max_share / (1 - max_share))
    wanted = int(schedule.remaining_rows.sum())
    if job.target.is_set and wanted > synthetic:
        raise JobError(
            f"mix.max_synthetic_share: wanted at most {synthetic:,} synthetic rows beside {real:,} real ones, got a target of "
            f"{wanted:,}; lower the target, mix in more real rows, or allow a larger share"
        )
    if not job.target.is_set:
        schedule.remaining_rows[0] = min(int(schedule.remaining_rows[0]), synthetic)
