"""What the run has cost so far, and when it has cost enough."""

from __future__ import annotations

from collections.abc import Callable

from synth_ray.job.running import Budget


class Spending:
    """Replica-seconds since `begin`. Start-up counts: while no replica is up, one is being paid for."""

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._began = self._last = 0.0
        self.first_answer_s = self.replica_seconds = 0.0

    def begin(self) -> None:
        self._began = self._last = self._clock()

    def answered(self) -> None:
        self.first_answer_s = self.first_answer_s or self._clock() - self._began

    def count(self, replicas: int) -> str:
        """Count the time since the last call for so many replicas; returns why the run must stop, or nothing."""
        now = self._clock()
        self.replica_seconds += (now - self._last) * max(1, replicas)
        self._last = now
        budget = self._budget
        if budget.max_seconds is not None and now - self._began >= budget.max_seconds:
            return f"budget.max_seconds: {budget.max_seconds:g} s are spent"
        if budget.max_usd is not None and self.usd >= budget.max_usd:
            return f"budget.max_usd: ${budget.max_usd:g} are spent"
        return ""

    @property
    def usd(self) -> float:
        return self.replica_seconds / 3600 * self._budget.gpu_hour_usd
