"""One job from its file to its manifest: claim the output, prepare, drive, publish."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from synth_ray import gc_tuning
from synth_ray.ask.journal import delete_segments, journalled_chunks, read_journal
from synth_ray.dataset.card import write_unfinished_card
from synth_ray.dataset.manifest import manifest_etag
from synth_ray.drive.dispatch import Resume
from synth_ray.drive.driver import Driver, Hooks, Meters
from synth_ray.drive.window import Window
from synth_ray.job.document import Job
from synth_ray.meter.costs import CostRecords
from synth_ray.meter.spending import Spending
from synth_ray.meter.tally import PUBLISHING, Tally
from synth_ray.meter.throughput import Throughput, engine_summary
from synth_ray.prepare.estimate import has_price
from synth_ray.prepare.gold import gold_requests
from synth_ray.prepare.kept_estimate import load_or_make_estimate, with_actual
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.prepare.schedule import Schedule, open_schedule
from synth_ray.publish.manifest_facts import RunFacts
from synth_ray.publish.publication import Publication
from synth_ray.publish.publisher import Publisher
from synth_ray.recipes.catalogue import options_of
from synth_ray.records import Request
from synth_ray.route.ending import Result, result_of
from synth_ray.route.output_lease import HeldLease, hold_lease, require_conditional_writes
from synth_ray.storage import Storage
from synth_ray.storage.job_files import open_output
from synth_ray.workers.pool import Pool
from synth_ray.workers.row_stages import stage_keys

log = logging.getLogger(__name__)


def run_job(
    job: Job,
    *,
    make_pool: Callable[[Job], Pool],
    watch: Callable[[Tally], None] = lambda _: None,
    extend: bool = False,
    retry_failed: bool = False,
) -> Result:
    """Run the job, or resume an earlier run of it. See `synth_ray.run`."""
    options_of(job.recipe)  # wrong options are told before the output is touched
    storage = open_output(job.output)
    require_conditional_writes(job, storage)
    with tempfile.TemporaryDirectory(prefix="synth-ray-") as spool, hold_lease(storage) as fence:
        prepared = prepare(job, spool=Path(spool))
        with gc_tuning.frozen_during_run():
            return _Run(prepared.job, prepared, storage, fence).execute(
                make_pool, watch, extend=extend, retry_failed=retry_failed
            )


class _Run:
    """The parts of one run, made once and wired together."""

    def __init__(self, job: Job, prepared: Prepared, storage: Storage, fence: HeldLease) -> None:
        self._job = job
        self._prepared = prepared
        self._storage = storage
        self._fence = fence
        self._publication = Publication(prepared, storage)
        self._ledger, self._tally = self._publication.ledger, self._publication.tally
        self._has_price = has_price(job)
        self._started_at = time.monotonic()

    def execute(
        self, make_pool: Callable[[Job], Pool], watch: Callable[[Tally], None], *, extend: bool, retry_failed: bool
    ) -> Result:
        job, storage = self._job, self._storage
        keys = job.keys_by_cost("ask") | stage_keys(job)
        self._ledger.pin_or_compare({"ask_digest": self._prepared.ask_digest, "keys": keys})
        schedule = open_schedule(job, self._prepared, storage, extend=extend, retry_failed=retry_failed)
        self._ledger.delete_orphans(now=time.time())
        replaces = manifest_etag(storage)
        write_unfinished_card(storage, name=job.name)
        self._earlier = self._ledger.committed_chunks()
        self._journalled = self._delete_committed_journals(self._earlier)
        self._costs = CostRecords(storage)
        self._estimate = load_or_make_estimate(storage, self._prepared, resumed=bool(self._earlier))
        self._count_what_is_wanted(schedule)
        pool = make_pool(job)
        with self._publication.open_publisher(schedule, shards=pool.shards) as publisher:
            driver = self._driver(schedule, pool, publisher, watch)
            self._fence.on_lost = driver.stop
            with _stopped_by_signals(driver.stop) as signals:
                driver.run()
                self._tally.stage = PUBLISHING
                watch(self._tally)
            self._fence.raise_if_lost()
            driver.stop(schedule.shortfall())
            # Whoever sent a signal may not wait for the measures.
            facts, stopped = self._run_facts(driver), driver.stop_reason
            manifest = self._publication.finish(schedule, facts, stopped=stopped, measure=not signals)
        self._publication.publish(manifest, replaces=replaces)
        self._delete_committed_journals(self._ledger.committed_chunks())
        failures = driver.failed_share
        nothing_answered = failures.is_total and failures.is_above_limit
        return result_of(job, manifest, causes=self._tally.failure_causes, nothing_answered=nothing_answered)

    def _driver(self, schedule: Schedule, pool: Pool, publisher: Publisher, watch: Callable[[Tally], None]) -> Driver:
        job, clock, costs = self._job, time.monotonic, self._costs
        spending = Spending(job.budget, clock, earlier=costs.earlier, token_cost_usd=self._token_cost_usd)
        return Driver(
            job,
            schedule=schedule,
            pool=pool,
            window=Window(size=job.plan.window_chunks, committed=self._earlier),
            hooks=Hooks(
                admit=lambda chunk: self._admit(chunk, publisher, lambda: self._on_tick(spending, watch)),
                watch=lambda tally: self._on_tick(spending, watch),
                before_close=self._publication.save_index,
                extra_requests=self._gold_requests,
            ),
            meters=Meters(self._tally, spending, Throughput(job.cluster, clock)),
            resume=Resume(self._journal_reader(), self._journalled),
        )

    def _count_what_is_wanted(self, schedule: Schedule) -> None:
        """For the progress: the requests of the plan and those that earlier runs committed, or the rows of the target."""
        self._tally.requests_planned = schedule.planned_requests()
        self._tally.requests_earlier = schedule.planned_requests(self._earlier) or 0
        if self._job.target.is_set:
            self._tally.rows_wanted = sum(self._prepared.wanted_rows.values())

    def _admit(self, chunk: int, publisher: Publisher, on_tick: Callable[[], None]) -> None:
        """Admit a chunk. A resumed run first admits all that is committed, which takes long enough to be shown."""
        before = self._tally.slots
        publisher.admit(chunk)
        if chunk in self._earlier:
            self._tally.slots_earlier += self._tally.slots - before
            on_tick()

    def _gold_requests(self, chunk: int, start: int) -> Sequence[Request]:
        """The judge is asked about its gold rows beside the first chunk."""
        requests = gold_requests(self._prepared.gold, start=start) if chunk == 0 else ()
        if self._tally.requests_planned is not None:
            self._tally.requests_planned += len(requests)
        return requests

    def _token_cost_usd(self) -> float:
        return (self._costs.earlier["nano_usd"] + self._tally.tokens["nano_usd"]) / 1e9

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

    def _journal_reader(self) -> Callable[[int], Any]:
        """Reads a chunk's journal: of earlier runs or, when a replica is lost, of this one."""
        return lambda chunk: read_journal(self._storage, chunk) if self._job.limits.journal_flush_s else {}

    def _delete_committed_journals(self, committed: Any) -> set[int]:
        """Delete the journal of committed chunks. Returns the chunks that are journalled and not committed."""
        chunks = set(journalled_chunks(self._storage))
        for chunk in sorted(chunk for chunk in chunks if chunk in committed):
            delete_segments(self._storage, chunk)
        return {chunk for chunk in chunks if chunk not in committed}

    def _cost(self, driver: Driver) -> dict[str, Any]:
        """The cost of every run of this output; `wall_s` is this run's."""
        spent = self._costs.close(driver.spending.facts() | self._tally.tokens)
        usd = spent["usd"] + spent.get("nano_usd", 0) / 1e9
        out = self._tally.committed_tokens["completion"]
        return {
            "wall_s": round(time.monotonic() - self._started_at, 1),
            "runs": self._costs.runs,
            "replica_s": round(spent["replica_s"], 1),
            "usd": round(usd, 4),
            "usd_per_1m_output_tokens": round(1e6 * usd / max(1, out), 4),
            "usd_per_1k_accepted": round(1000 * usd / max(1, self._tally.accepted), 4),
        }


@contextmanager
def _stopped_by_signals(stop: Callable[[str], None]) -> Iterator[list[signal.Signals]]:
    """SIGTERM and the first Ctrl-C stop cleanly; a second Ctrl-C interrupts. Yields the signals got so far."""
    got: list[signal.Signals] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        got.append(signal.Signals(number))
        stop(f"got {got[-1].name}")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield got
        return
    before = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield got
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)
