"""Seeds become numbered requests in numbered chunks: the same job always plans the same chunks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np

from synth_ray.job.running import Plan
from synth_ray.plan.cells import Codes
from synth_ray.recipes.contract import Recipe
from synth_ray.records import SPLITS, Request, Seed, digest

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class SeedsByIndex(Protocol):
    """Seeds on disk or in memory, taken by index. `splits[i]` is the index of seed i's split in `records.SPLITS`."""

    def __len__(self) -> int: ...

    def take(self, indices: Sequence[int]) -> list[Seed]: ...

    @property
    def splits(self) -> Sequence[int]: ...


class Planner:
    """Plans chunk k from k alone.

    Request i asks for seed order[i]. Each epoch (one pass over the seeds) has its own permutation, drawn from the job's seed, so
    that a plan of fewer requests than seeds is a fair sample. Few-shot companions come from the request's own split and, where
    `alike` numbers the seeds, from the seeds with the same number.
    """

    def __init__(
        self,
        seeds: SeedsByIndex,
        *,
        recipe: Recipe,
        options: Any,
        plan: Plan,
        ask_digest: str,
        alike: Codes | None = None,
    ) -> None:
        self._seeds = seeds
        self._slots = recipe.slots(options)
        self._shots = recipe.shots(options)
        self._plan = plan
        self._ask_digest = ask_digest
        self.requests = plan.requests if plan.requests is not None else len(seeds)
        self._order: tuple[int, np.ndarray[Any, np.dtype[np.int64]]] = (-1, np.empty(0, np.int64))
        splits = np.asarray(seeds.splits if self._shots else ()).astype(
            np.int64
        )  # 24 bytes a seed, for few-shot companions alone
        self._group = splits if alike is None or not self._shots else splits + len(SPLITS) * (alike.astype(np.int64) + 1)
        self._by_group = np.argsort(self._group, kind="stable")
        self._groups = self._group[self._by_group]

    @property
    def seeds(self) -> int:
        return len(self._seeds)

    @property
    def chunks(self) -> int:
        """The chunks of the planned requests; a target may ask for more."""
        return -(-self.requests // self._plan.chunk_requests)

    @property
    def slots(self) -> int:
        return self.requests * self._slots

    def chunk(self, number: int) -> list[Request]:
        """The requests of one chunk."""
        size = self._plan.chunk_requests
        end = min((number + 1) * size, self.requests)
        return self.numbered(number, range(number * size, end))

    def numbered(self, chunk: int, numbers: Sequence[int]) -> list[Request]:
        """The requests with these numbers, in this order. A request's place in a chunk changes neither its id nor its prompt."""
        indices = self.seeds_of(np.asarray(numbers, np.int64)).tolist()
        seeds = self._seeds.take(indices)
        names = [digest("request", self._ask_digest, number, seed.id) for number, seed in zip(numbers, seeds, strict=True)]
        companions = [self._companions(index, name) for index, name in zip(indices, names, strict=True)]
        shots = iter(self._seeds.take([index for group in companions for index in group]))
        return [
            Request(
                id=names[i],
                chunk=chunk,
                position=i,
                seed=seeds[i],
                slots=self._slots,
                shots=tuple(islice(shots, len(companions[i]))),
                random_seed=int(names[i][-8:], 16),
                number=number,
            )
            for i, number in enumerate(numbers)
        ]

    def seeds_of(self, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The index of each request's seed."""
        epochs, places = np.divmod(numbers, len(self._seeds))
        seeds = np.empty(len(numbers), np.int64)
        for epoch in np.unique(epochs).tolist():
            seeds[epochs == epoch] = self.order(epoch)[places[epochs == epoch]]
        return seeds

    def order(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The order of the seeds in one epoch."""
        if self._order[0] != epoch:
            self._order = (epoch, permutation(len(self._seeds), self._plan.seed, epoch))
        return self._order[1]

    def _companions(self, index: int, name: str) -> list[int]:
        if not self._shots:
            return []
        draw = random.Random(name)
        peers = self._by_group[slice(*np.searchsorted(self._groups, self._group[index] + np.arange(2)))]
        wanted = min(self._shots, len(peers) - 1)
        chosen = [int(peers[j]) for j in draw.sample(range(len(peers)), wanted + 1)] if wanted > 0 else []
        return [c for c in chosen if c != index][:wanted]


def permutation(n: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The indices 0 … n-1 sorted by splitmix64 of (seed, epoch, index): unlike a library's shuffle, it never changes."""
    start = np.uint64(int(digest("order", seed, epoch, size=8), 16))
    with np.errstate(over="ignore"):
        x = start + _GOLDEN * np.arange(1, n + 1, dtype=np.uint64)
        x = (x ^ (x >> np.uint64(30))) * _MIX[0]
        x = (x ^ (x >> np.uint64(27))) * _MIX[1]
        x ^= x >> np.uint64(31)
    return np.argsort(x, kind="stable")
