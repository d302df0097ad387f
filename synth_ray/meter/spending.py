"""What the output has cost over all its runs, and when its budget is used up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth_ray.job.running import Budget

_CLOSING_S = 5.0
"""Seconds that ending the replicas may take; they are still paid for."""

_CLOSING_SHARE = 0.02
"""Share of the budget that is reserved for ending the replicas where the budget is too small for _CLOSING_S."""

_TICK_S = 0.5
"""Longest time between two checks of the budget, in seconds."""


class Spending:
    """Replica-seconds, from the beginning of each replica's start-up to its end.

    Law: `usd`, with what the replicas cost while they end, does not exceed `budget.max_usd`, earlier runs included. Before that
    nothing more is started: what is in flight is paid for already and may finish. A replica is billed by its reported start-up
    time once it is ready: waiting for a place on a cluster costs nothing, and until then nobody tells which of the two it does.
    """

    def __init__(
        self,
        budget: Budget,
        clock: Callable[[], float],
        *,
        earlier: Mapping[str, float] | None = None,
        token_cost_usd: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`token_cost_usd`: the cost of tokens that are billed by number, over all runs."""
        self._token_cost_usd = token_cost_usd
        self._budget = budget
        self._clock = clock
        self._earlier = dict(earlier or {})
        self._began_at = self._first_answer = 0.0
        self._ready_at: dict[int, float] = {}
        self._seconds = self._starting_s = 0.0
        self._answers = 0

    def begin(self) -> None:
        """From now on `budget.max_seconds` runs; nothing is billed yet."""
        self._began_at = self._clock()

    def on_ready(self, replica: int, start_s: float) -> None:
        """`start_s` is the replica's start-up time."""
        self._seconds += start_s
        self._starting_s += start_s
        self._ready_at[replica] = self._clock()

    def on_replica_gone(self, replica: int) -> None:
        self._seconds += self._clock() - self._ready_at.pop(replica, self._clock())

    def on_answered(self, requests: int) -> None:
        if requests:
            self._first_answer = self._first_answer or self._clock()
            self._answers += requests

    @property
    def replica_seconds(self) -> float:
        now = self._clock()
        return self._seconds + sum(now - since for since in self._ready_at.values())

    @property
    def usd(self) -> float:
        """The cost of this run, in US dollars."""
        return self.replica_seconds / 3600 * self._budget.gpu_hour_usd

    @property
    def usd_all_runs(self) -> float:
        """The cost of every run of this output, in US dollars."""
        return self._earlier.get("usd", 0.0) + self.usd + self._token_cost_usd()

    def stop_reason(self) -> str:
        """Why the run must stop now; empty if it need not."""
        budget = self._budget
        if budget.max_seconds is not None and self._clock() - self._began_at >= budget.max_seconds:
            return f"budget.max_seconds: {budget.max_seconds:g} s are spent"
        if self._would_pass(self._closing_s):
            return self.budget_message()
        return ""

    def should_wind_down(self, in_flight: int) -> bool:
        """Whether finishing the requests in flight, half done on average, would use up the budget: then nothing more is
        started.
        """
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
        """The cost of this run, for the store."""
        return {"replica_s": self.replica_seconds, "start_s": self._starting_s, "usd": self.usd}
