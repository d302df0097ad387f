"""What a driver is given: what it calls, and what it counts with."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from synth_ray.ask.segments import EarlierAnswers, read_journal
from synth_ray.ask.worker import JournalledAnswers
from synth_ray.job.document import Job
from synth_ray.job.running import Limits
from synth_ray.meter.costs import CostRecords
from synth_ray.meter.spending import Spending
from synth_ray.meter.tally import Tally
from synth_ray.meter.throughput import Throughput
from synth_ray.records import Request
from synth_ray.storage import Storage


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the driver calls. `admit(chunk)`: once per committed chunk, in order. `watch(tally)`: at every tick. `before_close`:
    when everything is admitted, while the pool is open. `extra_requests(chunk, start)`: requests without slots that are asked
    beside a chunk's own, at positions from `start` on. `on_committed(chunk)`: it is never asked again; may not wait.
    """

    admit: Callable[[int], None]
    watch: Callable[[Tally], None] = lambda _: None
    before_close: Callable[[], None] = lambda: None
    extra_requests: Callable[[int, int], Sequence[Request]] = lambda _chunk, _start: ()
    on_committed: Callable[[int], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Meters:
    """What the driver counts with."""

    tally: Tally
    spending: Spending
    throughput: Throughput

    @classmethod
    def of(cls, job: Job, tally: Tally, costs: CostRecords) -> Meters:
        """Those of one run: what it spends is added to what earlier runs cost."""
        clock = time.monotonic
        spending = Spending(job.budget, clock, earlier=costs.earlier, token_cost_usd=lambda: costs.token_usd(tally.tokens))
        return cls(tally, spending, Throughput(job.cluster, clock))


@dataclass(frozen=True, slots=True)
class Resume:
    """`earlier(chunk)`: what an interrupted run journalled of a chunk. `journal(chunks)`: what is journalled of chunks now, for
    when a replica is lost.
    """

    earlier: Callable[[int], JournalledAnswers] = lambda _: {}
    journal: Callable[[Collection[int]], JournalledAnswers] = lambda _: {}


NOTHING_TO_RESUME = Resume()


def resume_from(storage: Storage, journalled: Collection[int], limits: Limits) -> Resume:
    """From the journal on the store, where there is one. `journalled`: the chunks of which earlier runs left something there."""
    if not limits.journal_flush_s:
        return NOTHING_TO_RESUME
    return Resume(EarlierAnswers(storage, journalled), lambda chunks: read_journal(storage, *chunks))
