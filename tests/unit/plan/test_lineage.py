from __future__ import annotations

import random

from synth_ray.job.split import Split
from synth_ray.plan.lineage import Lineages
from synth_ray.plan.seeds import RejectedSeed
from synth_ray.prepare.split_groups import SplitAssigner
from synth_ray.records import Seed

HALVES = Split(fractions={"train": 0.5, "test": 0.5})


def seed(number: int, text: str) -> Seed:
    return Seed(f"s{number}", f"l{number}", "train", {"prompt": text})


def sentence(draw: random.Random, words: int = 40) -> list[str]:
    return [f"w{draw.randrange(50_000)}" for _ in range(words)]


def test_a_lineage_takes_the_split_of_its_group_and_never_joins_two_splits() -> None:
    lineages = Lineages()
    lineages.place("a", [], lambda: "train")
    lineages.place("b", [], lambda: "test")
    joined = lineages.place("c", ["a"], lambda: "test")
    assert joined is not None
    assert (joined.lineage, joined.split) == ("a", "train")
    assert lineages.place("d", ["c", "b"], lambda: "train") is None
    assert lineages.place("c", ["b"], lambda: "test") is None


def test_near_duplicate_seeds_never_straddle_splits() -> None:
    draw = random.Random(4)
    seeds = []
    for i in range(400):
        words = sentence(draw)
        for j in range(3):
            words[draw.randrange(40)] = f"x{i}"
            seeds.append(seed(3 * i + j, " ".join(words)))
    placed = [s for s in SplitAssigner(HALVES).assign(seeds) if isinstance(s, Seed)]
    assert len(placed) == 1200
    for at in range(0, 1200, 3):
        assert len({(s.lineage, s.split) for s in placed[at : at + 3]}) == 1
    assert {s.split for s in placed} == {"train", "test"}


def test_a_seed_between_two_splits_is_a_lineage_conflict_and_one_near_a_real_row_is_reserved() -> None:
    draw = random.Random(5)
    head = sentence(draw, 120)
    between = [f"b{i}" if i % 15 == 3 and i < 60 else w for i, w in enumerate(head)]
    tail = [f"t{i}" if i % 15 == 3 and i >= 60 else w for i, w in enumerate(between)]
    conflicts = 0
    for attempt in range(20):
        groups = SplitAssigner(Split(fractions=HALVES.fractions, salt=str(attempt)))
        ends = [s.split for s in groups.assign([seed(1, " ".join(head)), seed(2, " ".join(tail))]) if isinstance(s, Seed)]
        [third] = groups.assign([seed(3, " ".join(between))])
        refused = isinstance(third, RejectedSeed)
        assert refused == (ends[0] != ends[1])
        conflicts += refused and third.reason == "lineage_conflict"
    assert 0 < conflicts < 20
    groups = SplitAssigner(HALVES)
    [real] = groups.reserve_for_eval([seed(9, " ".join(head))])
    assert real.split == "test"
    [near] = groups.assign([seed(10, " ".join([*head, "more"]))])
    assert isinstance(near, RejectedSeed)
    assert near.reason == "reserved_for_eval"
