"""What the output has cost so far, over all its runs, and when it has cost enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth_ray.job.running import Budget

_CLOSING_S = 5.0
"""What ending the replicas may take: still paid for."""

_CLOSING_SHARE = 0.02
"""Of the budget: what a budget too small for that reserve keeps for it."""

_TICK_S = 0.5
"""Between two looks at what is spent."""


class Spending:
    """Replica-seconds, from the start of each replica to its end. While none is up yet, one is being paid for.

    Law: `usd` with what the replicas cost while they end does not pass `budget.max_usd`, earlier runs included. Before
    that nothing more is begun: what is in flight is paid for already and comes to its end. The start of a replica beside the
    first is counted when it is up: whether a machine was held for it before is not known.
    """

    def __init__(
        self,
        budget: Budget,
        clock: Callable[[], float],
        *,
        earlier: Mapping[str, float] | None = None,
        token_cost_usd: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`of_tokens` is what tokens have cost where they are paid for by number, over all runs."""
        self._token_cost_usd = token_cost_usd
        self._budget = budget
        self._clock = clock
        self._earlier = dict(earlier or {})
        self._began_at = self._first_answer = 0.0
        self._ready_at: dict[int, float] = {}
        self._seconds = 0.0
        self._answers = 0

    def begin(self) -> None:
        self._began_at = self._clock()

    def on_ready(self, replica: int, start_s: float) -> None:
        """`start_s` is what its start took; of the first, the time since `begin` is paid for, whatever it was spent on."""
        first = not self._seconds and not self._ready_at
        self._seconds += max(start_s, self._clock() - self._began_at) if first else start_s
        self._ready_at[replica] = self._clock()

    def on_replica_gone(self, replica: int) -> None:
        self._seconds += self._clock() - self._ready_at.pop(replica, self._clock())

    def on_answered(self, requests: int) -> None:
        self._first_answer = self._first_answer or self._clock()
        self._answers += requests

    @property
    def replica_seconds(self) -> float:
        now = self._clock()
        if not self._seconds and not self._ready_at:
            return now - self._began_at
        return self._seconds + sum(now - since for since in self._ready_at.values())

    @property
    def usd(self) -> float:
        """Of this run."""
        return self.replica_seconds / 3600 * self._budget.gpu_hour_usd

    @property
    def usd_all_runs(self) -> float:
        """Of every run of this output."""
        return self._earlier.get("usd", 0.0) + self.usd + self._token_cost_usd()

    def stop_reason(self) -> str:
        """Why the run must stop now, or nothing."""
        budget = self._budget
        if budget.max_seconds is not None and self._clock() - self._began_at >= budget.max_seconds:
            return f"budget.max_seconds: {budget.max_seconds:g} s are spent"
        if self._would_pass(self._closing_s):
            return self.budget_message()
        return ""

    def should_wind_down(self, in_flight: int) -> bool:
        """Whether what is in flight, half of it begun, would use up what is left: then nothing more is begun."""
        if not self._answers:
            return False
        per_second = self._answers / max(1e-6, self._clock() - self._first_answer)
        return self._would_pass(self._closing_s + in_flight / 2 / per_second)

    def budget_message(self) -> str:
        before = self._earlier.get("usd", 0.0)
        part = f", ${before:.2f} of it by earlier runs" if before else ""
        return f"budget.max_usd: ${self.usd_all_runs:.2f} of ${self._budget.max_usd:g} are spent{part}; no more fits"

    @property
    def _closing_s(self) -> float:
        price = self._budget.gpu_hour_usd / 3600
        max_usd = self._budget.max_usd or 0.0
        return _TICK_S + min(_CLOSING_S, _CLOSING_SHARE * max_usd / price) if price else 0.0

    def _would_pass(self, seconds: float) -> bool:
        max_usd = self._budget.max_usd
        price = self._budget.gpu_hour_usd / 3600
        return max_usd is not None and self.usd_all_runs + max(1, len(self._ready_at)) * seconds * price >= max_usd

    def facts(self) -> dict[str, Any]:
        """What this run has cost, for the store."""
        return {"replica_s": self.replica_seconds, "usd": self.usd}
