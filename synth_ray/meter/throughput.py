"""How fast each replica was and where its time went, for the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from synth_ray.ask.rows import AnsweredRows
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.job.running import Cluster
from synth_ray.meter.pools import PoolMeter
from synth_ray.meter.roofline import Work, peak_of, roofline
from synth_ray.meter.tally import ReplicaLoad
from synth_ray.meter.timeline import Timeline


@dataclass(slots=True)
class ReplicaStats:
    """One replica from its start to its end. `before_tail` is its load when nothing was left to queue: occupancy is measured up
    to there.
    """

    facts: TeacherFacts
    ready_s: float
    last_s: float = 0.0
    ended_s: float | None = None
    requests: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    load: Load = field(default_factory=Load)
    before_tail: Load | None = None


class Throughput:
    """Fed by the driver. Seconds are of its clock, since `begin`."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._began = 0.0
        self._alive: dict[int, ReplicaStats] = {}
        self._replicas: list[tuple[int, ReplicaStats]] = []
        self._queue_is_empty = False
        self._tail_s: float | None = None
        self._first_s = self._in_flight_integral = self._measured_s = 0.0
        self._ticked_at: float | None = None
        self._window_bound_s = 0.0
        self._timeline = Timeline()
        self._new_tokens = 0
        self.pools = PoolMeter(clock)

    def begin(self) -> None:
        self._began = self._clock()
        self.pools.begin()

    @property
    def _now(self) -> float:
        return self._clock() - self._began

    def on_ready(self, replica: int, facts: TeacherFacts) -> None:
        self._alive[replica] = ReplicaStats(facts, self._now)
        self._replicas.append((replica, self._alive[replica]))

    def on_answered(self, replica: int, answered: Collection[AnsweredRows], load: Load) -> None:
        life = self._alive.get(replica)
        if life is None:
            return
        life.load = load
        if not answered:
            return
        life.last_s = self._now
        self._first_s = self._first_s or life.last_s
        if self._queue_is_empty and not load.waiting and life.before_tail is None:
            life.before_tail = load
            self._tail_s = self._tail_s or life.last_s
        for rows in answered:
            life.requests += len(rows.positions)
            life.tokens.update(rows.tokens)
            self._new_tokens += rows.tokens["completion"]

    def replica_loads(self) -> dict[int, ReplicaLoad]:
        """The replicas that are up, of every pool, by number. Tokens are known of teachers."""
        teachers = {
            number: ReplicaLoad("teacher", life.load.running, life.load.waiting, life.tokens["completion"])
            for number, life in self._alive.items()
        }
        return self.pools.replica_loads() | teachers

    def on_replica_gone(self, replica: int) -> None:
        if life := self._alive.pop(replica, None):
            life.ended_s = self._now

    def tick(self, *, in_flight: int, queue_is_empty: bool, window_binds: bool) -> None:
        """Call once per tick of the driver: requests in flight, whether the queue is empty for good, whether the window limits
        planning.
        """
        now, before = self._now, self._ticked_at
        self._ticked_at = now
        self._queue_is_empty = queue_is_empty
        self._timeline.tick(now, tokens=self._new_tokens, in_flight=in_flight, replicas=len(self._alive))
        self._new_tokens = 0
        if before is not None and not queue_is_empty and self._alive:
            self._in_flight_integral += in_flight * (now - before)
            self._measured_s += now - before
            self._window_bound_s += (now - before) * window_binds

    def summary(self) -> dict[str, Any]:
        """The manifest's `throughput`: this run's, in total and by replica."""
        replicas = [{"replica": replica} | self._replica_summary(life) for replica, life in self._replicas]
        last = max((life.last_s for _, life in self._replicas), default=0.0)
        first_up = min((life.ready_s for _, life in self._replicas), default=0.0)
        tokens: Counter[str] = Counter()
        for _, life in self._replicas:
            tokens.update(life.tokens)
        return {
            "tokens_s": _rates(tokens, last - first_up),
            "requests_s": _rate(sum(life.requests for _, life in self._replicas), last - first_up),
            "first_replica_s": round(first_up, 1),
            "first_answer_s": round(self._first_s, 1),
            "tail_s": round(max(0.0, last - self._tail_s), 1) if self._tail_s is not None else 0.0,
            "in_flight_mean": round(self._in_flight_integral / self._measured_s, 1) if self._measured_s else 0.0,
            "window_bound_share": round(self._window_bound_s / self._measured_s, 3) if self._measured_s else 0.0,
            "replicas": replicas,
            "timeline": self._timeline.points(),
        } | ({"pools": pools} if (pools := self.pools.summary()) else {})

    def _replica_summary(self, life: ReplicaStats) -> dict[str, Any]:
        load, upto, facts = life.load, life.before_tail or life.load, life.facts
        up = (life.ended_s if life.ended_s is not None else self._now) - life.ready_s
        asking = life.last_s - life.ready_s
        summary: dict[str, Any] = {
            "start_s": round(facts.start_s, 1),
            **_start_phases(facts),
            "up_s": round(up, 1),
            "requests": life.requests,
            "tokens": {name: life.tokens[name] for name in ("prompt", "completion", "cached")},
            "tokens_s": _rates(life.tokens, asking),
        }
        if load.notes:
            summary["notes"] = list(load.notes)
        if upto.steps:
            summary |= {
                "occupancy": round(upto.running_sum / (upto.steps * facts.max_running), 4),
                "idle_starved_share": round(upto.starved_s / max(1e-9, upto.starved_s + upto.busy_s), 4),
                "steps": load.steps,
                "engine_cpu_s": round(load.cpu_s, 2),
                "preempted": load.preempted,
                "recomputed_tokens": load.recomputed,
                **({"drafted_tokens": load.drafted, "accepted_drafts": load.accepted} if load.drafted else {}),
                "roofline": self._roofline(life, asking),
            }
        return summary

    def _roofline(self, life: ReplicaStats, seconds: float) -> dict[str, Any]:
        tokens, facts, cluster = life.tokens, life.facts, self._cluster
        fp8 = "fp8" in str(facts.engine_args.get("quantization") or "")
        peak = peak_of(facts.device, fp8=fp8, tflops=cluster.peak_tflops, gb_s=cluster.memory_gb_s)
        done = tokens["completion"]
        rate = done / seconds if seconds > 0 else 0.0
        return roofline(facts, Work(life.load.sequences, tokens["prompt"] - tokens["cached"], done, rate), peak)


def _rate(count: float, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0


def _rates(tokens: Counter[str], seconds: float) -> dict[str, float]:
    return {name: _rate(tokens[name], seconds) for name in ("prompt", "completion", "cached")}


def _start_phases(facts: TeacherFacts) -> dict[str, dict[str, float]]:
    """What the start consisted of, where it was told."""
    phases = {phase: round(seconds, 1) for phase, seconds in facts.start_phases.items()}
    return {"start_phases_s": phases} if phases else {}


def engine_summary(facts: TeacherFacts) -> dict[str, Any]:
    """An engine's facts for the manifest, with its arguments as it resolved them."""
    return {
        "engine": facts.engine,
        "model": facts.model,
        "revision": facts.revision,
        "device": facts.device,
        "devices": facts.devices,
        "start_s": round(facts.start_s, 1),
        **_start_phases(facts),
        "engine_args": {name: value for name, value in facts.engine_args.items() if value is not None},
        "versions": dict(facts.versions),
        **({"tokenizer": dict(facts.tokenizer)} if facts.tokenizer else {}),
    } | ({"notes": list(facts.notes)} if facts.notes else {})
