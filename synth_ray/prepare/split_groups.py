"""Assigns seeds to splits in groups, by lineage and near-duplication, so that no group has rows in two splits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from synth_ray.dedup.neighbours import Neighbours
from synth_ray.job.split import Split
from synth_ray.plan.lineage import Lineages
from synth_ray.plan.seeds import RejectedSeed
from synth_ray.plan.splits import StratifiedSplits, split_of
from synth_ray.records import TRAIN, Reason, Seed

_BATCH_SEEDS = 1024


class SplitAssigner:
    """Assigns every seed once, in order. Real evaluation rows come first: what is near one is reserved with it."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._evaluation = {n: share for n, share in split.fractions.items() if n != TRAIN and share > 0} or {"test": 1.0}
        self._strata = StratifiedSplits(split.fractions, salt=split.salt), StratifiedSplits(self._evaluation, salt=split.salt)
        self._lineages = Lineages()
        self._neighbours = Neighbours(split.group_at) if split.group_at is not None else None
        self._lineage_by_number: list[str] = []

    def reserve_for_eval(self, real: Iterable[Seed]) -> Iterator[Seed]:
        for seed, near in self._with_neighbours(real):
            place = self._lineages.place(seed.lineage, near, partial(self._choose_split, seed, real=True), reserved=True)
            assert place is not None
            yield replace(seed, lineage=place.lineage, split=place.split)

    def assign(self, read: Iterable[Seed | RejectedSeed]) -> Iterator[Seed | RejectedSeed]:
        """Seeds with their group and split. A seed near a real evaluation row, or near seeds of two splits, is rejected."""
        for seed, near in self._with_neighbours(read):
            if isinstance(seed, RejectedSeed):
                yield seed
                continue
            place = self._lineages.place(seed.lineage, near, partial(self._choose_split, seed, real=False))
            if place is None:
                yield RejectedSeed(Reason.LINEAGE_CONFLICT, seed.source, seed.line)
            elif place.is_reserved:
                yield RejectedSeed(Reason.RESERVED_FOR_EVAL, seed.source, seed.line)
            else:
                yield replace(seed, lineage=place.lineage, split=place.split)

    def _choose_split(self, seed: Seed, *, real: bool) -> str:
        if self._split.stratify:
            return self._strata[real].next_split(str(seed.fields.get(self._split.stratify, "")))
        return split_of(seed.lineage, self._evaluation if real else self._split.fractions, salt=self._split.salt)

    def _with_neighbours(self, read: Iterable[Any]) -> Iterator[tuple[Any, list[str]]]:
        source = iter(read)
        while block := list(islice(source, _BATCH_SEEDS)):
            seeds = [row for row in block if isinstance(row, Seed)]
            neighbours = iter(self._neighbour_lineages(seeds))
            for row in block:
                yield row, next(neighbours) if isinstance(row, Seed) else []

    def _neighbour_lineages(self, seeds: list[Seed]) -> list[list[str]]:
        if self._neighbours is None:
            return [[] for _ in seeds]
        self._lineage_by_number.extend(seed.lineage for seed in seeds)
        texts = [str(seed.fields["prompt"]) for seed in seeds]
        return [[self._lineage_by_number[number] for number in near] for near in self._neighbours.find_and_add(texts)]
