"""From a job's committed chunks to a published version: the same for a run and for a curation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from synth_ray.admit.admission import Admission
from synth_ray.check.agreement import agreement_of
from synth_ray.check.disclosure import DigestSample
from synth_ray.check.judging import JudgeReliability
from synth_ray.dataset.card import write_card
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import Manifest, Rows, Seeds, write_manifest, written_facts
from synth_ray.dataset.schema import Provenance, RowShape
from synth_ray.dataset.writer import DatasetWriter
from synth_ray.dedup.index import Shards
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.meter.tally import Tally
from synth_ray.prepare.preparation import Prepared, evaluation_sets
from synth_ray.prepare.schedule import Schedule
from synth_ray.publish.copy_protection import disclosure_report, open_copy_detector
from synth_ray.publish.indexing import index_seeds, open_index, save_index
from synth_ray.publish.publisher import Publisher
from synth_ray.records import EVAL_SPLITS
from synth_ray.report.page import page
from synth_ray.scrub.scrubber import open_scrubber
from synth_ray.storage import Storage
from synth_ray.workers.row_stages import RowStages


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Manifest facts of the run that asked (cost, throughput, engines, versions); a curation copies them."""

    cost: Mapping[str, Any] = field(default_factory=dict)
    throughput: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


class Publication:
    """One version of a job's dataset, from its chunks to its files."""

    def __init__(self, prepared: Prepared, storage: Storage) -> None:
        self._prepared = prepared
        self._job = job = prepared.job
        self._storage = storage
        self.ledger = Ledger(storage)
        self.tally = Tally()
        self._shape = RowShape.of(
            job.output,
            provenance=Provenance(
                models=job.models,
                recipe=job.recipe.name,
                ask_digest=prepared.ask_digest,
            ),
            recipe_columns=prepared.recipe.columns(prepared.options),
        )

    @contextmanager
    def open_publisher(
        self, schedule: Schedule, *, shards: Callable[[], Shards | None], restage: Callable[[pa.Table], pa.Table] | None = None
    ) -> Iterator[Publisher]:
        """The publisher of this version, with its real rows written. On exit, files that `manifest` has not finished are
        aborted.
        """
        job = self._job
        stages = RowStages(job)
        real = stages.scrub_and_fingerprint(self._prepared.real)
        evals = evaluation_sets(job, stages.fingerprinter.words)
        with DatasetWriter(self._storage, self._shape, job.output) as self._writer:
            self._index, self._guard = open_index(job, shards())
            self._scrub_and_fingerprint = stages.scrub_and_fingerprint
            self._copy_detector = open_copy_detector(
                self._prepared, scrub_and_fingerprint=stages.scrub_and_fingerprint, hash_words=stages.fingerprinter.words
            )
            admission = Admission(
                dedup=job.dedup,
                drop=job.check.drop,
                real=real,
                remaining_rows=schedule.remaining_rows,
                evals=evals,
                index=self._index,
                guard=self._guard,
                copy_detector=self._copy_detector,
            )
            self._publisher = Publisher(
                ledger=self.ledger,
                admission=admission,
                writer=self._writer,
                tally=self.tally,
                schedule=schedule,
                restage=restage,
                sample=DigestSample() if self._copy_detector is not None else None,
                judge=JudgeReliability(job.check.judge) if job.check.judge is not None else None,
                has_gold="matches_gold" in self._prepared.recipe.columns(self._prepared.options),
            )
            self._publisher.write_real_rows(real)
            if self._prepared.mixed.num_rows:
                self._publisher.admit_real_rows(stages.scrub_and_fingerprint(self._prepared.mixed))
            _cap_synthetic_share(job, schedule, self._publisher.real_mixed_rows)
            index_seeds(self._prepared, self._index, scrub_and_fingerprint=stages.scrub_and_fingerprint)
            yield self._publisher

    def save_index(self) -> None:
        """Call while the index's shards are running."""
        save_index(self._job, self._index, self._guard, self._storage)

    def publish(self, manifest: Manifest, *, replaces: str) -> None:
        """Replace the manifest version `replaces`, then write card and report from it. Raises Conflict."""
        write_manifest(self._storage, manifest, replaces=replaces)
        write_card(self._storage, manifest, endpoint_url=self._job.output.endpoint_url)
        self._storage.write("report.html", page(manifest.to_dict()).encode())

    def manifest(self, schedule: Schedule, run_facts: RunFacts, *, stopped: str) -> Manifest:
        """Finish the files and describe this version."""
        job, tally, prepared, publisher = self._job, self.tally, self._prepared, self._publisher
        written = self._writer.finish()
        evaluation = [split for split in EVAL_SPLITS if split in written.splits]
        return Manifest(
            name=job.name,
            description=job.description,
            job_digest=prepared.job_digest,
            ask_digest=prepared.ask_digest,
            complete=not stopped,
            stopped=stopped,
            rows=Rows(
                requested=tally.slots,
                accepted=tally.accepted,
                rejected=dict(sorted(tally.rejected.items())),
                failed=dict(sorted(tally.failed.items())),
                real=sum(publisher.real_by_split.values()),
            ),
            seeds=Seeds(
                read=prepared.count.read,
                planned=prepared.count.planned,
                rejected=dict(sorted(prepared.count.rejected.items())),
            ),
            mix=self._mix_summary(),
            gold=_gold_summary(publisher.gold_pairs),
            judge=publisher.judge.summary() if publisher.judge is not None else {},
            contamination=dict(publisher.contaminated_by_set),
            disclosure=self._disclosure_report(),
            target=open_scrubber(job.scrub).record(schedule.target_summary()).value,
            attempts=dict(tally.attempts),
            tokens={name: tally.committed_tokens[name] for name in ("prompt", "completion", "cached")},
            cost=dict(run_facts.cost),
            throughput=dict(run_facts.throughput),
            engines=dict(run_facts.engines),
            pii=dict(sorted(tally.pii.items())),
            pii_in_place=job.scrub.replace == "nothing",
            columns={f.name: str(f.type) for f in self._shape.accepted_schema},
            rejected_columns={f.name: str(f.type) for f in self._shape.rejected_schema},
            partition_by=job.output.partition_by,
            teacher=job.models.card_text("name"),
            revision=job.models.card_text("revision"),
            teacher_license=job.models.card_text("license"),
            teacher_terms=job.models.card_text("terms"),
            recipe=job.recipe.name,
            license=job.output.license,
            sources=[
                {"path": s.path, "license": s.license} for s in (*job.seeds, *(job.mix.real if job.mix is not None else ()))
            ],
            synthetic_only_eval=not prepared.recipe.copies and any(s not in publisher.real_by_split for s in evaluation),
            single_writer=job.output.single_writer,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={"synth_ray": version("synth-ray"), "pyarrow": version("pyarrow")} | dict(run_facts.versions),
            **written_facts(written),
        )

    def _disclosure_report(self) -> dict[str, Any]:
        """What rows disclose of the records they stand in for; empty where the recipe makes no stand-ins."""
        if self._copy_detector is None or self._publisher.sample is None:
            return {}
        return disclosure_report(
            self._prepared, self._copy_detector, self._publisher.sample, scrub_and_fingerprint=self._scrub_and_fingerprint
        )

    def _mix_summary(self) -> dict[str, Any]:
        """The job's real rows beside the synthetic ones; empty for a job without any."""
        if self._job.mix is None:
            return {}
        count, real = self._prepared.mix_count, self._publisher.real_mixed_rows
        refused = Counter(count.rejected) + self._publisher.mix_rejected
        share = self.tally.accepted / max(1, self.tally.accepted + real)
        return {
            "read": count.read,
            "accepted": real,
            "rejected": dict(sorted(refused.items())),
            "refused": self._publisher.mix_rejected.total(),
            "synthetic_share": round(share, 4),
        }


def _cap_synthetic_share(job: Job, plans: Schedule, real: int) -> None:
    """Limit synthetic rows to the job's share. Raises JobError for a target that wants more."""
    max_share = job.mix.max_synthetic_share if job.mix is not None else None
    if max_share is None:
        return
    synthetic = int(real * max_share / (1 - max_share))
    wanted = int(plans.remaining_rows.sum())
    if job.target.is_set and wanted > synthetic:
        raise JobError(
            f"mix.max_synthetic_share: wanted at most {synthetic:,} synthetic rows beside {real:,} real ones, got a target of "
            f"{wanted:,}; lower the target, mix in more real rows, or allow a larger share"
        )
    plans.remaining_rows[0] = min(int(plans.remaining_rows[0]), synthetic) if not job.target.is_set else plans.remaining_rows[0]


def _gold_summary(pairs: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """How far the labels agree with people's; empty where no row has a gold label."""
    if not pairs:
        return {}
    agreement = agreement_of(pairs)
    return {"rows": agreement.n, **agreement.summary()}
