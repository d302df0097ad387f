"""Kappa equals scikit-learn's, its interval a published one, and rates are corrected by the judge's errors on gold."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.check.agreement import agreement, corrected_rate


def scikit_learn_kappa(first: list[str], second: list[str]) -> float:
    """sklearn.metrics.cohen_kappa_score 1.7, its lines: weighted disagreement over expected disagreement."""
    labels = sorted({*first, *second})
    confusion = np.array([[sum((a, b) == (x, y) for x, y in zip(first, second, strict=True)) for b in labels] for a in labels])
    sum0, sum1 = confusion.sum(axis=0), confusion.sum(axis=1)
    expected = np.outer(sum0, sum1) / np.sum(sum0)
    weights = np.ones_like(confusion) - np.eye(len(labels))
    return float(1 - np.sum(weights * confusion) / np.sum(weights * expected))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=300))
def test_kappa_equals_scikit_learns_to_a_billionth(pairs: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    result = agreement(first, second)
    if len({*first, *second}) == 1:
        assert math.isnan(result.kappa)
    else:
        assert result.kappa == pytest.approx(scikit_learn_kappa(first, second), abs=1e-9)
        assert -1 <= result.low <= result.kappa + 1e-12
        assert result.kappa - 1e-12 <= result.high <= 1


def test_kappa_and_its_interval_equal_a_textbook_example() -> None:
    """Fleiss, Levin and Paik (2003), table 18.1: kappa 0.68, standard error 0.087."""
    table = {("p", "p"): 75, ("p", "n"): 1, ("p", "o"): 4, ("n", "p"): 5, ("n", "n"): 4, ("n", "o"): 1, ("o", "o"): 10}
    pairs = [pair for pair, n in table.items() for _ in range(n)]
    result = agreement([a for a, _ in pairs], [b for _, b in pairs])
    assert result.kappa == pytest.approx(0.676, abs=0.0005)
    assert (result.high - result.low) / 2 / 1.96 == pytest.approx(0.087, abs=0.001)
    assert not result.is_advisory


def test_little_gold_or_low_agreement_makes_scores_advisory() -> None:
    good = ["a", "b"] * 24
    assert agreement(good, good).is_advisory  # perfect, but on 48 rows
    assert not agreement(good + good, good + good).is_advisory
    assert agreement(["a", "b"] * 50, ["a"] * 50 + ["b"] * 50).is_advisory
    assert agreement(["a"] * 60, ["a"] * 60).is_advisory


def test_the_interval_of_a_corrected_rate_has_its_nominal_coverage() -> None:
    """A judge that passes 90 % of good rows and 30 % of bad ones; the truth is 60 % good. 400 repetitions."""
    draw, covered, naive = random.Random(7), 0, 0.0

    def judged_good(good: bool) -> bool:
        return draw.random() < (0.9 if good else 0.3)

    for _ in range(400):
        gold = [draw.random() < 0.6 for _ in range(200)]
        pairs = Counter((judged_good(good), good) for good in gold)
        rate = corrected_rate(Counter(judged_good(draw.random() < 0.6) for _ in range(2000)), gold=pairs)
        assert rate is not None
        covered += rate.low <= 0.6 <= rate.high
        naive += rate.judged / 400
    assert naive > 0.64
    assert 0.93 <= covered / 400 <= 0.97
    assert corrected_rate({True: 1}, gold={(True, True): 1, (True, False): 1}) is None
