"""Which requests of the plan ask for a given pool of seeds: the plan's own order, with the other pools left out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_MAX_PASSES = 8


class PoolSampler:
    """The t-th request of each pool, for any t: passes over its seeds without end.

    Law: a request's number is the one the whole plan gives it, so a pool's requests are the same whatever else is asked.
    `order` is the seeds' order in one pass; `pool_of` is each seed's pool, -1 for none.
    """

    def __init__(self, order: Callable[[int], Array], pool_of: Array, pools: int) -> None:
        self._order = order
        self._pool_of = pool_of
        self._sizes = np.bincount(pool_of[pool_of >= 0], minlength=pools)
        self._starts = np.concatenate(([0], np.cumsum(self._sizes)))
        self._passes: OrderedDict[int, tuple[Array, Array]] = OrderedDict()
        self._cursor = np.zeros(pools, np.int64)

    def counts(self, numbers: Sequence[int]) -> Array:
        """How many of these requests are each pool's. They count as drawn, and all before them."""
        turns, places = np.divmod(np.array(numbers, np.int64), len(self._pool_of))
        counts = np.zeros_like(self._sizes)
        for turn in np.unique(turns).tolist():
            in_epoch = places[turns == turn]
            pools = self._pool_of[self._order(turn)[in_epoch]]
            in_epoch, pools = in_epoch[pools >= 0], pools[pools >= 0]
            counts += np.bincount(pools, minlength=len(counts))
            np.maximum.at(self._cursor, pools, turn * self._sizes[pools] + self._pass(turn)[1][in_epoch] + 1)
        return counts

    def take(self, requests: Array, *, exclude: Container[int] = ()) -> list[int]:
        """The next requests of each pool, but for those `without`; ascending."""
        numbers: list[int] = []
        for pool in np.flatnonzero(requests).tolist():
            wanted = int(requests[pool])
            while wanted:
                number = self._number(pool, int(self._cursor[pool]))
                self._cursor[pool] += 1
                if number not in exclude:
                    numbers.append(number)
                    wanted -= 1
        return sorted(numbers)

    def _number(self, pool: int, t: int) -> int:
        turn, place = divmod(t, int(self._sizes[pool]))
        return turn * len(self._pool_of) + int(self._pass(turn)[0][self._starts[pool] + place])

    def _pass(self, epoch: int) -> tuple[Array, Array]:
        """Of one pass: its places, pool after pool and each in the order of the pass; and each place's rank in its pool."""
        if epoch not in self._passes:
            pools = self._pool_of[self._order(epoch)]
            places = np.argsort(pools, kind="stable")[int(np.count_nonzero(pools < 0)) :]
            ranks = np.zeros(len(pools), np.int64)
            ranks[places] = np.arange(len(places)) - self._starts[pools[places]]
            self._passes[epoch] = places, ranks
            if len(self._passes) > _MAX_PASSES:
                self._passes.popitem(last=False)
        self._passes.move_to_end(epoch)
        return self._passes[epoch]
