"""pass@k is unbiased, and asking until a rate is settled reaches the decisions of a fixed n for fewer asks."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.passes import simulate
from synth_ray.recipes.pass_rates import Band, Side, difficulty_of, pass_at_k
from synth_ray.recipes.passes import Passes

COUNTS = st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
EDGES = {"hard": 0.35, "medium": 0.65, "easy": 1.0}


@given(COUNTS)
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(counts: tuple[int, int, int]) -> None:
    n, correct, k = counts
    draws = list(combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    assert pass_at_k(n, correct, n + 1) is None


def test_pass_at_k_as_published() -> None:
    assert pass_at_k(16, 3, 4) == pytest.approx(1 - 715 / 1820)  # C(13, 4) / C(16, 4)


def test_the_default_steps_reach_the_decisions_of_16_answers_for_three_fifths_of_the_asks() -> None:
    options = Passes.model_validate({})
    assert options.steps[-1] == 16
    found = simulate(options.steps, options.risk, prompts=20_000, seed=5)
    assert found["asks"] <= 0.60
    assert found["same"] >= 0.975
    assert found["right"] >= found["right of fixed"] - 0.015


@given(st.integers(0, 16), st.integers(1, 16), st.integers(1, 48))
def test_without_risk_only_what_cannot_change_is_settled(correct: int, judged: int, remaining: int) -> None:
    correct = min(correct, judged)
    band = Band(0.2, 0.8)
    predicted = band.predicted(correct, judged, remaining)
    assert sum(predicted.values()) == pytest.approx(1)
    if predicted[band.side(correct, judged)] == pytest.approx(1, abs=1e-12):
        assert band.is_settled(correct, judged, remaining, 1e-9)
    assert band.is_settled(correct, judged, 0, 0)
    assert not band.is_settled(0, 0, remaining, 0.4)


@pytest.mark.parametrize(
    ("correct", "n", "name"),
    [(0, 8, "unsolved"), (8, 8, "solved"), (1, 8, "hard"), (4, 8, "medium"), (7, 8, "easy"), (0, 1, "unsolved")],
)
def test_each_rate_has_one_difficulty(correct: int, n: int, name: str) -> None:
    assert difficulty_of(correct, n, EDGES) == name


def test_both_ends_of_a_band_are_inside() -> None:
    band = Band(0.25, 0.75)
    assert [band.side(c, 8) for c in (1, 2, 6, 7)] == [Side.BELOW, Side.INSIDE, Side.INSIDE, Side.ABOVE]
