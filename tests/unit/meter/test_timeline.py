"""The timeline of a run: bounded, in order, and its rates add up to the tokens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.meter.timeline import MAX_POINTS, Timeline

steps = st.lists(st.tuples(st.floats(0, 2000), st.integers(0, 100_000), st.integers(0, 4096), st.integers(0, 64)), max_size=400)


@given(steps)
def test_points_are_few_and_ascend_and_integrate_to_the_tokens(steps: list[tuple[float, int, int, int]]) -> None:
    timeline, now = Timeline(), 0.0
    for seconds, tokens, in_flight, replicas in steps:
        now += seconds
        timeline.tick(now, tokens=tokens, in_flight=in_flight, replicas=replicas)
    points = timeline.points()
    ends = [0.0, *(point["t_s"] for point in points)]
    assert len(points) <= MAX_POINTS
    assert all(before < after for before, after in pairwise(ends))
    total = sum(tokens for _, tokens, _, _ in steps) if points else 0
    integral = sum(
        point["completion_tokens_s"] * (end - begin) for point, (begin, end) in zip(points, pairwise(ends), strict=True)
    )
    assert integral == pytest.approx(total, abs=0.001 * max(1.0, now))  # rates have three decimals
    assert all(point["in_flight"] <= 4096 and point["replicas"] <= 64 for point in points)


def test_a_steady_run_is_told_as_it_was_at_any_length() -> None:
    for seconds in (10, 1_000, 100_000):
        timeline = Timeline()
        for tick in range(1, 501):
            timeline.tick(tick * seconds / 500, tokens=seconds, in_flight=8, replicas=2)
        points = timeline.points()
        assert len(points) >= min(seconds, MAX_POINTS // 3)
        assert points[-1]["t_s"] == seconds
        assert {(p["in_flight"], p["replicas"]) for p in points} == {(8.0, 2.0)}
        assert all(p["completion_tokens_s"] == pytest.approx(500, rel=0.1) for p in points)
