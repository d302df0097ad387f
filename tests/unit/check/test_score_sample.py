"""Scores are sampled by the rows' ids: all of them up to a bound, and then the same ones in any order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.check.score_sample import ScoreSample
from synth_ray.records import digest


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 80), bound=st.integers(1, 40), seed=st.integers(0, 99), looks=st.sets(st.integers(0, 80)))
def test_the_sample_is_bounded_and_of_the_rows_alone(rows: int, bound: int, seed: int, looks: set[int]) -> None:
    judged = [(digest("row", i), float(i), i) for i in range(rows)]
    sample = ScoreSample(bound)
    for at, row in enumerate(random.Random(seed).sample(judged, rows)):
        sample.add(*row)
        assert len(sample._places) <= 2 * bound
        if at in looks:
            assert len(sample.scores_and_lengths[0]) == min(at + 1, bound)
    scores, lengths = sample.scores_and_lengths
    assert sorted(scores) == sorted(lengths) == sorted(score for _, score, _ in sorted(judged)[:bound])
