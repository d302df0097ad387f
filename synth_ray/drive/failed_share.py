"""When so many slots fail that the teacher, not chance, must be the cause."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from math import exp, lgamma, log, log1p

import pyarrow as pa

from synth_ray.ask.rows import AnsweredRows
from synth_ray.meter.tally import Cause, commonest, count_causes
from synth_ray.records import FAILED, Reason, Request

_MIN_SLOTS = 20
_MAX_CHANCE = 1e-3
"""A share is above its limit when chance alone would give so many failures with at most this probability."""

_DEADLINE_LIMIT = 0.25
"""Slots that end at their deadline are not the teacher's fault but the job's: a smaller share of them stops the run."""

_FAILED = {reason.value for reason in FAILED}


class FailedShare:
    """The share of slots that failed, of those planned in this run.

    Law: slots count in plan order, up to the first request that has not ended. Counted as they end, the share would be too high
    at the start of a run: a prompt that is too long fails at once, an answer takes a minute.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._planned: deque[tuple[tuple[int, int], int]] = deque()
        self._ended: dict[tuple[int, int], Sequence[Cause]] = {}
        self._causes: Counter[Cause] = Counter()
        self.slots = 0
        self.failed = 0
        self._late = 0

    def on_planned(self, chunk: int, requests: Sequence[Request]) -> None:
        self._planned.extend(((chunk, request.position), request.slots) for request in requests)

    def on_answered(self, answered: AnsweredRows) -> None:
        chunk = answered.chunk
        self._ended.update(dict.fromkeys([(chunk, position) for position in answered.positions], ()))
        for position, reason, detail in _rows_with_a_reason(answered.rows):
            if reason in _FAILED:
                self._ended[chunk, position] = [*self._ended[chunk, position], (reason, detail or "")]
        self._count_ended()

    def _count_ended(self) -> None:
        while self._planned and self._planned[0][0] in self._ended:
            request, slots = self._planned.popleft()
            causes = self._ended.pop(request)
            self.slots += slots
            if not causes:
                continue
            self.failed += len(causes)
            self._late += sum(reason == Reason.DEADLINE for reason, _ in causes)
            count_causes(self._causes, causes)

    @property
    def is_total(self) -> bool:
        """Whether every slot failed."""
        return 0 < self.slots == self.failed

    @property
    def is_above_limit(self) -> bool:
        return self._exceeds(self.failed, self._limit) or self._dies_of_the_deadline

    @property
    def _dies_of_the_deadline(self) -> bool:
        return self._limit < 1 and self._exceeds(self._late, min(self._limit, _DEADLINE_LIMIT))

    def _exceeds(self, failed: int, limit: float) -> bool:
        if self.slots < _MIN_SLOTS or failed <= limit * self.slots:
            return False
        return chance_of_at_least(failed, of=self.slots, share=limit) < _MAX_CHANCE

    def message(self) -> str:
        if self._dies_of_the_deadline:
            return (
                f"limits.request_deadline_s: {self._late} of the first {self.slots} slots were not done at their deadline; leave "
                "it out, so that it follows from max_tokens and the engine's speed, or raise it; or lower sampling.max_tokens, "
                "models.teacher.reasoning.budget or cluster.in_flight"
            )
        return (
            f"limits.max_failed_share: {self.failed} of the first {self.slots} slots failed, at most {self._limit:.0%} may; "
            f"most often {commonest(self._causes)}"
        )


def _rows_with_a_reason(rows: pa.RecordBatch) -> Iterator[tuple[int, str, str | None]]:
    """Position, reason and detail of the rows that have a reason: few, where all is well."""
    reasons = rows["reason"]
    if reasons.null_count == len(reasons):
        return iter(())
    kept = rows.select(["position", "reason", "detail"]).filter(reasons.is_valid())
    return zip(*(column.to_pylist() for column in kept.columns), strict=True)


def chance_of_at_least(failed: int, *, of: int, share: float) -> float:
    """The exact binomial probability of `failed` or more failures among `of` slots that each fail with probability `share`."""
    if share >= 1:
        return 1.0
    total = 0.0
    for k in range(failed, of + 1):
        ways = lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1)
        term = exp(ways + k * log(share) + (of - k) * log1p(-share))
        total += term
        if term < 1e-12 * total:
            break
    return min(1.0, total)
