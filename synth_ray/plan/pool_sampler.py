"""Per pool, an endless sequence of request numbers: the plan's order with the other pools filtered out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_MAX_PASSES = 8


class PoolSampler:
    """The t-th request number of each pool, for any t.

    Law: a request has the number it has in the whole plan, so a pool's requests do not depend on which others are asked. `order`
    gives the order of the seeds in an epoch (one pass over them); `pool_of` is each seed's pool, -1 for none.
    """

    def __init__(self, order: Callable[[int], Array], pool_of: Array, pools: int) -> None:
        self._order = order
        self._pool_of = pool_of
        self._sizes = np.bincount(pool_of[pool_of >= 0], minlength=pools)
        self._starts = np.concatenate(([0], np.cumsum(self._sizes)))
        self._passes: OrderedDict[int, tuple[Array, Array]] = OrderedDict()
        self._cursor = np.zeros(pools, np.int64)

    def skip(self, numbers: Sequence[int]) -> Array:
        """How many of these requests each pool has. From now on `take` draws only later requests."""
        epochs, places = np.divmod(np.array(numbers, np.int64), len(self._pool_of))
        counts = np.zeros_like(self._sizes)
        for epoch in np.unique(epochs).tolist():
            in_epoch = places[epochs == epoch]
            pools = self._pool_of[self._order(epoch)[in_epoch]]
            in_epoch, pools = in_epoch[pools >= 0], pools[pools >= 0]
            counts += np.bincount(pools, minlength=len(counts))
            np.maximum.at(self._cursor, pools, epoch * self._sizes[pools] + self._pass(epoch)[1][in_epoch] + 1)
        return counts

    def take(self, requests: Array, *, exclude: Container[int] = ()) -> list[int]:
        """The next requests of each pool, without those in `exclude`; ascending."""
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
        epoch, place = divmod(t, int(self._sizes[pool]))
        return epoch * len(self._pool_of) + int(self._pass(epoch)[0][self._starts[pool] + place])

    def _pass(self, epoch: int) -> tuple[Array, Array]:
        """Of one epoch: its positions, grouped by pool and in the epoch's order; and the rank of each position in its pool."""
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
