"""One job from its file to its manifest: claim the output, prepare, drive, publish."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from synth_ray import gc_tuning
from synth_ray.ask.journal_sweeper import JournalSweeper
from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.dataset.card import write_unfinished_card
from synth_ray.dataset.ledger import CommittedChunk
from synth_ray.dataset.manifest import Manifest, manifest_etag, read_manifest
from synth_ray.drive.driver import Driver
from synth_ray.drive.hooks import Hooks, Meters, resume_from
from synth_ray.drive.window import Window
from synth_ray.job.device_memory import memory_notes, refuse_full_devices
from synth_ray.job.document import Job
from synth_ray.meter.costs import CostRecords
from synth_ray.meter.spending import Spending
from synth_ray.meter.tally import PUBLISHING, Tally
from synth_ray.meter.throughput import engine_summary
from synth_ray.prepare.estimate import has_price
from synth_ray.prepare.gold import gold_requests
from synth_ray.prepare.kept_estimate import load_or_make_estimate, with_actual
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.prepare.schedule import Schedule, open_schedule
from synth_ray.publish.indexing import spilled_stores
from synth_ray.publish.manifest_facts import RunFacts
from synth_ray.publish.publication import Publication
from synth_ray.publish.publisher import Publisher
from synth_ray.recipes.catalogue import options_of
from synth_ray.records import Request
from synth_ray.route.ending import NOT_STOPPED, Result, Stopped, result_of
from synth_ray.route.interrupts import stopped_by_signals
from synth_ray.route.output_lease import HeldLease, hold_lease, require_conditional_writes
from synth_ray.route.tables import refuse_bad_sinks, with_tables
from synth_ray.storage import Storage
from synth_ray.storage.job_files import open_output
from synth_ray.workers.pool import Pool
from synth_ray.workers.prefetch import prefetched
from synth_ray.workers.row_stages import stage_keys

log = logging.getLogger(__name__)

_READERS, _READ_AHEAD = 4, 8  # a request to a store takes some tens of milliseconds, about what admitting a chunk takes


def run_job(
    job: Job,
    *,
    make_pool: Callable[[Job], Pool],
    watch: Callable[[Tally], None] = lambda _: None,
    extend: bool = False,
    retry_failed: bool = False,
    stopped: Stopped = NOT_STOPPED,
) -> Result:
    """Run the job, or resume an earlier run of it. See `synth_ray.run`. `stopped`: why nothing is asked any more."""
    options_of(job.recipe)  # wrong options are told before the output is touched
    refuse_full_devices(job, on_cpu=is_cpu_build())
    storage = open_output(job.output)
    require_conditional_writes(job, storage)
    with tempfile.TemporaryDirectory(prefix="synth-ray-") as spool, hold_lease(storage) as fence:
        prepared = prepare(job, spool=Path(spool))
        refuse_bad_sinks(prepared)
        with gc_tuning.frozen_during_run():
            run = _Run(prepared, storage, fence, Path(spool), stopped)
            return run.execute(make_pool, watch, extend=extend, retry_failed=retry_failed)


class _Run:
    """The parts of one run, made once and wired together."""

    def __init__(self, prepared: Prepared, storage: Storage, fence: HeldLease, spool: Path, stopped: Stopped) -> None:
        self._job = job = prepared.job
        self._stopped = stopped
        self._spool = spool
        self._prepared = prepared
        self._storage = storage
        self._fence = fence
        self._publication = Publication(prepared, storage, epoch=fence.epoch)
        self._ledger, self._tally = self._publication.ledger, self._publication.tally
        self._has_price = has_price(job)
        self._started_at = time.monotonic()

    def execute(
        self, make_pool: Callable[[Job], Pool], watch: Callable[[Tally], None], *, extend: bool, retry_failed: bool
    ) -> Result:
        job, storage = self._job, self._storage
        for note in memory_notes(job, on_cpu=is_cpu_build()):
            log.info("%s", note)
        keys = job.keys_by_cost("ask") | stage_keys(job)
        self._ledger.pin_or_compare({"ask_digest": self._prepared.ask_digest, "keys": keys})
        schedule = open_schedule(job, self._prepared, storage, extend=extend, retry_failed=retry_failed)
        self._earlier = self._ledger.committed_chunks()
        self._ledger.delete_orphans(now=time.time(), committed=self._earlier)
        replaces = manifest_etag(storage)
        write_unfinished_card(storage, name=job.name)
        self._tally.chunks_earlier = len(self._earlier)
        self._sweeper = JournalSweeper(storage, earlier=self._earlier)
        self._costs = CostRecords(storage)
        self._estimate = load_or_make_estimate(storage, self._prepared, resumed=bool(self._earlier))
        self._count_what_is_wanted(schedule)
        pool = make_pool(job)
        opened = self._publication.open_publisher(
            schedule, shards=lambda: pool.shards() or spilled_stores(job, self._spool), keeps_checkpoints=True
        )
        with closing(self._sweeper), opened as publisher, closing(self._read_ahead(publisher)) as self._ahead:
            self._journalled = self._sweeper.open()
            driver = self._driver(schedule, pool, publisher, watch)
            self._fence.on_lost = driver.stop
            self._fence.raise_if_lost()  # before there was someone to tell
            with stopped_by_signals(driver.stop) as signals:
                if self._stopped.is_interrupted:
                    driver.stop(self._stopped.why)
                driver.run(only_admit=self._stopped.why)
                self._fence.raise_if_lost()
                if driver.frontier.is_behind and (larger := self._larger_version(replaces)):
                    return self._unchanged(larger, driver.stop_reason, is_interrupted=self._is_interrupted(signals))
                self._tally.stage = PUBLISHING
                watch(self._tally)
            driver.stop(schedule.shortfall())
            # Whoever sent a signal, or takes the node away, may not wait for the measures.
            facts, stopped = self._run_facts(driver), driver.stop_reason
            interrupted = self._is_interrupted(signals) or driver.is_hurried
            manifest = self._publication.finish(schedule, facts, stopped=stopped, measure=not interrupted)
        return self._publish(manifest, replaces, driver, is_interrupted=interrupted)

    def _publish(self, manifest: Manifest, replaces: str, driver: Driver, *, is_interrupted: bool) -> Result:
        self._fence.raise_if_lost()
        manifest = manifest.model_copy(update={"epoch": self._fence.epoch})
        self._publication.publish(manifest, replaces=replaces)
        self._sweeper.finish()
        result = result_of(
            self._job,
            manifest,
            causes=self._tally.failure_causes,
            nothing_answered=driver.failed_share.is_total and driver.failed_share.is_above_limit,
            is_interrupted=is_interrupted,
        )
        return with_tables(result, self._job, self._storage, manifest)

    def _driver(self, schedule: Schedule, pool: Pool, publisher: Publisher, watch: Callable[[Tally], None]) -> Driver:
        job, meters = self._job, Meters.of(self._job, self._tally, self._costs)
        return Driver(
            job,
            schedule=schedule,
            pool=pool,
            window=Window(size=job.plan.window_chunks, frontier=self._tally.chunks_admitted, committed=self._earlier),
            hooks=Hooks(
                admit=lambda chunk: self._admit(chunk, publisher),
                watch=lambda tally: self._on_tick(meters.spending, watch),
                before_close=self._save_index,
                extra_requests=self._gold_requests,
                on_committed=self._sweeper.on_committed,
            ),
            meters=meters,
            resume=resume_from(self._storage, self._journalled, job.limits),
        )

    def _is_interrupted(self, signals: Sequence[object]) -> bool:
        return bool(signals) or self._stopped.is_interrupted

    def _save_index(self) -> None:
        """A large upload has no condition: whoever lost the lease leaves the index to the new owner."""
        if not self._fence.is_lost:
            self._publication.save_index()

    def _count_what_is_wanted(self, schedule: Schedule) -> None:
        """For the progress: the requests of the plan and those that earlier runs committed, or the rows of the target."""
        self._tally.requests_planned = schedule.planned_requests()
        self._tally.requests_earlier = schedule.planned_requests(self._earlier) or 0
        if self._job.target.is_set:
            self._tally.rows_wanted = sum(self._prepared.wanted_rows.values())

    def _read_ahead(self, publisher: Publisher) -> Generator[CommittedChunk, None, None]:
        """The chunks that earlier runs committed after the last checkpoint, up to the first gap, read by threads."""
        assert publisher.progress is not None
        self._tally.chunks_admitted = first = publisher.progress.chunks
        self._tally.slots_earlier = self._tally.slots
        end = next((stop for start, stop in self._earlier.runs if start <= first < stop), first)
        self._read_ahead_until = end
        return prefetched(range(first, end), self._ledger.read_committed, ahead=_READ_AHEAD, threads=_READERS)

    def _admit(self, chunk: int, publisher: Publisher) -> None:
        before = self._tally.slots
        publisher.admit(chunk, next(self._ahead) if chunk < self._read_ahead_until else None)
        if chunk in self._earlier:
            self._tally.slots_earlier += self._tally.slots - before

    def _larger_version(self, replaces: str) -> Manifest | None:
        """The published version, where it has at least the rows that are admitted by now."""
        published = read_manifest(self._storage) if replaces else None
        return published if published is not None and published.rows.accepted >= self._tally.accepted else None

    def _unchanged(self, published: Manifest, stopped: str, *, is_interrupted: bool) -> Result:
        """Stopped before everything that the published version has was decided again: that version stays."""
        log.warning("stopped while committed chunks were admitted; the version that is published stays")
        manifest = published.model_copy(update={"complete": False, "stopped": stopped})
        return result_of(self._job, manifest, causes=self._tally.failure_causes, is_interrupted=is_interrupted)

    def _gold_requests(self, chunk: int, start: int) -> Sequence[Request]:
        """The judge is asked about its gold rows beside the first chunk."""
        requests = gold_requests(self._prepared.gold, start=start) if chunk == 0 else ()
        if self._tally.requests_planned is not None:
            self._tally.requests_planned += len(requests)
        return requests

    def _run_facts(self, driver: Driver) -> RunFacts:
        facts, cost = driver.dispatcher.facts, self._cost(driver)
        return RunFacts(
            cost=cost,
            throughput=driver.throughput.summary(),
            engines={role: engine_summary(facts_of_role) for role, facts_of_role in facts.items()},
            versions=facts["teacher"].versions if "teacher" in facts else {},
            estimate=with_actual(self._estimate, self._actual(cost), done_share=self._done_share(driver.stop_reason)),
        )

    def _actual(self, cost: Mapping[str, Any]) -> dict[str, float]:
        """What the estimate is compared with: the committed requests' tokens, and what all runs cost."""
        tokens, hours = self._tally.committed_tokens, cost["replica_s"] / 3600 / self._job.cluster.all_replicas
        spent = {"prompt_tokens": tokens["prompt"], "completion_tokens": tokens["completion"]}
        return spent | {"usd": cost["usd"], "hours": round(hours, 4)}

    def _done_share(self, stopped: str) -> float:
        """How much of the plan was done: all of it where the run reached its end."""
        tally = self._tally
        if not stopped:
            return 1.0
        done, planned = (
            (tally.accepted, tally.rows_wanted) if tally.rows_wanted is not None else (tally.slots, self._prepared.planner.slots)
        )
        return min(1.0, done / planned) if planned else 1.0

    def _on_tick(self, spending: Spending, watch: Callable[[Tally], None]) -> None:
        self._costs.save_if_due(lambda: spending.facts() | self._tally.tokens)
        self._tally.usd = spending.usd_all_runs if self._has_price else None
        self._tally.replica_s = self._costs.earlier["replica_s"] + spending.replica_seconds
        watch(self._tally)

    def _cost(self, driver: Driver) -> dict[str, Any]:
        """The cost of every run of this output; `wall_s` is this run's."""
        spent = self._costs.close(driver.spending.facts() | self._tally.tokens)
        usd = spent["usd"] + spent.get("nano_usd", 0) / 1e9
        out = self._tally.committed_tokens["completion"]
        return {
            "wall_s": round(time.monotonic() - self._started_at, 1),
            "runs": self._costs.runs,
            "replica_s": round(spent["replica_s"], 1),
            "start_s": round(spent.get("start_s", 0.0), 1),
            "usd": round(usd, 4),
            "usd_per_1m_output_tokens": round(1e6 * usd / max(1, out), 4),
            "usd_per_1k_accepted": round(1000 * usd / max(1, self._tally.accepted), 4),
        }
