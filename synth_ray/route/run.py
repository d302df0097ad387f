"""One job from its file to its manifest: claim the output, prepare, drive, publish."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from synth_ray.admit.admission import Admission
from synth_ray.ask.journal import forget, journalled, recalled
from synth_ray.dataset.card import write_card, write_unfinished_card
from synth_ray.dataset.lease import Lease
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import Manifest, Rows, Seeds, manifest_etag, write_manifest, written_facts
from synth_ray.dataset.process import driver_name, is_gone
from synth_ray.dataset.schema import Provenance, RowShape
from synth_ray.dataset.writer import DatasetWriter
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.records import EVAL_SPLITS
from synth_ray.report.page import page
from synth_ray.route.costs import Costs
from synth_ray.route.driver import Driver
from synth_ray.route.indexing import index_seeds, keep_index, open_index
from synth_ray.route.places import open_output
from synth_ray.route.plans import Plans, open_plans
from synth_ray.route.pool import Pool
from synth_ray.route.preparation import Prepared, evaluation_sets, prepare
from synth_ray.route.publisher import Publisher
from synth_ray.route.spending import Spending
from synth_ray.route.stager import Stager
from synth_ray.route.tally import Tally
from synth_ray.route.throughput import engine_told
from synth_ray.route.window import Window
from synth_ray.scrub.scrubber import open_scrubber
from synth_ray.storage import Storage

log = logging.getLogger(__name__)

_LEASE_S = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to. `stopped` is empty when it reached its end."""

    prefix: str
    manifest: dict[str, Any]
    stopped: str


def run_job(
    job: Job,
    *,
    make_pool: Callable[[Job], Pool],
    watch: Callable[[Tally], None] = lambda _: None,
    extend: bool = False,
    retry_failed: bool = False,
) -> Result:
    """Run the job, or go on where an earlier run of it stopped. See `synth_ray.run`."""
    storage = open_output(job.output)
    _refuse_unconditional_store(job, storage)
    with tempfile.TemporaryDirectory(prefix="synth-ray-") as spool, _driving(storage) as fence:
        prepared = prepare(job, spool=Path(spool))
        return _Run(prepared.job, prepared, storage, fence).go(make_pool, watch, extend=extend, retry_failed=retry_failed)


class _Run:
    """The parts of one run, made once and wired together."""

    def __init__(self, job: Job, prepared: Prepared, storage: Storage, fence: Fence) -> None:
        self._job = job
        self._prepared = prepared
        self._storage = storage
        self._fence = fence
        self._ledger = Ledger(storage)
        self._tally = Tally()
        self._began = time.monotonic()
        self._shape = RowShape.of(
            job.output,
            provenance=Provenance(
                teacher=job.models.teacher.model or job.models.teacher.engine,
                revision=job.models.teacher.revision,
                recipe=job.recipe.name,
                ask_digest=prepared.ask_digest,
            ),
            recipe_columns=prepared.recipe.columns(prepared.options),
        )

    def go(self, make_pool: Callable[[Job], Pool], watch: Callable[[Tally], None], *, extend: bool, retry_failed: bool) -> Result:
        job, storage = self._job, self._storage
        keys = job.keys_that_change("ask") | job.keys_that_change("stage")
        self._ledger.pin_job({"ask_digest": self._prepared.ask_digest, "keys": keys})
        plans = open_plans(job, self._prepared, storage, extend=extend, retry_failed=retry_failed)
        self._ledger.sweep(now=time.time())
        replaces = manifest_etag(storage)
        write_unfinished_card(storage, name=job.name)
        committed = self._ledger.commits()
        self._forget_committed(committed)
        self._costs = Costs(storage)
        stager = Stager(job)
        real = stager.curated(self._prepared.real)
        evals = evaluation_sets(job, stager.fingerprinter.words)
        with DatasetWriter(storage, self._shape, job.output) as writer:
            pool = make_pool(job)
            index, guard = open_index(job, pool.shards())
            index_seeds(job, self._prepared.seeds, index, curated=stager.curated)
            admission = Admission(dedup=job.dedup, real=real, room=plans.room, evals=evals, index=index, guard=guard)
            publisher = Publisher(ledger=self._ledger, admission=admission, writer=writer, tally=self._tally, plans=plans)
            publisher.begin(real)
            driver = Driver(
                job,
                plans=plans,
                pool=pool,
                window=Window(size=job.plan.window_chunks, staged=committed),
                admit=publisher.admit,
                tally=self._tally,
                spending=Spending(job.budget, time.monotonic, earlier=self._costs.earlier),
                recall=self._recall(),
                at_end=lambda: keep_index(job, index, guard, storage),
                watch=lambda tally: self._turned(driver, watch),
            )
            self._fence.on_lost = driver.stop
            with _stopped_by_signals(driver.stop):
                driver.run()
            self._fence.check()
            driver.stop(plans.shortfall())
            manifest = self._manifest(driver, publisher, writer, plans)
        write_manifest(storage, manifest, replaces=replaces)
        write_card(storage, manifest, endpoint_url=job.output.endpoint_url)
        storage.write("report.html", page(manifest.to_dict()).encode())
        self._forget_committed(self._ledger.commits())
        return Result(job.output.path.rstrip("/"), manifest.to_dict(), driver.stopped)

    def _turned(self, driver: Driver, watch: Callable[[Tally], None]) -> None:
        self._costs.keep(lambda: driver.spending.facts() | self._tally.tokens)
        watch(self._tally)

    def _recall(self) -> Callable[[int], Any]:
        """What the journal kept of a chunk. A chunk journalled by this run is looked up too: a replica may be lost."""
        return lambda chunk: recalled(self._storage, chunk) if self._job.limits.journal_flush_s else {}

    def _forget_committed(self, committed: Any) -> None:
        for chunk in list(journalled(self._storage)):
            if chunk in committed:
                forget(self._storage, chunk)

    def _manifest(self, driver: Driver, publisher: Publisher, writer: DatasetWriter, plans: Plans) -> Manifest:
        job, tally, prepared = self._job, self._tally, self._prepared
        written = writer.finish()
        evaluation = [split for split in EVAL_SPLITS if split in written.splits]
        return Manifest(
            name=job.name,
            description=job.description,
            job_digest=prepared.job_digest,
            ask_digest=prepared.ask_digest,
            complete=not driver.stopped,
            stopped=driver.stopped,
            rows=Rows(
                requested=tally.slots,
                accepted=tally.accepted,
                rejected=dict(sorted(tally.rejected.items())),
                failed=dict(sorted(tally.failed.items())),
                real=sum(publisher.real.values()),
            ),
            seeds=Seeds(
                read=prepared.count.read,
                planned=prepared.count.planned,
                rejected=dict(sorted(prepared.count.rejected.items())),
            ),
            contamination=dict(publisher.quoted),
            target=open_scrubber(job.scrub).record(plans.told()).value,
            attempts=dict(tally.attempts),
            tokens={name: tally.committed_tokens[name] for name in ("prompt", "completion", "cached")},
            cost=self._cost(driver),
            throughput=driver.throughput.told(),
            engines={role: engine_told(facts) for role, facts in driver.dispatch.facts.items()},
            pii=dict(sorted(tally.pii.items())),
            pii_in_place=job.scrub.replace == "nothing",
            columns={f.name: str(f.type) for f in self._shape.accepted_schema},
            rejected_columns={f.name: str(f.type) for f in self._shape.refused_schema},
            partition_by=job.output.partition_by,
            teacher=self._shape.provenance.teacher,
            revision=self._shape.provenance.revision,
            recipe=job.recipe.name,
            license=job.output.license,
            sources=[{"path": s.path, "license": s.license} for s in job.seeds],
            synthetic_only_eval=not prepared.recipe.copies and any(s not in publisher.real for s in evaluation),
            single_writer=job.output.single_writer,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=self._versions(driver),
            **written_facts(written),
        )

    def _cost(self, driver: Driver) -> dict[str, Any]:
        """Of every run of this output; `wall_s` is this run's."""
        spent = self._costs.close(driver.spending.facts() | self._tally.tokens)
        usd, out = spent["usd"], self._tally.committed_tokens["completion"]
        return {
            "wall_s": round(time.monotonic() - self._began, 1),
            "runs": self._costs.runs,
            "replica_s": round(spent["replica_s"], 1),
            "usd": round(usd, 4),
            "usd_per_1m_output_tokens": round(1e6 * usd / max(1, out), 4),
            "usd_per_1k_accepted": round(1000 * usd / max(1, self._tally.accepted), 4),
        }

    def _versions(self, driver: Driver) -> dict[str, str]:
        facts = driver.dispatch.facts.get("teacher")
        ours = {"synth_ray": version("synth-ray"), "pyarrow": version("pyarrow")}
        return ours | (dict(facts.versions) if facts else {})


class Fence:
    """Holds the output's lease and renews it. A driver that lost it stops, and `check` raises before it publishes."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lost: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.on_lost: Callable[[str], None] = lambda _: None

    def __enter__(self) -> Fence:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(timeout=30)
        if self._lost is None:
            self._lease.release()

    def _renew(self) -> None:
        while not self._closing.wait(self._lease.lease_s / 3):
            try:
                self._lease.renew(time.time())
            except Exception as error:
                # Whatever kept us from renewing, we may no longer be the driver: stop before writing anything more.
                self._lost = error
                self.on_lost(f"the lease on the output is lost: {error}")
                return

    def check(self) -> None:
        if self._lost is not None:
            raise self._lost


@contextmanager
def _driving(storage: Storage) -> Iterator[Fence]:
    lease = Lease.claim(storage, driver_name(), now=time.time(), lease_s=_LEASE_S, is_gone=is_gone)
    with Fence(lease) as fence:
        yield fence


def _refuse_unconditional_store(job: Job, storage: Storage) -> None:
    if job.output.single_writer or storage.probe_conditional():
        return
    raise JobError(
        f"output.path: wanted a store that honours conditional writes, got {storage.url}, which ignores them: two drivers "
        "could both win; use another store, or set output.single_writer: true if only one driver ever writes here"
    )


@contextmanager
def _stopped_by_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """SIGTERM and the first Ctrl-C stop cleanly; a second Ctrl-C interrupts."""

    def handle(number: int, _frame: FrameType | None) -> None:
        stop(f"got {signal.Signals(number).name}")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
