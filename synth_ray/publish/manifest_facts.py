"""The parts of a manifest, each from what it is about: the job, the counts, the run, the files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from synth_ray.check.agreement import agreement_of
from synth_ray.check.judge_reliability import JudgeReliability
from synth_ray.dataset.manifest import Rows, Seeds, written_facts
from synth_ray.dataset.schema import RowShape
from synth_ray.dataset.writer import Written
from synth_ray.job.document import Job
from synth_ray.job.gates import gates_of
from synth_ray.job.seeds import Source
from synth_ray.meter.tally import Tally
from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.publisher import Publisher
from synth_ray.records import EVAL_SPLITS
from synth_ray.scrub.scrubber import Scrubber
from synth_ray.storage.hub_files import hub_commit
from synth_ray.version import __version__

log = logging.getLogger(__name__)

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Manifest facts of the run that asked (cost, throughput, engines, versions, estimate); a curation copies them."""

    cost: Mapping[str, Any] = field(default_factory=dict)
    throughput: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    estimate: Mapping[str, Any] = field(default_factory=dict)


def identity(prepared: Prepared, stopped: str) -> Facts:
    """Which version this is. `stopped`: why it is incomplete; empty for a complete one."""
    return {
        "name": prepared.job.name,
        "gates": [str(gate) for gate in gates_of(prepared.job.gates)],
        "description": prepared.job.description,
        "job_digest": prepared.job_digest,
        "ask_digest": prepared.ask_digest,
        "complete": not stopped,
        "stopped": stopped,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def counts(prepared: Prepared, tally: Tally, publisher: Publisher) -> Facts:
    """How every slot and every seed ended, and what the slots cost in tokens."""
    count = prepared.count
    return {
        "rows": Rows(
            requested=tally.slots,
            accepted=tally.accepted,
            rejected=dict(sorted(tally.rejected.items())),
            failed=dict(sorted(tally.failed.items())),
            real=sum(publisher.real_by_split.values()),
        ),
        "seeds": Seeds(
            read=count.read,
            planned=count.planned,
            rejected=dict(sorted(count.rejected.items())),
            rejected_at=dict(sorted(count.rejected_at.items())),
        ),
        "mix": _mix(prepared, tally, publisher),
        "attempts": dict(tally.attempts),
        "tokens": _tokens(tally),
        "pii": dict(sorted(tally.pii.items())),
    }


def _tokens(tally: Tally) -> dict[str, int]:
    """Tokens by kind. How many of the completion's were thought, how many of all are estimates because a server does not tell,
    and how many are of other roles than the teacher's, only where there are any.
    """
    counted = {name: tally.committed_tokens[name] for name in ("prompt", "completion", "cached")}
    roles = sorted(name for name in tally.committed_tokens if name.endswith(("_prompt", "_completion")))
    return counted | {name: n for name in ("reasoning", "estimated", *roles) if (n := tally.committed_tokens[name])}


def _mix(prepared: Prepared, tally: Tally, publisher: Publisher) -> Facts:
    """The job's real rows beside the synthetic ones; empty for a job without any."""
    if prepared.job.mix is None:
        return {}
    real = publisher.real_mixed_rows
    rejected = Counter(prepared.mix_count.rejected) + publisher.mix_rejected
    share = tally.accepted / max(1, tally.accepted + real)
    return {
        "read": prepared.mix_count.read,
        "accepted": real,
        "rejected": dict(sorted(rejected.items())),
        "refused": publisher.mix_rejected.total(),
        "synthetic_share": round(share, 4),
    }


def measures(publisher: Publisher, gold_pairs: Mapping[tuple[str, str], int], judge: JudgeReliability | None) -> Facts:
    """What was measured of the rows: agreement with gold labels, the judge, contamination, contradictory labels."""
    return {
        "gold": _gold(gold_pairs),
        "judge": judge.summary() if judge is not None else {},
        "contamination": dict(publisher.contaminated_by_set),
        "contradictory_labels": publisher.contradictory_labels,
    }


def _gold(pairs: Mapping[tuple[str, str], int]) -> Facts:
    """How far the labels agree with people's; empty where no row has a gold label."""
    if not pairs:
        return {}
    agreement = agreement_of(pairs)
    return {"rows": agreement.n, **agreement.summary()}


def scrubbed_or_nothing(scrubber: Scrubber, value: Facts, *, what: str) -> Facts:
    """Facts with texts in them, scrubbed. Those that cannot be scrubbed are left out: the rows are worth more than they."""
    [scrubbed] = scrubber.records([value])
    if scrubbed.value is None:
        log.warning("scrub: the manifest's %s could not be scrubbed, and are left out", what)
        return {}
    return dict(scrubbed.value)


def run_facts_of(run_facts: RunFacts) -> Facts:
    return {
        "cost": dict(run_facts.cost),
        "throughput": dict(run_facts.throughput),
        "estimate": dict(run_facts.estimate),
        "engines": dict(run_facts.engines),
        "versions": {"synth_ray": __version__, "pyarrow": version("pyarrow")} | dict(run_facts.versions),
    }


def provenance(job: Job) -> Facts:
    """Who made the rows, of what, and under which terms."""
    sources = (*job.seeds, *(job.mix.real if job.mix is not None else ()))
    return {
        "teacher": job.models.card_text("name"),
        "revision": job.models.card_text("revision"),
        "teacher_license": job.models.card_text("license"),
        "teacher_terms": job.models.card_text("terms"),
        "recipe": job.recipe.name,
        "license": job.output.license,
        "sources": [_source_facts(source) for source in sources],
        "pii_in_place": job.scrub.replace == "nothing",
    }


def _source_facts(source: Source) -> Facts:
    commit = {"commit": hub_commit(source.path)} if source.path.startswith("hf://") else {}
    return {"path": source.path, "license": source.license} | commit


def layout(prepared: Prepared, shape: RowShape, publisher: Publisher, written: Written) -> Facts:
    """Columns, partitions and files."""
    evaluation = [split for split in EVAL_SPLITS if split in written.splits]
    real = publisher.real_by_split
    return {
        "columns": {column.name: str(column.type) for column in shape.accepted_schema},
        "rejected_columns": {column.name: str(column.type) for column in shape.rejected_schema},
        "partition_by": prepared.job.output.partition_by,
        "synthetic_only_eval": not prepared.recipe.copies and any(split not in real for split in evaluation),
        "single_writer": prepared.job.output.single_writer,
        **written_facts(written),
    }
