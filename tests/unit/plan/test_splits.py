from __future__ import annotations

from collections import Counter

import pytest
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


@pytest.mark.parametrize("period", [2, 5, 10, 20])
@pytest.mark.parametrize("fractions", [{"train": 0.8, "validation": 0.1, "test": 0.1}, {"train": 0.5, "test": 0.5}])
def test_the_turns_do_not_follow_the_file(period: int, fractions: dict[str, float]) -> None:
    strata = StratifiedSplits(fractions, salt="s")
    rows = [(n % period, strata.next_split("one")) for n in range(400 * period)]
    for name, share in fractions.items():
        places = Counter(place for place, split in rows if split == name)
        assert all(0.3 * share < places[place] / 400 < 2 * share for place in range(period))


def test_a_longer_file_moves_no_earlier_row_and_another_salt_moves_many() -> None:
    strata = "aabacabb" * 50

    def assigned(salt: str, rows: str) -> list[str]:
        splits = StratifiedSplits({"train": 0.8, "validation": 0.1, "test": 0.1}, salt=salt)
        return [splits.next_split(row) for row in rows]

    longer = assigned("s", strata + "abc" * 50)
    assert assigned("s", strata) == longer[: len(strata)]
    assert sum(x != y for x, y in zip(longer, assigned("other", strata), strict=False)) > 50
    alone = iter(assigned("s", "a" * strata.count("a")))  # sorted by class, or mixed: a class has the same turns
    assert [split for row, split in zip(strata, longer, strict=False) if row == "a"] == list(alone)


def test_small_strata_do_not_all_go_to_the_same_split() -> None:
    strata = StratifiedSplits({"train": 0.8, "validation": 0.1, "test": 0.1}, salt="s")
    counts = Counter(strata.next_split(str(n)) for n in range(1000))
    assert 60 < counts["test"] < 140
    assert 60 < counts["validation"] < 140
