"""Kappa is scikit-learn's, its interval is the published one, and a rate is corrected by the judge's own errors."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.check.agreement import agreement, corrected_rate


def of_scikit_learn(one: list[str], other: list[str]) -> float:
    """sklearn.metrics.cohen_kappa_score 1.7, its lines: weighted disagreement over expected disagreement."""
    labels = sorted({*one, *other})
    confusion = np.array([[sum((a, b) == (x, y) for x, y in zip(one, other, strict=True)) for b in labels] for a in labels])
    sum0, sum1 = confusion.sum(axis=0), confusion.sum(axis=1)
    expected = np.outer(sum0, sum1) / np.sum(sum0)
    weights = np.ones_like(confusion) - np.eye(len(labels))
    return float(1 - np.sum(weights * confusion) / np.sum(weights * expected))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=300))
def test_kappa_is_scikit_learns_to_a_billionth(pairs: list[tuple[str, str]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = agreement(one, other)
    if len({*one, *other}) == 1:
        assert math.isnan(found.kappa)
    else:
        assert found.kappa == pytest.approx(of_scikit_learn(one, other), abs=1e-9)
        assert -1 <= found.low <= found.kappa + 1e-12
        assert found.kappa - 1e-12 <= found.high <= 1


def test_kappa_and_its_interval_are_those_of_the_textbook() -> None:
    """Fleiss, Levin and Paik (2003), table 18.1: kappa 0.68, standard error 0.087."""
    table = {("p", "p"): 75, ("p", "n"): 1, ("p", "o"): 4, ("n", "p"): 5, ("n", "n"): 4, ("n", "o"): 1, ("o", "o"): 10}
    pairs = [pair for pair, n in table.items() for _ in range(n)]
    found = agreement([a for a, _ in pairs], [b for _, b in pairs])
    assert found.kappa == pytest.approx(0.676, abs=0.0005)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(0.087, abs=0.001)
    assert not found.is_advisory


def test_little_gold_or_little_agreement_makes_scores_advice() -> None:
    good = ["a", "b"] * 24
    assert agreement(good, good).is_advisory  # perfect, but on 48 rows
    assert not agreement(good + good, good + good).is_advisory
    assert agreement(["a", "b"] * 50, ["a"] * 50 + ["b"] * 50).is_advisory
    assert agreement(["a"] * 60, ["a"] * 60).is_advisory


def test_a_corrected_rate_covers_the_truth_as_often_as_it_says() -> None:
    """A judge that passes 90 % of good rows and 30 % of bad ones; the truth is 60 % good. 400 repetitions."""
    draw, covered, naive = random.Random(7), 0, 0.0

    def judges(good: bool) -> bool:
        return draw.random() < (0.9 if good else 0.3)

    for _ in range(400):
        gold = [draw.random() < 0.6 for _ in range(200)]
        pairs = Counter((judges(good), good) for good in gold)
        rate = corrected_rate(Counter(judges(draw.random() < 0.6) for _ in range(2000)), gold=pairs)
        assert rate is not None
        covered += rate.low <= 0.6 <= rate.high
        naive += rate.judged / 400
    assert naive > 0.64
    assert 0.93 <= covered / 400 <= 0.97
    assert corrected_rate({True: 1}, gold={(True, True): 1, (True, False): 1}) is None
