"""Another version of a dataset from its committed chunks: nothing is asked, no GPU is needed.

`admit` keys are decided again. `stage` keys (checks, fingerprints, a wider scrub) are applied again to staged text, by processes
where there is much of it, and the chunks stay as they are. Chunks are read ahead, and decided in their order. New parts have new
names, and the manifest is swapped last.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from synth_ray.dataset.ledger import CommittedChunk, Ledger
from synth_ray.dataset.manifest import Manifest, manifest_etag, read_manifest
from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.job.document import Job
from synth_ray.job.scrub import Scrub
from synth_ray.meter.tally import PUBLISHING, Tally
from synth_ray.prepare.preparation import prepare
from synth_ray.prepare.schedule import Schedule, open_schedule
from synth_ray.publish.indexing import spilled_stores
from synth_ray.publish.manifest_facts import RunFacts
from synth_ray.publish.publication import Publication
from synth_ray.route.ending import Result, result_of
from synth_ray.route.output_lease import hold_lease, require_conditional_writes
from synth_ray.route.tables import refuse_bad_sinks, with_tables
from synth_ray.storage import Storage
from synth_ray.storage.job_files import open_output
from synth_ray.workers.prefetch import prefetched
from synth_ray.workers.restaging import restaged_chunks
from synth_ray.workers.row_stages import RowStages, stage_keys

_STAGE_SECTIONS = ("check", "scrub", "dedup")
_READERS, _READ_AHEAD = 4, 8  # a request to a store takes some tens of milliseconds, about what admitting a chunk takes


def curate_job(job: Job, *, watch: Callable[[Tally], None] = lambda _: None) -> Result:
    """Publish this job's version of the committed chunks. `watch` gets the counts after each chunk.

    Raises JobError for a job that would ask something else, or whose scrub would find less than the chunks' own.
    """
    storage = open_output(job.output)
    require_conditional_writes(job, storage)
    with tempfile.TemporaryDirectory(prefix="synth-ray-") as spool, hold_lease(storage) as fence:
        prepared = prepare(job, spool=Path(spool))
        refuse_bad_sinks(prepared)
        ledger = Ledger(storage)
        restage = _restage_function(prepared.job, ledger.read_pinned_keys(prepared.ask_digest, prepared.job.keys_by_cost("ask")))
        plans = open_schedule(prepared.job, prepared, storage, extend=False, retry_failed=False)
        replaces, before = manifest_etag(storage), _published_manifest(storage)
        publication = Publication(prepared, storage)
        with publication.open_publisher(
            plans, shards=lambda: spilled_stores(prepared.job, Path(spool)), restage=restage
        ) as publisher:
            chunks = publication.tally.chunks_planned = _contiguous_chunks(ledger)
            with closing(_chunks_read_ahead(prepared.job, ledger, chunks, restage)) as loaded:
                for chunk, committed in enumerate(loaded):
                    publisher.admit(chunk, committed)
                    fence.raise_if_lost()
                    publication.tally.chunks_admitted += 1
                    watch(publication.tally)
            publication.tally.stage = PUBLISHING
            watch(publication.tally)
            publication.save_index()
            manifest = publication.finish(plans, _facts_of_run(before), stopped=_stop_reason(before, plans, chunks))
        fence.raise_if_lost()
        manifest = manifest.model_copy(update={"epoch": fence.epoch})
        publication.publish(manifest, replaces=replaces)
        result = result_of(job, manifest, causes=publication.tally.failure_causes)
        return with_tables(result, job, storage, manifest)


def _chunks_read_ahead(
    job: Job, ledger: Ledger, chunks: int, restage: Callable[[pa.Table], pa.Table] | None
) -> Generator[CommittedChunk, None, None]:
    if restage is not None:
        return restaged_chunks(job, ledger, chunks, restage)
    return prefetched(range(chunks), ledger.read_committed, ahead=_READ_AHEAD, threads=_READERS)


def _contiguous_chunks(ledger: Ledger) -> int:
    """The number of committed chunks from the first on without a gap: later ones cannot be admitted."""
    runs = ledger.committed_chunks().runs
    if not runs or runs[0][0] != 0:
        raise JobError("curate: wanted committed chunks from the first on, got none; run the job first")
    return runs[0][1]


def _published_manifest(storage: Storage) -> Manifest | None:
    try:
        return read_manifest(storage)
    except ObjectNotFound:
        return None


def _facts_of_run(before: Manifest | None) -> RunFacts:
    if before is None:
        return RunFacts()
    others = {name: version for name, version in before.versions.items() if name not in ("synth_ray", "pyarrow")}
    return RunFacts(before.cost, before.throughput, before.engines, others, before.estimate)


def _stop_reason(before: Manifest | None, plans: Schedule, chunks: int) -> str:
    """Why this version is incomplete. The previous manifest may be of a shorter plan than the present one."""
    if shortfall := plans.shortfall():
        return shortfall
    if before is not None and before.stopped and not before.stopped.startswith("target: "):
        return before.stopped
    if before is None or plans.next_requests(chunks) != []:
        return "curated before its run had ended"
    return ""


def _restage_function(job: Job, pinned: Mapping[str, Any]) -> Callable[[pa.Table], pa.Table] | None:
    """How chunks are staged again where this job stages differently from their run; else None. Raises JobError for a looser
    scrub.
    """
    now = stage_keys(job)
    ask_keys = job.keys_by_cost("ask")
    before = {name: value for name, value in pinned.items() if name.split(".")[0] in _STAGE_SECTIONS and name not in ask_keys}
    changed = {name for name in {*before, *now} if before.get(name) != now.get(name)}
    if not changed:
        return None
    _refuse_looser(job.scrub, {name: before.get(name) for name in changed if name.startswith("scrub.")}, before)
    return RowStages(job).run_again


def _refuse_looser(scrub: Scrub, changed: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Staged text is scrubbed: what was replaced cannot come back, so only a scrub that finds more is possible."""
    if before.get("scrub.replace") == "nothing":
        return
    staged_entities = set(Scrub(entities=before.get("scrub.entities"), engine="patterns").entities_to_find())
    wider = {
        "scrub.max_findings": True,
        "scrub.entities": set(scrub.entities_to_find()) >= staged_entities,
        "scrub.engine": before.get("scrub.engine") == "patterns" and set(scrub.entities_to_find()) >= staged_entities,
        "scrub.model": before.get("scrub.engine") == "patterns",
        "scrub.labels": before.get("scrub.engine") == "patterns",
        "scrub.threshold": scrub.threshold <= (before.get("scrub.threshold") or 1.0),
        "scrub.deny": True,
        "scrub.recognizers": True,
    }
    looser = sorted(name for name in changed if not wider.get(name, False))
    if looser:
        raise JobError(
            f"{', '.join(looser)}: wanted a scrub that finds at least what the staged chunks' own did, got another; staged text "
            "cannot be scrubbed otherwise: change it back, or run the job on another output.path"
        )
