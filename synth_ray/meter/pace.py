"""How far a run is, how fast it goes now, and when it will end. Pure: reads a tally and a clock that it is given."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from synth_ray.meter.tally import Tally

_WINDOW_S = 60.0
_WINDOW_ANSWERS = 20
_SAMPLE_S = 1.0
_MAX_SAMPLES = 240
_MIN_SPAN_S = 2.0


@dataclass(frozen=True, slots=True)
class ProgressFacts:
    """A run at one moment. What is None is not known yet, or has no price.

    `done` of `total` counts in `unit`: requests, rows (of a target) or chunks (of a curation), earlier runs included. Rates are
    those of the last minute or so. Seconds: `elapsed_s`, `eta_s`. `usd` and `replica_hours` are what all runs have cost so far,
    the `_expected` ones what they will have cost at the end. `phases` count, for each role, the replicas that
    start by what they are doing; `pools` are those of roles with pools of their own, of which `pools_starting` are not up yet.
    """

    elapsed_s: float
    unit: str
    done: int
    total: int | None
    eta_s: float | None
    requests_s: float | None
    prompt_tokens_s: float | None
    completion_tokens_s: float | None
    usd: float | None
    usd_expected: float | None
    replica_hours: float
    replica_hours_expected: float | None
    accepted: int
    in_flight: int
    replicas: int
    replicas_starting: int
    replicas_lost: int
    chunks_admitted: int
    stage: str = ""
    phases: dict[str, Counter[str]] = field(default_factory=dict)
    pools: dict[str, int] = field(default_factory=dict)
    pools_starting: dict[str, int] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float | None:
        """Done of the total, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def asks(self) -> bool:
        """Whether models are asked: a curation only decides again."""
        return self.unit != "chunks"

    def record(self) -> dict[str, Any]:
        """For a JSON log. Counts and times only, and no number that JSON has not."""
        return {
            "elapsed_s": round(self.elapsed_s, 1),
            "stage": self.stage or ("asking" if self.asks else "deciding"),
            "unit": self.unit,
            "done": self.done,
            "total": self.total,
            "share": _rounded(self.share, 4),
            "eta_s": _rounded(self.eta_s, 0),
            "requests_s": _rounded(self.requests_s, 2),
            "tokens_s": {"prompt": _rounded(self.prompt_tokens_s, 1), "completion": _rounded(self.completion_tokens_s, 1)},
            "tokens": {name: self.tokens[name] for name in ("prompt", "completion", "cached")},
            "cost": {
                "usd": _rounded(self.usd, 4),
                "usd_expected": _rounded(self.usd_expected, 4),
                "replica_hours": round(self.replica_hours, 4),
                "replica_hours_expected": _rounded(self.replica_hours_expected, 4),
            },
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "failed": dict(sorted(self.failed.items())),
            "in_flight": self.in_flight,
            "replicas": {"up": self.replicas, "starting": self.replicas_starting, "lost": self.replicas_lost} | self.pools,
            "starting": {role: dict(phases) for role, phases in self.phases.items()},
            "chunks_admitted": self.chunks_admitted,
        }


@dataclass(frozen=True, slots=True)
class _Sample:
    """Counts of this run at one moment; `work` is what the time left is reckoned by."""

    at_s: float
    work: int
    requests: int
    prompt: int
    completion: int
    usd: float
    replica_s: float


class Pace:
    """Give it every tally (`observe`), then ask for the `facts`.

    Law: rates are taken over the last minute, or as far back as twenty answers reach; they begin with the run's first answer, so
    that neither the start of the replicas nor what earlier runs committed counts. The time left is what is left over that rate.
    For a target the work is slots that were answered, and what is left is the rows that are wanting over the share that admission
    accepts: it is known once a chunk is admitted. No fact is negative, infinite or not a number.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._samples: list[_Sample] = []
        self._tally = Tally()

    def observe(self, tally: Tally) -> None:
        """Call as often as you like; a sample is kept once a second at most."""
        self._tally = tally
        samples, now = self._samples, self._clock()
        if (samples and now - samples[-1].at_s < _SAMPLE_S) or not _work(tally):
            return
        samples.append(_sample(tally, now))
        while len(samples) > 2 and self._reaches_far_enough(samples[1]):
            samples.pop(0)
        if len(samples) > _MAX_SAMPLES:
            del samples[1::2]

    def _reaches_far_enough(self, first: _Sample) -> bool:
        last = self._samples[-1]
        return last.at_s - first.at_s >= _WINDOW_S and last.work - first.work >= _WINDOW_ANSWERS

    def facts(self) -> ProgressFacts:
        """The facts of the tally that was observed last."""
        tally, now = self._tally, self._clock()
        first, last = (self._samples or [_sample(tally, now)])[0], _sample(tally, now)
        span = last.at_s - first.at_s if last.at_s - first.at_s >= _MIN_SPAN_S else 0.0
        unit, done, total = _done_of_total(tally)
        eta = _time_left(_work_left(tally), _per_second(last.work - first.work, span))
        return ProgressFacts(
            elapsed_s=max(0.0, now - self._began),
            unit=unit,
            done=done,
            total=total,
            eta_s=eta,
            requests_s=_per_second(last.requests - first.requests, span),
            prompt_tokens_s=_per_second(last.prompt - first.prompt, span),
            completion_tokens_s=_per_second(last.completion - first.completion, span),
            usd=tally.usd,
            usd_expected=_at_end(tally.usd, last.usd - first.usd, span, eta),
            replica_hours=tally.replica_s / 3600,
            replica_hours_expected=_at_end(tally.replica_s / 3600, (last.replica_s - first.replica_s) / 3600, span, eta),
            accepted=tally.accepted,
            in_flight=tally.in_flight,
            replicas=tally.replicas,
            replicas_starting=tally.replicas_starting,
            replicas_lost=tally.replicas_lost,
            chunks_admitted=tally.chunks_admitted,
            stage=tally.stage,
            phases=_phases_by_role(tally),
            pools=dict(tally.pools),
            pools_starting=dict(tally.pools_starting),
            tokens=Counter(tally.tokens),
            rejected=Counter(tally.rejected),
            failed=Counter(tally.failed),
        )


def _phases_by_role(tally: Tally) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for role, phase in list(tally.phases.values()):
        counts.setdefault(role, Counter())[phase] += 1
    return counts


def _sample(tally: Tally, now: float) -> _Sample:
    tokens = tally.tokens
    return _Sample(
        now, _work(tally), tally.requests_done, tokens["prompt"], tokens["completion"], tally.usd or 0.0, tally.replica_s
    )


def _done_of_total(tally: Tally) -> tuple[str, int, int | None]:
    if tally.rows_wanted is not None:
        return "rows", tally.accepted, tally.rows_wanted
    if tally.requests_planned is not None:
        return "requests", tally.requests_earlier + tally.requests_done, tally.requests_planned
    return "chunks", tally.chunks_admitted, tally.chunks_planned or None


def _work(tally: Tally) -> int:
    """What this run itself has done, in the unit that the time left is reckoned by."""
    if tally.rows_wanted is not None:
        return tally.slots_done
    return tally.requests_done if tally.requests_planned is not None else tally.chunks_admitted


def _work_left(tally: Tally) -> float | None:
    if tally.rows_wanted is None:
        _, done, total = _done_of_total(tally)
        return None if total is None else max(0, total - done)
    if not tally.accepted:
        return None if tally.rows_wanted else 0.0
    accepted_share = tally.accepted / tally.slots
    not_admitted = max(0, tally.slots_done + tally.slots_earlier - tally.slots)
    left = max(0, tally.rows_wanted - tally.accepted) / accepted_share - not_admitted
    return max(left, tally.in_flight)  # what was sent ends before the run does, whether or not its rows are still wanting


def _time_left(left: float | None, rate: float | None) -> float | None:
    if left is None or left == 0:
        return left
    seconds = left / rate if rate else math.inf
    return seconds if math.isfinite(seconds) else None


def _per_second(count: float, span: float) -> float | None:
    return max(0.0, count / span) if span else None


def _at_end(now: float | None, more: float, span: float, eta: float | None) -> float | None:
    """A cost that goes on growing as it does now until the end."""
    if now is None or eta is None or not (span or eta == 0):
        return None
    expected = now + (max(0.0, more) / span * eta if eta else 0.0)
    return expected if math.isfinite(expected) else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
