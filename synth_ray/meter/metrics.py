"""The metrics of a run: the closed list, and their values at a moment. Pure: reads a tally and clocks that it is given.

Whoever exports them (Ray's Prometheus endpoint, OpenTelemetry) puts nothing in between, so each has these names and labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from synth_ray.meter.pace import Pace, ProgressFacts
from synth_ray.meter.tally import PUBLISHING, Tally
from synth_ray.meter.waits import Wait
from synth_ray.storage.retry import StoreCalls, store_calls

PREFIX = "synth_ray_"
"""Ray puts `ray_` before it, so that Prometheus knows them as `ray_synth_ray_…`."""

JOB_LABEL = "job_name"
"""Not `job`: Prometheus sets that to the name of the scrape, and would rename ours."""

MAX_SERIES = 200
"""Of one job, at most, however long it runs."""

STAGES = ("preparing", "generating", "publishing", "ended")
TOKEN_KINDS = ("prompt", "completion", "cached", "reasoning", "estimated")
SHOWN_REPLICAS = 24
OTHER_REPLICAS = "others"


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge. `labels` beside JOB_LABEL; their values are from closed lists and small numbers, never text, ids or paths."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric("active", "1 while the run goes on, 0 once it has ended"),
    Metric("updated_timestamp_seconds", "When the driver last wrote these metrics, in seconds since 1970"),
    Metric("stage", "1 for what the run does now: preparing, generating, publishing, ended", ("stage",)),
    Metric("stage_seconds", "Seconds this run has spent in each stage", ("stage",)),
    Metric("done_share", "Done of the plan or of the target, from 0 to 1, earlier runs included"),
    Metric("eta_seconds", "Seconds until the end at the pace of the last minute"),
    Metric("rows", "Slots of admitted chunks by verdict, all runs of the output", ("verdict",)),
    Metric("rows_by_reason", "Slots that were not accepted, by reason", ("verdict", "reason")),
    Metric("rows_wanted", "Accepted rows that the target wants; none without a target"),
    Metric("requests", "Requests: planned in all, done in all runs, in flight, queued", ("state",)),
    Metric("chunks", "Chunks: planned so far, committed, admitted, all runs of the output", ("state",)),
    Metric("frontier_timestamp_seconds", "When a chunk was last admitted, or the run began, in seconds since 1970"),
    Metric("wait_seconds", "Seconds of this run by what its replicas did or waited for", ("wait",)),
    Metric("replicas", "Replicas of each role: up, starting, lost so far", ("role", "state")),
    Metric("replica_running", "Sequences that a replica's engine runs", ("role", "replica")),
    Metric("replica_waiting", "Sequences that wait in a replica's engine", ("role", "replica")),
    Metric("replica_tokens_per_second", "Tokens a teacher's replica generates, since the value before", ("role", "replica")),
    Metric("tokens", "Tokens this run has spent, by kind", ("kind",)),
    Metric("tokens_per_second", "Tokens a second over the last minute, by kind", ("kind",)),
    Metric("usd", "Dollars spent by all runs of the output; none without a price"),
    Metric("usd_expected", "Dollars that will have been spent at the end, at the pace of the last minute"),
    Metric("usd_budget", "budget.max_usd of the job; none without a budget"),
    Metric("replica_seconds", "Replica-seconds of all runs of the output"),
    Metric("waiting_bytes", "Bytes of answers that the driver holds until their chunk is complete"),
    Metric("index_bytes", "Bytes of the index against which rows are compared"),
    Metric("store_calls", "Requests of the driver to the object store: sent, retried, given up", ("outcome",)),
)
BY_NAME = {metric.name: metric for metric in METRICS}

Labels = tuple[str, ...]
"""Values of a metric's labels, in their order."""
Values = dict[tuple[str, Labels], float]
"""By metric's name and labels. What is not known has no value."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a value needs and no tally has. Times are in seconds since 1970; `rates` are tokens per second by replica."""

    now: float
    frontier_at: float
    stage: str
    stage_seconds: dict[str, float]
    rates: dict[int, float]
    usd_budget: float | None
    store: StoreCalls


class Readings:
    """Give it every tally (`observe`), then ask for the `values`. Law: at most MAX_SERIES, over the whole run, and all finite."""

    def __init__(
        self,
        *,
        usd_budget: float | None,
        store: Callable[[], StoreCalls] = store_calls,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock` counts seconds; `wall` is the time since 1970."""
        self._usd_budget, self._store, self._clock, self._wall = usd_budget, store, clock, wall
        self._pace = Pace(clock)
        self._tally = Tally()
        self._admitted = 0
        self._frontier_at = wall()
        self.stage, self._stage_began = STAGES[0], clock()
        self._stage_seconds = dict.fromkeys(STAGES[:-1], 0.0)
        self._tokens_before: dict[int, int] = {}
        self._rated_at = clock()

    def observe(self, tally: Tally) -> None:
        """Call at every tick."""
        self._tally = tally
        self._pace.observe(tally)
        if tally.chunks_admitted != self._admitted:
            self._admitted, self._frontier_at = tally.chunks_admitted, self._wall()
        self.enter("publishing" if tally.stage == PUBLISHING else "generating")

    def enter(self, stage: str) -> None:
        """One of STAGES begins, if it has not begun."""
        if stage == self.stage:
            return
        if self.stage == STAGES[0]:
            self._frontier_at = self._wall()
        now = self._clock()
        self._stage_seconds[self.stage] = self._stage_seconds.get(self.stage, 0.0) + now - self._stage_began
        self.stage, self._stage_began = stage, now

    def values(self) -> Values:
        """The values of this moment. Replicas' rates are over the time since the call before."""
        seconds = dict(self._stage_seconds)
        if self.stage in seconds:
            seconds[self.stage] += self._clock() - self._stage_began
        around = Around(
            now=self._wall(),
            frontier_at=self._frontier_at,
            stage=self.stage,
            stage_seconds=seconds,
            rates=self._rates(),
            usd_budget=self._usd_budget,
            store=self._store(),
        )
        return values_of(self._tally, self._pace.facts(), around)

    def _rates(self) -> dict[int, float]:
        now, before = self._clock(), self._tokens_before
        elapsed, self._rated_at = now - self._rated_at, now
        loads = {n: load.completion_tokens for n, load in self._tally.replica_loads.items() if load.role == "teacher"}
        self._tokens_before = loads
        if elapsed <= 0:
            return dict.fromkeys(loads, 0.0)
        # A number may come again with another replica, which counts from 0.
        return {n: (tokens - before.get(n, 0) if tokens >= before.get(n, 0) else tokens) / elapsed for n, tokens in loads.items()}


def values_of(tally: Tally, facts: ProgressFacts, around: Around) -> Values:
    """Every value that is known. Once the run has ended, what is of the moment is 0 and what was counted stays."""
    values = dict(_of_progress(tally, facts, around))
    values.update(_of_rows(tally))
    values.update(_of_work(tally, facts))
    values.update(_of_cost(tally, facts, around))
    if around.stage == STAGES[-1]:
        for name, labels in values:
            if name in _OF_THE_MOMENT or (name, labels) in _STATES_OF_THE_MOMENT or (name == "replicas" and labels[1] != "lost"):
                values[name, labels] = 0.0
    return values


_OF_THE_MOMENT = {
    "active", "eta_seconds", "replica_running", "replica_waiting", "replica_tokens_per_second", "tokens_per_second",
    "waiting_bytes",
}  # fmt: skip
_STATES_OF_THE_MOMENT = {("requests", ("in_flight",)), ("requests", ("queued",))}

_Named = Iterator[tuple[tuple[str, Labels], float]]


def _one(name: str, value: float | None) -> _Named:
    if value is not None:
        yield (name, ()), float(value)


def _of_progress(tally: Tally, facts: ProgressFacts, around: Around) -> _Named:
    yield from _one("active", around.stage != STAGES[-1])
    yield from _one("updated_timestamp_seconds", around.now)
    for stage in STAGES:
        yield ("stage", (stage,)), float(stage == around.stage)
    for stage, seconds in around.stage_seconds.items():
        yield ("stage_seconds", (stage,)), seconds
    yield from _one("done_share", facts.share)
    yield from _one("eta_seconds", facts.eta_s)
    yield from _one("frontier_timestamp_seconds", around.frontier_at)
    for wait in Wait:
        yield ("wait_seconds", (wait.value,)), float(tally.seconds[wait])


def _of_rows(tally: Tally) -> _Named:
    verdicts = {"rejected": tally.rejected, "failed": tally.failed}
    yield ("rows", ("accepted",)), float(tally.accepted)
    for verdict, reasons in verdicts.items():
        yield ("rows", (verdict,)), float(reasons.total())
        for reason, rows in reasons.items():
            yield ("rows_by_reason", (verdict, str(reason))), float(rows)
    yield from _one("rows_wanted", tally.rows_wanted)


def _of_work(tally: Tally, facts: ProgressFacts) -> _Named:
    if tally.requests_planned is not None:
        yield ("requests", ("planned",)), float(tally.requests_planned)
    yield ("requests", ("done",)), float(tally.requests_earlier + tally.requests_done)
    yield ("requests", ("in_flight",)), float(tally.in_flight)
    yield ("requests", ("queued",)), float(tally.queued)
    yield ("chunks", ("planned",)), float(tally.chunks_earlier + tally.chunks_planned)
    yield ("chunks", ("committed",)), float(tally.chunks_earlier + tally.chunks_committed)
    yield ("chunks", ("admitted",)), float(tally.chunks_admitted)
    for role, states in _replicas_by_role(tally).items():
        for state, count in states.items():
            yield ("replicas", (role, state)), float(count)
    for kind in TOKEN_KINDS:
        yield ("tokens", (kind,)), float(tally.tokens[kind])
    for kind, rate in (("prompt", facts.prompt_tokens_s), ("completion", facts.completion_tokens_s)):
        if rate is not None:
            yield ("tokens_per_second", (kind,)), rate
    yield from _one("waiting_bytes", tally.buffered_bytes)
    yield from _one("index_bytes", tally.index_bytes)


def _replicas_by_role(tally: Tally) -> dict[str, dict[str, int]]:
    lost = tally.pools_lost
    roles = {
        role: {"up": up, "starting": tally.pools_starting.get(role, 0), "lost": lost[role]} for role, up in tally.pools.items()
    }
    teachers = {
        "up": tally.replicas,
        "starting": tally.replicas_starting,
        "lost": tally.replicas_lost - sum(lost[role] for role in tally.pools),
    }
    return {"teacher": teachers} | roles


def _of_cost(tally: Tally, facts: ProgressFacts, around: Around) -> _Named:
    yield from _one("usd", facts.usd)
    yield from _one("usd_expected", facts.usd_expected)
    yield from _one("usd_budget", around.usd_budget)
    yield from _one("replica_seconds", tally.replica_s)
    for outcome in ("sent", "retried", "given_up"):
        yield ("store_calls", (outcome,)), float(getattr(around.store, outcome))
    yield from _of_replicas(tally, around).items()


def _of_replicas(tally: Tally, around: Around) -> Values:
    """Replicas with a number of SHOWN_REPLICAS or more share one series of their role: numbers grow as replicas are replaced."""
    values: Values = {}
    for number, load in tally.replica_loads.items():
        labels = (load.role, str(number) if number < SHOWN_REPLICAS else OTHER_REPLICAS)
        figures = {"replica_running": load.running, "replica_waiting": load.waiting}
        if number in around.rates:
            figures["replica_tokens_per_second"] = around.rates[number]  # type: ignore[assignment]  # a rate beside two counts
        for name, figure in figures.items():
            values[name, labels] = values.get((name, labels), 0.0) + figure
    return values
