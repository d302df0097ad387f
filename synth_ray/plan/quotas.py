"""How many requests of which cell are planned next: a function of the admitted chunks alone, never of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_MIN_OBSERVED = 128


@dataclass(frozen=True, slots=True)
class QuotaRules:
    """Slots per request, lag in chunks, the acceptance rate below which a pool closes, and the most requests in all."""

    slots: int
    lag: int
    close_below: float
    max_requests: int


class Quotas:
    """Cells that want rows, and the pools of requests that fill them: one pool per cell, or one for all.

    Law: chunk k is planned from the state after chunk k - lag, or after the first later one in which more rows are needed than
    the planned requests are expected to give; the plan ends when every chunk is admitted and nothing is needed. So the plan is a
    function of the admitted chunks alone. A pool whose recent requests were accepted at a rate below `close_below` is closed for
    good. No pool gets more requests than its `supply`; with `at_most`, a cell whose supply is used up is not short.
    """

    def __init__(
        self,
        wanted: Sequence[int],
        *,
        directed: bool,
        rules: QuotaRules,
        supply: Sequence[int] | None = None,
        at_most: bool = False,
    ) -> None:
        self.wanted = np.array(wanted, np.int64)
        self._pool = np.arange(len(wanted)) if directed else np.zeros(len(wanted), np.int64)
        pools = len(wanted) if directed else 1
        self._slots, self._lag = rules.slots, rules.lag
        self._close_below, self._max_requests = rules.close_below, rules.max_requests
        self._planned: dict[int, Array] = {}
        self._admitted: dict[int, Array] = {}
        self._state_chunk = -1
        self._supply = np.full(pools, rules.max_requests, np.int64) if supply is None else np.array(supply, np.int64)
        self._at_most = at_most
        self.asked, self._expected_rows = np.zeros(pools, np.int64), np.zeros(pools, np.int64)
        self.accepted = np.zeros(len(wanted), np.int64)
        self._recent = np.zeros((2, pools))
        self.closed = np.zeros(pools, bool)

    @property
    def pools(self) -> int:
        return len(self.asked)

    def on_planned(self, chunk: int, requests: Array) -> None:
        """Record the requests of each pool in this chunk. Call for every chunk, in order."""
        self._planned[chunk] = requests
        self._expected_rows += requests

    def on_admitted(self, chunk: int, accepted: Array) -> None:
        """Record the accepted rows of each cell in this chunk."""
        self._admitted[chunk] = accepted

    def next_requests(self, chunk: int, size: int) -> Array | None:
        """Requests of each pool for this chunk, `size` at most. None: wait for admissions; all zero: the plan has ended."""
        while True:
            if self._state_chunk >= chunk - self._lag:
                requests = self._requests_needed(size)
                if requests.any() or self._state_chunk == chunk - 1:
                    return requests
            if self._state_chunk + 1 not in self._admitted:
                return None
            self._advance()

    def _advance(self) -> None:
        self._state_chunk += 1
        requests, accepted = self._planned.pop(self._state_chunk), self._admitted.pop(self._state_chunk)
        self.asked += requests
        self._expected_rows -= requests
        self.accepted += accepted
        self._recent += np.stack([requests * self._slots, self._sum_by_pool(accepted)])
        seen = self._recent[0] >= _MIN_OBSERVED * self._slots
        self.closed |= seen & (self._recent[1] < self._close_below * self._recent[0])
        self._recent[:, self._recent[0] >= 2 * _MIN_OBSERVED * self._slots] /= 2

    def _sum_by_pool(self, cells: Array) -> Array:
        return np.bincount(self._pool, cells, minlength=self.pools)

    def _requests_needed(self, size: int) -> Array:
        """The further requests each pool needs for its missing rows, at its recent acceptance rate plus one standard deviation.

        A pool without history is assumed to have every row accepted: a later chunk can ask for more, but not for less.
        """
        lacking = self._sum_by_pool(np.maximum(0, self.wanted - self.accepted))
        rate = np.minimum(1.0, (self._recent[1] + self._slots) / (self._recent[0] + self._slots))
        slots = (lacking + np.sqrt(lacking * (1 - rate))) / rate
        requests = np.ceil(np.round(slots / self._slots, 9)).astype(np.int64) - self._expected_rows
        requests = np.minimum(requests, self._supply - self.asked - self._expected_rows)
        requests = np.where(self.closed | (lacking == 0), 0, np.maximum(0, requests))
        left = self._max_requests - int(self.asked.sum() + self._expected_rows.sum())
        return _apportion_counts(requests, max(0, min(size, left)))

    def totals(self) -> tuple[Array, Array, Array, Array]:
        """Rows wanted and accepted per cell; requests per pool, and whether it is closed. Counts every admitted chunk."""
        accepted, requests = self.accepted.copy(), self.asked.copy()
        for chunk, more in self._admitted.items():
            accepted += more
            requests += self._planned.get(chunk, 0)
        return self.wanted, accepted, requests, self.closed

    def shortfall(self) -> str:
        """Why fewer rows are accepted than wanted; empty when enough are."""
        wanted, accepted, requests, closed = self.totals()
        used_up = (requests >= self._supply)[self._pool]
        short = int(np.count_nonzero((accepted < wanted) & ~(used_up & self._at_most)))
        if not short:
            return ""
        message = (
            f"target: {int(accepted.sum()):,} of {int(wanted.sum()):,} rows accepted, {short:,} of {len(wanted):,} cells short"
        )
        reasons = [f"{int(closed.sum()):,} closed, accepted at less than target.close_below"] if closed.any() else []
        reasons += (
            [f"{int(used_up.sum()):,} without more seeds"] if used_up.any() and int(requests.sum()) < self._max_requests else []
        )
        reasons += [f"target.max_requests of {self._max_requests:,} reached"] if int(requests.sum()) >= self._max_requests else []
        return "; ".join([message, *reasons])


def _apportion_counts(requests: Array, size: int) -> Array:
    """At most `size` requests in all, in proportion, by the largest remainder (ties: the earlier pool)."""
    total = int(requests.sum())
    if total <= size:
        return requests
    exact = requests * size
    cut = exact // total
    rest = np.argsort(-(exact % total), kind="stable")[: size - int(cut.sum())]
    cut[rest] += 1
    return cut
