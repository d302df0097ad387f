from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.dedup.digest_numbers import DigestNumbers
from synth_ray.job.split import Split
from synth_ray.plan.seeds import RejectedSeed
from synth_ray.prepare.lineages import CONFLICT, PLACED, RESERVED, Lineages
from synth_ray.prepare.seed_blocks import BlockMaker, BlockRules
from synth_ray.prepare.split_groups import SplitAssigner, rows_of
from synth_ray.records import Seed

HALVES = Split(fractions={"train": 0.5, "test": 0.5})


def seed(number: int, text: str, **fields: Any) -> Seed:
    return Seed(f"{number:032x}", f"{number:032x}", "train", {"prompt": text, **fields})


def assign(groups: SplitAssigner, split: Split, seeds: list[Seed], *, block: int = 1000) -> list[Seed | RejectedSeed]:
    maker = BlockMaker(BlockRules(split, split.fractions, with_seeds=True))
    blocks = (maker.block_of_seeds(seeds[at : at + block]) for at in range(0, len(seeds), block))
    return [row for placed in groups.assign(blocks) for row in rows_of(placed)]


def placed(split: Split, seeds: list[Seed], *, block: int = 1000) -> list[Seed]:
    return [row for row in assign(SplitAssigner(split), split, seeds, block=block) if isinstance(row, Seed)]


def sentence(draw: random.Random, words: int = 40) -> list[str]:
    return [f"w{draw.randrange(50_000)}" for _ in range(words)]


def test_near_duplicate_seeds_never_straddle_splits_whatever_the_blocks() -> None:
    draw = random.Random(4)
    seeds = []
    for i in range(400):
        words = sentence(draw)
        for j in range(3):
            words[draw.randrange(40)] = f"x{i}"
            seeds.append(seed(3 * i + j, " ".join(words)))
    rows = placed(HALVES, seeds)
    assert len(rows) == 1200
    for at in range(0, 1200, 3):
        assert len({(s.lineage, s.split) for s in rows[at : at + 3]}) == 1
    assert {s.split for s in rows} == {"train", "test"}
    shuffled = draw.sample(seeds, len(seeds))
    assert placed(HALVES, shuffled, block=7) == placed(HALVES, shuffled)


def test_a_seed_between_two_splits_is_a_lineage_conflict_and_one_near_a_real_row_is_reserved() -> None:
    draw = random.Random(5)
    head = sentence(draw, 120)
    between = [f"b{i}" if i % 15 == 3 and i < 60 else w for i, w in enumerate(head)]
    tail = [f"t{i}" if i % 15 == 3 and i >= 60 else w for i, w in enumerate(between)]
    conflicts = 0
    for attempt in range(20):
        split = Split(fractions=HALVES.fractions, salt=str(attempt))
        texts = [" ".join(words) for words in (head, tail, between)]
        first, second, third = assign(SplitAssigner(split), split, [seed(i, text) for i, text in enumerate(texts)])
        assert isinstance(first, Seed)
        assert isinstance(second, Seed)
        refused = isinstance(third, RejectedSeed)
        assert refused == (first.split != second.split)
        conflicts += isinstance(third, RejectedSeed) and third.reason == "lineage_conflict"
    assert 0 < conflicts < 20
    groups = SplitAssigner(HALVES)
    [real] = groups.reserve_for_eval([seed(9, " ".join(head))])
    assert real.split == "test"
    [near] = assign(groups, HALVES, [seed(10, " ".join([*head, "more"]))])
    assert isinstance(near, RejectedSeed)
    assert near.reason == "reserved_for_eval"


def test_a_stratified_split_gives_every_value_its_fractions_and_splits_no_lineage() -> None:
    split = Split(stratify="kind", group_at=None)
    seeds = [seed(i // 2, f"p{i}", kind="abcdefgh"[i % 16 // 2]) for i in range(1600)]
    rows = placed(split, seeds, block=100)
    splits: dict[str, set[str]] = {}
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        splits.setdefault(row.lineage, set()).add(row.split)
        counts.setdefault(row.fields["kind"], Counter())[row.split] += 1
    assert all(len(names) == 1 for names in splits.values())
    for by_split in counts.values():
        assert by_split.total() == 200
        assert abs(by_split["test"] - 10) <= 4  # two lineages of two seeds
        assert abs(by_split["validation"] - 10) <= 4


def test_short_seeds_that_are_identical_are_one_lineage_and_sums_are_not() -> None:
    texts = ["thanks again!", "Thanks,  again", "thanks – again…", "12 + 3", "12 - 3", "12 * 3", "12 × 3"]
    rows = placed(Split(), [seed(i, text) for i, text in enumerate(texts)])
    assert [int(row.lineage, 16) for row in rows] == [0] * 3 + [3, 4, 5, 5]


def place_by_the_rules(rows: list[tuple[int, int, list[int], bool]]) -> list[tuple[int, int, int]]:
    """(verdict, group, split) of each row, of (lineage, the split it would draw, near rows, whether it is reserved)."""
    places: dict[int, tuple[int, int, bool]] = {}
    out = []
    for lineage, draw, near, reserved in rows:
        known = [places[name] for name in (lineage, *(rows[i][0] for i in near)) if name in places]
        if not reserved and len({place[1:] for place in known}) > 1:
            held = next((place for place in known if place[2]), None)
            out.append((RESERVED, -1, -1) if held else (CONFLICT, -1, -1))
            continue
        group, split, held = places.setdefault(lineage, known[0] if known else (lineage, draw, reserved))
        out.append((RESERVED, -1, -1) if held and not reserved else (PLACED, group, split))
    return out


@settings(max_examples=60)
@given(st.data())
def test_lineages_are_placed_by_the_rules_whatever_the_blocks(data: st.DataObject) -> None:
    row = st.tuples(st.integers(0, 9), st.integers(0, 2), st.lists(st.integers(0, 200), max_size=3))
    drawn = data.draw(st.lists(row, min_size=1, max_size=40))
    real = data.draw(st.integers(0, 5))
    rows = [(name, split, sorted({i % n for i in near}) if n else [], n < real) for n, (name, split, near) in enumerate(drawn)]
    lineages, got, at = Lineages(), [], 0
    while at < len(rows):
        size = min(data.draw(st.integers(1, 20)), (real if at < real else len(rows)) - at, len(rows) - at)
        block, reserved = rows[at : at + size], at < real
        keys = np.array([[name, 7] for name, *_ in block], np.uint64)
        near = [np.array(numbers, np.uint32) for _, _, numbers, _ in block]
        ends = np.cumsum([0, *map(len, near)])
        undrawn = np.full(size, -1, np.int8)
        places = lineages.place(
            keys, (ends, np.concatenate(near)), undrawn, lambda i, block=block: block[i][1], reserved=reserved
        )
        for verdict, key, split in zip(places.verdicts, places.lineages, places.splits, strict=True):
            got.append((int(verdict), int(key[0]), int(split)) if verdict == PLACED else (int(verdict), -1, -1))
        at += size
    assert got == place_by_the_rules(rows)


@given(st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=6))
def test_digests_are_numbered_in_the_order_they_first_come(batches: list[list[int]]) -> None:
    numbers, known = DigestNumbers(), dict[int, int]()
    for batch in batches:
        digests = np.array([[value % 3, value] for value in batch], np.uint64).reshape(-1, 2)
        expected_new = [value not in known and value not in batch[:i] for i, value in enumerate(batch)]
        assert numbers.add_new(digests).tolist() == expected_new
        for value in batch:
            known.setdefault(value, len(known))
        assert numbers.add(digests).tolist() == [known[value] for value in batch]
    assert numbers.digests[:, 1].tolist() == list(known)
