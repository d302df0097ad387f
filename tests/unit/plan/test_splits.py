from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.plan.splits import StratifiedSplits
from synth_ray.records import SPLITS

shares = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))


@given(shares, st.lists(st.sampled_from("abc"), max_size=300))
def test_every_split_has_its_share_of_each_stratum_to_within_two_rows(weights: tuple[int, int, int], rows: list[str]) -> None:
    fractions = {name: share / sum(weights) for name, share in zip(SPLITS, weights, strict=True)}
    strata = StratifiedSplits(fractions, salt="s")
    assigned: dict[str, Counter[str]] = {}
    for stratum in rows:
        counts = assigned.setdefault(stratum, Counter())
        counts[strata.next_split(stratum)] += 1
        for name, share in fractions.items():
            assert abs(counts[name] - share * counts.total()) < 2


def test_small_strata_do_not_all_go_to_the_same_split() -> None:
    strata = StratifiedSplits({"train": 0.8, "validation": 0.1, "test": 0.1}, salt="s")
    counts = Counter(strata.next_split(str(n)) for n in range(1000))
    assert 60 < counts["test"] < 140
    assert 60 < counts["validation"] < 140
