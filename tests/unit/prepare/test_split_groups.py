from __future__ import annotations

from collections import Counter

from synth_ray.job.split import Split
from synth_ray.prepare.split_groups import SplitAssigner
from synth_ray.records import Seed


def test_a_stratified_split_gives_every_value_its_fractions_and_splits_no_lineage() -> None:
    seeds = [
        Seed(str(i), f"lineage {i // 2}", "train", {"prompt": f"p{i}", "kind": "abcdefgh"[i % 16 // 2]}) for i in range(1600)
    ]
    placed = list(SplitAssigner(Split(stratify="kind", group_at=None)).assign(seeds))
    splits: dict[str, set[str]] = {}
    counts: dict[str, Counter[str]] = {}
    for seed in placed:
        assert isinstance(seed, Seed)
        splits.setdefault(seed.lineage, set()).add(seed.split)
        counts.setdefault(seed.fields["kind"], Counter())[seed.split] += 1
    assert all(len(names) == 1 for names in splits.values())
    for by_split in counts.values():
        assert by_split.total() == 200
        assert abs(by_split["test"] - 10) <= 4  # two lineages of two seeds
        assert abs(by_split["validation"] - 10) <= 4


def test_short_seeds_that_are_identical_are_one_lineage_and_sums_are_not() -> None:
    texts = ["thanks again!", "Thanks,  again", "thanks – again…", "12 + 3", "12 - 3", "12 * 3", "12 × 3"]
    seeds = [Seed(str(i), f"lineage {i}", "train", {"prompt": text}) for i, text in enumerate(texts)]
    placed = [seed.lineage for seed in SplitAssigner(Split()).assign(seeds) if isinstance(seed, Seed)]
    assert placed == ["lineage 0"] * 3 + ["lineage 3", "lineage 4", "lineage 5", "lineage 5"]
