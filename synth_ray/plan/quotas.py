"""How much of which cell is asked next: a function of what was admitted up to a chunk, never of when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_MIN_OBSERVED = 128


class Quotas:
    """Cells that want rows, and the pools of requests that fill them: one pool for each cell, or one for all.

    Law: chunk k is planned from the state after chunk k - lag, or after the first later one in which more is needed than
    what is on its way will give; when all is admitted and nothing is needed, the plan has ended. So the plan is a function
    of the admitted chunks alone. A pool whose recent requests were accepted at a rate below `close_below` is closed for good.
    No pool is asked for more than its `supply` of requests; `at_most` says that a cell whose supply is used up has all it wants.
    """

    def __init__(
        self,
        wanted: Sequence[int],
        *,
        directed: bool,
        slots: int,
        lag: int,
        close_below: float,
        max_requests: int,
        supply: Sequence[int] | None = None,
        at_most: bool = False,
    ) -> None:
        self.wanted = np.array(wanted, np.int64)
        self._pool = np.arange(len(wanted)) if directed else np.zeros(len(wanted), np.int64)
        pools = len(wanted) if directed else 1
        self._slots, self._lag, self._close_below, self._max_requests = slots, lag, close_below, max_requests
        self._planned: dict[int, Array] = {}
        self._admitted: dict[int, Array] = {}
        self._at = -1
        self._supply = np.full(pools, max_requests, np.int64) if supply is None else np.array(supply, np.int64)
        self._at_most = at_most
        self.asked, self._expected_rows = np.zeros(pools, np.int64), np.zeros(pools, np.int64)
        self.accepted = np.zeros(len(wanted), np.int64)
        self._recent = np.zeros((2, pools))
        self.closed = np.zeros(pools, bool)

    @property
    def pools(self) -> int:
        return len(self.asked)

    def on_planned(self, chunk: int, requests: Array) -> None:
        """So many requests of each pool are in this chunk. Call for every chunk, in order."""
        self._planned[chunk] = requests
        self._expected_rows += requests

    def on_admitted(self, chunk: int, accepted: Array) -> None:
        """So many rows of each cell were accepted of this chunk."""
        self._admitted[chunk] = accepted

    def next_requests(self, chunk: int, size: int) -> Array | None:
        """Requests of each pool for this chunk, `size` at most; None while it must wait; all zero when the plan has ended."""
        while True:
            if self._at >= chunk - self._lag:
                requests = self._requests_needed(size)
                if requests.any() or self._at == chunk - 1:
                    return requests
            if self._at + 1 not in self._admitted:
                return None
            self._advance()

    def _advance(self) -> None:
        self._at += 1
        requests, accepted = self._planned.pop(self._at), self._admitted.pop(self._at)
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
        """Requests that bring each pool to what it lacks, at its recent rate and with one standard deviation to spare.

        Of a pool that has no past, every row is taken to be accepted: too little is made up for, too much is not.
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
        """Rows wanted and accepted of each cell; requests of each pool, and whether it is closed. Of all that is admitted."""
        accepted, requests = self.accepted.copy(), self.asked.copy()
        for chunk, more in self._admitted.items():
            accepted += more
            requests += self._planned.get(chunk, 0)
        return self.wanted, accepted, requests, self.closed

    def shortfall(self) -> str:
        """Why fewer rows are there than wanted; empty when they are there."""
        wanted, accepted, requests, closed = self.totals()
        used_up = (requests >= self._supply)[self._pool]
        short = int(np.count_nonzero((accepted < wanted) & ~(used_up & self._at_most)))
        if not short:
            return ""
        message = (
            f"target: {int(accepted.sum()):,} of {int(wanted.sum()):,} rows accepted, {short:,} of {len(wanted):,} cells short"
        )
        why = [f"{int(closed.sum()):,} closed, accepted at less than target.close_below"] if closed.any() else []
        why += (
            [f"{int(used_up.sum()):,} without more seeds"] if used_up.any() and int(requests.sum()) < self._max_requests else []
        )
        why += [f"target.max_requests of {self._max_requests:,} reached"] if int(requests.sum()) >= self._max_requests else []
        return "; ".join([message, *why])


def _apportion_counts(requests: Array, size: int) -> Array:
    """At most `size` in all, in proportion, by the largest remainder (then the earlier pool)."""
    total = int(requests.sum())
    if total <= size:
        return requests
    exact = requests * size
    cut = exact // total
    rest = np.argsort(-(exact % total), kind="stable")[: size - int(cut.sum())]
    cut[rest] += 1
    return cut
