"""Assigns seeds to splits in groups, by lineage and near-duplication, so that no group has rows in two splits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from synth_ray.dedup.hashing import Array
from synth_ray.dedup.neighbours import Neighbours
from synth_ray.job.split import Split
from synth_ray.plan.seeds import RejectedSeed
from synth_ray.plan.splits import StratifiedSplits
from synth_ray.prepare.lineages import CONFLICT, RESERVED, Lineages, Places
from synth_ray.prepare.seed_blocks import REASONS, USABLE, BlockMaker, BlockRules, SeedBlock, names_of
from synth_ray.records import SPLITS, TRAIN, Reason, Seed

_BATCH_SEEDS = 1024


class SplitAssigner:
    """Assigns every seed once, in order. Real evaluation rows come first: what is near one is reserved with it.

    Law: the splits depend on the seeds and their order alone, not on the blocks they come in.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._evaluation = {n: share for n, share in split.fractions.items() if n != TRAIN and share > 0} or {"test": 1.0}
        self._strata = StratifiedSplits(split.fractions, salt=split.salt), StratifiedSplits(self._evaluation, salt=split.salt)
        self._lineages = Lineages()
        self._neighbours = Neighbours(split.group_at) if split.group_at is not None else None

    def reserve_for_eval(self, real: Iterable[Seed]) -> Iterator[Seed]:
        """Real evaluation rows with their group and split."""
        maker, remaining = BlockMaker(BlockRules(self._split, self._evaluation, with_seeds=True)), iter(real)
        while batch := list(islice(remaining, _BATCH_SEEDS)):
            block = maker.block_of_seeds(batch)
            self._place(block, reserved=True)
            yield from seeds_of(block)

    def assign(self, blocks: Iterable[SeedBlock]) -> Iterator[SeedBlock]:
        """The blocks with each seed's group and split. A seed near a real evaluation row, or near seeds of two splits, is
        rejected. Seeds that are rejected already have no part in it.
        """
        for block in blocks:
            self._place(block, reserved=False)
            yield block

    def _place(self, block: SeedBlock, *, reserved: bool) -> None:
        usable = np.flatnonzero(block.usable)
        places = self._places_of(block, usable, reserved=reserved)
        block.lineages, block.splits = block.lineages.copy(), block.splits.copy()
        block.lineages[usable], block.splits[usable] = places.lineages, places.splits
        for verdict, reason in ((CONFLICT, Reason.LINEAGE_CONFLICT), (RESERVED, Reason.RESERVED_FOR_EVAL)):
            chosen = np.zeros(len(block.places), bool)
            chosen[usable[places.verdicts == verdict]] = True
            block.reject(chosen, reason)

    def _places_of(self, block: SeedBlock, usable: Array, *, reserved: bool) -> Places:
        strata = self._strata[reserved]

        def draw(row: int) -> int:
            return SPLITS.index(strata.next_split(block.strata[usable[row]]))

        near = self._near(block, usable)
        return self._lineages.place(block.lineages[usable], near, block.splits[usable], draw, reserved=reserved)

    def _near(self, block: SeedBlock, usable: Array) -> tuple[Array, Array]:
        if self._neighbours is None or block.prints is None:
            return np.zeros(len(usable) + 1, np.int64), np.empty(0, np.uint32)
        prints = block.prints if len(usable) == len(block.prints) else block.prints.take(usable)
        return self._neighbours.find_and_add(prints)


def seeds_of(block: SeedBlock) -> Iterator[Seed]:
    """The usable seeds of a block that keeps its seeds, with their group and split."""
    lineages = names_of(block.lineages).to_pylist()
    for i in np.flatnonzero(block.usable).tolist():
        yield replace(block.seeds[i], lineage=lineages[i], split=SPLITS[block.splits[i]])


def rows_of(block: SeedBlock) -> Iterator[Seed | RejectedSeed]:
    """Every row of a block that keeps its seeds, in order."""
    seeds = seeds_of(block)
    for reason, line, lines in zip(block.reasons.tolist(), block.lines.tolist(), block.spans.tolist(), strict=True):
        yield next(seeds) if reason == USABLE else RejectedSeed(REASONS[reason], block.file, line, lines=lines)
