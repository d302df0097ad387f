"""The vectors and the labels of kept rows in shards. See `sharded`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synth_ray.dedup.cells import Centroids
from synth_ray.dedup.hashing import U64, Array
from synth_ray.dedup.label_store import NO_ROW
from synth_ray.dedup.shards import CELLS
from synth_ray.dedup.vectors import NOTHING_NEAR, Near

if TYPE_CHECKING:
    from synth_ray.dedup.sharded import ShardedStores


class ShardedVectors:
    """See `stores.VectorStore`. The vector of row n is in shard n % shards, and each shard has all cells: it puts its own vectors
    into new ones by itself, and no vector moves.
    """

    def __init__(self, owner: ShardedStores) -> None:
        self._owner, self._has_any = owner, False

    @property
    def nbytes(self) -> int:
        return self._owner.nbytes_of("vectors")

    def append(self, vectors: Array, numbers: Array) -> None:
        of_row = numbers % self._owner.shards
        for shard in np.unique(of_row).tolist():
            mine = of_row == shard
            self._owner.add(shard, "vectors", 0, (vectors[mine], numbers[mine]))
        self._has_any |= len(vectors) > 0
        self._owner.send_if_many()

    def set_cells(self, centroids: Centroids) -> None:
        for shard in range(self._owner.shards):
            self._owner.add(shard, CELLS, 0, (centroids.vectors,))
        self._owner.send_if_many()

    def near(self, vectors: Array, cells: Array, threshold: float) -> Near:
        if not self._has_any:
            return NOTHING_NEAR
        about, parts = (vectors, cells, np.array([threshold])), list[Near]()
        asked = list(range(self._owner.shards))
        while asked:  # a shard that puts vectors into new cells answers nothing until they are all there
            answers = self._owner.ask("vectors", "near", dict.fromkeys(asked, about))
            parts += [Near(*answer) for answer in answers.values() if answer]
            asked = [shard for shard, answer in answers.items() if not answer]
        return Near.joined(parts)


class ShardedLabels:
    """See `stores.LabelStore`. An input is in the shard that bits of its key choose: keys that are equal are in one."""

    def __init__(self, owner: ShardedStores) -> None:
        self._owner, self._has_any = owner, False

    @property
    def nbytes(self) -> int:
        return self._owner.nbytes_of("labels")

    def append(self, entries: Array) -> None:
        for shard, places in self._by_shard(entries).items():
            self._owner.add(shard, "labels", 0, (entries[places],))
        self._has_any |= len(entries) > 0
        self._owner.send_if_many()

    def find(self, inputs: Array) -> Array:
        found, places = np.full((len(inputs), 2), NO_ROW, U64), self._by_shard(inputs)
        if self._has_any:
            about = {shard: (inputs[mine],) for shard, mine in places.items()}
            for shard, (own,) in self._owner.ask("labels", "find", about).items():
                found[places[shard]] = own
        return found

    def _by_shard(self, digests: Array) -> dict[int, Array]:
        of_row = (digests[:, 0] >> U64(_KEY_SHIFT)) % U64(self._owner.shards)
        return {shard: np.flatnonzero(of_row == shard) for shard in np.unique(of_row).tolist()}


_KEY_SHIFT = 16
"""A table keeps the upper 48 bits of a key."""
