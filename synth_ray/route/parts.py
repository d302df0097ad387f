"""A part of a job: its chunks are asked and staged by a driver of its own. Admission is for the driver of the whole job."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from synth_ray import gc_tuning
from synth_ray.ask.journal_sweeper import JournalSweeper
from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.dataset.ledger import Ledger
from synth_ray.drive.driver import Driver
from synth_ray.drive.hooks import Hooks, Meters, resume_from
from synth_ray.drive.window import Window
from synth_ray.errors import JobError, StoppedShort
from synth_ray.job.device_memory import device_fraction, refuse_full_devices
from synth_ray.job.document import Job
from synth_ray.meter.costs import CostRecords
from synth_ray.meter.tally import Tally
from synth_ray.prepare.gold import gold_requests
from synth_ray.prepare.preparation import Prepared, prepare
from synth_ray.prepare.schedule import FixedSchedule, open_schedule
from synth_ray.recipes.catalogue import options_of
from synth_ray.records import Request
from synth_ray.route.interrupts import stopped_by_signals
from synth_ray.route.output_lease import HeldLease, hold_part, require_conditional_writes
from synth_ray.storage import Storage
from synth_ray.storage.job_files import open_output
from synth_ray.workers.pool import Pool
from synth_ray.workers.row_stages import stage_keys


@dataclass(frozen=True, slots=True)
class PartResult:
    """How a part ended: `committed` of its `chunks` are there. Nothing is published. `stopped` is empty where all are."""

    part: int
    parts: int
    committed: int
    chunks: int
    stopped: str = ""
    is_interrupted: bool = False

    @property
    def exit_code(self) -> int:
        return StoppedShort.exit_code if self.stopped else 0


def run_part(
    job: Job,
    part: int,
    *,
    make_pool: Callable[[Job], Pool],
    watch: Callable[[Tally], None] = lambda _: None,
    extend: bool = False,
) -> PartResult:
    """Ask and stage what is missing of the chunks of a part, from 0 on: every `plan.parts`-th chunk. See `synth_ray.run_part`."""
    parts = job.plan.parts
    if not 0 <= part < parts:
        raise JobError(f"--part: wanted one of the job's parts, 0 to {parts - 1}, got {part}; plan.parts says how many there are")
    options_of(job.recipe)
    refuse_full_devices(job, on_cpu=is_cpu_build())
    storage = open_output(job.output)
    require_conditional_writes(job, storage)
    with tempfile.TemporaryDirectory(prefix="synth-ray-") as spool, hold_part(storage, part) as fence:
        prepared = prepare(share_of(job, part), spool=Path(spool))
        with gc_tuning.frozen_during_run():
            return _PartRun(prepared, part, storage, fence).execute(make_pool, watch, extend=extend)


def share_of(job: Job, part: int) -> Job:
    """The job with what one part has of its replicas and its budget. What decides about rows stays as it is."""
    cluster, parts, budget = job.cluster, job.plan.parts, job.budget

    def share(whole: int) -> int:
        return max(1, whole // parts + (part < whole % parts))

    replicas = None if cluster.replicas is None else max(2, share(cluster.replicas))
    divided: dict[str, float] = {
        name: share(getattr(cluster, name)) for name in ("teachers", "min_teachers", "judges", "stagers")
    }
    if replicas is not None:
        divided["judges"] = min(divided["judges"], replicas - 1)
    for role, name in (("teacher", "gpus_per_teacher"), ("judge", "gpus_per_judge")):
        if (fraction := device_fraction(job, role, on_cpu=is_cpu_build())) < 1:
            divided[name] = fraction  # the replicas of all parts share an accelerator
    memory = None if job.limits.memory_bytes is None else job.limits.memory_bytes // parts
    usd = None if budget.max_usd is None else budget.max_usd / parts
    changed = {
        "cluster": cluster.model_copy(update={**divided, "replicas": replicas, "index_shards": 0}),
        "budget": budget.model_copy(update={"max_usd": usd}),
        "limits": job.limits.model_copy(update={"memory_bytes": memory}),
    }
    return job.model_copy(update=changed)


class _PartRun:
    """The parts of one driver that admits nothing, made once and wired together."""

    def __init__(self, prepared: Prepared, part: int, storage: Storage, fence: HeldLease) -> None:
        self._prepared, self._part, self._storage, self._fence = prepared, part, storage, fence
        self._job = prepared.job
        self._parts = self._job.plan.parts
        self._ledger, self._tally = Ledger(storage), Tally()

    def execute(self, make_pool: Callable[[Job], Pool], watch: Callable[[Tally], None], *, extend: bool) -> PartResult:
        keys = self._job.keys_by_cost("ask") | stage_keys(self._job)
        self._ledger.pin_or_compare({"ask_digest": self._prepared.ask_digest, "keys": keys})
        schedule = open_schedule(self._job, self._prepared, self._storage, extend=extend, retry_failed=False)
        assert isinstance(schedule, FixedSchedule)  # a job with a target has no parts
        own = range(self._part, schedule.chunks, self._parts)
        committed = self._ledger.committed_chunks()
        earlier = [chunk for chunk in own if chunk in committed]
        self._tally.requests_planned = schedule.planned_requests(own)
        self._tally.requests_earlier = schedule.planned_requests(earlier) or 0
        self._tally.chunks_earlier = len(earlier)
        if len(earlier) == len(own):
            return self._result(own, "")
        self._costs = CostRecords(self._storage, part=self._part)
        with closing(JournalSweeper(self._storage, earlier=committed, owns=self._owns)) as sweeper:
            self._sweeper, self._journalled = sweeper, sweeper.open()
            driver = self._driver(schedule, earlier, make_pool, watch)
            with stopped_by_signals(driver.stop) as signals:
                self._fence.on_lost = driver.stop
                self._fence.raise_if_lost()  # before there was someone to tell
                driver.run()
            self._fence.raise_if_lost()
            sweeper.finish()
        self._costs.close(driver.spending.facts() | self._tally.tokens)
        return self._result(own, driver.stop_reason, is_interrupted=bool(signals) or driver.is_hurried)

    def _driver(
        self,
        schedule: FixedSchedule,
        earlier: Sequence[int],
        make_pool: Callable[[Job], Pool],
        watch: Callable[[Tally], None],
    ) -> Driver:
        job, meters = self._job, Meters.of(self._job, self._tally, self._costs)

        def on_tick(tally: Tally) -> None:
            self._costs.save_if_due(lambda: meters.spending.facts() | tally.tokens)
            watch(tally)

        return Driver(
            job,
            schedule=schedule,
            pool=make_pool(job),
            window=Window(size=job.plan.window_chunks, frontier=self._part, committed=earlier, step=self._parts),
            hooks=Hooks(
                admit=lambda _: None,
                watch=on_tick,
                extra_requests=self._gold_requests,
                on_committed=self._sweeper.on_committed,
            ),
            meters=meters,
            resume=resume_from(self._storage, self._journalled, job.limits),
        )

    def _owns(self, chunk: int) -> bool:
        return chunk % self._parts == self._part

    def _gold_requests(self, chunk: int, start: int) -> Sequence[Request]:
        return gold_requests(self._prepared.gold, start=start) if chunk == 0 else ()

    def _result(self, own: range, stopped: str, *, is_interrupted: bool = False) -> PartResult:
        committed = self._tally.chunks_earlier + self._tally.chunks_committed
        return PartResult(self._part, self._parts, committed, len(own), stopped, is_interrupted)
