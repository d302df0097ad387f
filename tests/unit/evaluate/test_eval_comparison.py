"""The comparison with a baseline: exchanging both changes signs alone, equal runs are no regression, and the interval covers."""

from __future__ import annotations

import random
from collections import Counter
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.evaluate.comparison import compare
from synth_ray.evaluate.statistics import mcnemar, paired_difference, share_of
from synth_ray.verify.intervals import Z_95

OUTCOMES = st.dictionaries(st.integers(0, 40).map(str), st.tuples(st.sampled_from(["a", "b"]), st.booleans()), min_size=1)
COUNTS = st.tuples(*[st.integers(0, 300)] * 4).filter(lambda counts: sum(counts) > 0)


@given(OUTCOMES, OUTCOMES)
def test_every_case_is_paired_or_counted_apart(now: dict[str, tuple[str, bool]], before: dict[str, tuple[str, bool]]) -> None:
    if not any(now.get(name) is not None and now[name][0] == case for name, (case, _) in before.items()):
        return
    there, back = compare(now, before), compare(before, now)
    assert there.paired + there.changed + there.only_now == len(now)
    assert there.paired + there.changed + there.only_before == len(before)
    assert (there.newly_failing, there.newly_passing) == (back.newly_passing, back.newly_failing)
    assert there.difference.low == pytest.approx(-back.difference.high)
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.p == back.p


@given(OUTCOMES)
def test_the_same_results_are_no_regression(outcomes: dict[str, tuple[str, bool]]) -> None:
    same = compare(outcomes, outcomes)
    assert (same.newly_failing, same.newly_passing, same.p, same.difference.value) == ([], [], 1.0, 0.0)
    assert not same.is_regression(0.0)


@given(COUNTS)
def test_intervals_hold_their_estimates_within_their_bounds(counts: tuple[int, int, int, int]) -> None:
    both, before, now, neither = counts
    d = paired_difference(*counts)
    assert -1 <= d.low <= d.value + 1e-12 and d.value - 1e-12 <= d.high <= 1
    share = share_of(both + now, sum(counts))
    assert 0 <= share.low <= share.value <= share.high <= 1
    mirrored = share_of(before + neither, sum(counts))
    assert mirrored.low == pytest.approx(1 - share.high)


@pytest.mark.parametrize("n", [1, 10, 50])
def test_wilsons_limits_are_those_at_which_the_score_test_just_holds(n: int) -> None:
    for k in range(1, n):
        for limit in (share_of(k, n).low, share_of(k, n).high):
            assert abs(k / n - limit) == pytest.approx(Z_95 * (limit * (1 - limit) / n) ** 0.5)


def test_the_paired_interval_is_that_of_newcombes_published_example() -> None:
    """Newcombe (1998), method 10 for the cells 36, 12, 2 and 0."""
    d = paired_difference(36, 2, 12, 0)
    assert (round(d.value, 4), round(d.low, 4), round(d.high, 4)) == (0.2, 0.0569, 0.3404)


@pytest.mark.parametrize("shares", [(0.6, 0.1, 0.1, 0.2), (0.85, 0.05, 0.05, 0.05), (0.5, 0.2, 0.1, 0.2), (0.9, 0.1, 0.0, 0.0)])
def test_the_paired_interval_covers_the_true_difference(shares: tuple[float, ...]) -> None:
    draw = random.Random(7)
    covered = 0
    for _ in range(2000):
        found = Counter(draw.choices(range(4), shares, k=60))
        d = paired_difference(*(found[cell] for cell in range(4)))
        covered += d.low <= shares[2] - shares[1] <= d.high
    assert covered / 2000 > 0.93


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    n = b + c
    more_extreme = sum(comb(n, k) for k in range(n + 1) if comb(n, k) <= comb(n, b))
    assert mcnemar(b, c) == pytest.approx(more_extreme / 2**n)


def test_many_changed_cases_are_no_overflow() -> None:
    assert mcnemar(3000, 3000) == 1.0 and mcnemar(0, 5000) < 1e-300
