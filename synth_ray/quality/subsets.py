"""Which units, rows or blocks of rows, are on which side: as they are, permuted, and halved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

PERMUTATIONS = 60
HALVES = 30


@dataclass(frozen=True, slots=True)
class Sides:
    """S pairs of subsets of N units: `ours` and `theirs` are S×N, 1 where the unit is in.

    The first pair is the generated and the real units; then come `PERMUTATIONS` pairs that divide the same units at random, and
    `HALVES` pairs of random halves of each side.
    """

    ours: Array
    theirs: Array

    def part(self, start: int, end: int) -> Sides:
        return Sides(self.ours[start:end], self.theirs[start:end])

    def fewer(self, permutations: int, halves: int) -> Sides:
        """The pairs as they are, and only so many of the others."""
        chosen = [0, *range(1, 1 + permutations), *range(1 + PERMUTATIONS, 1 + PERMUTATIONS + halves)]
        return Sides(self.ours[chosen], self.theirs[chosen])


def divided(ours: Array, theirs: Array, *, size: int, strata: Array) -> Sides:
    """The pairs of two disjoint lists out of `size` units. Units change sides only with others of their stratum."""
    both = np.concatenate([ours, theirs])
    is_ours = np.arange(len(both)) < len(ours)
    places = np.argsort(strata[both], kind="stable")
    draw = np.random.default_rng(3)
    pairs = Sides(*(np.zeros((1 + PERMUTATIONS + HALVES, size), np.float32) for _ in range(2)))
    pairs.ours[0, ours] = pairs.theirs[0, theirs] = 1
    for s in range(1, 1 + PERMUTATIONS):
        shuffled = np.empty_like(both)
        shuffled[places] = both[np.lexsort((draw.random(len(both)), strata[both]))]
        pairs.ours[s, shuffled[is_ours]] = pairs.theirs[s, shuffled[~is_ours]] = 1
    for s in range(1 + PERMUTATIONS, 1 + PERMUTATIONS + HALVES):
        pairs.ours[s, draw.permutation(ours)[: max(1, len(ours) // 2)]] = 1
        pairs.theirs[s, draw.permutation(theirs)[: max(1, len(theirs) // 2)]] = 1
    return pairs
