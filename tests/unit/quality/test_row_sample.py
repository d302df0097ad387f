"""Samples merge: whatever the parts, and in whatever order, the sample and the measures are the same."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.quality.definitions import moments, vendi_score
from synth_ray.quality.narrowing import compare
from synth_ray.quality.sample import MAX_CHARACTERS, RowSample, SampledRow
from synth_ray.records import digest
from tests.unit.quality.real_texts import texts_and_topics


def sampled(rows: list[SampledRow], limit: int) -> RowSample:
    sample = RowSample(limit)
    sample.add(rows)
    return sample


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 40), st.integers(1, 6))
def test_any_division_in_any_order_gives_the_smallest_ids(seed: int, size: int, limit: int, parts: int) -> None:
    draw = random.Random(seed)
    rows = [SampledRow(digest(seed, i), f"text {i}") for i in range(size)]
    shuffled = draw.sample(rows, size)
    samples = [sampled(shuffled[k::parts], limit) for k in range(parts)]
    merged = RowSample(limit)
    for part in draw.sample(samples, parts):
        merged.merge(part)
        merged.merge(part)  # a part that is delivered twice changes nothing
    assert merged.rows == sorted(rows, key=lambda row: row.id)[:limit]
    assert all(row.id < merged.limit for row in rows if row not in merged.rows) is (size <= limit)


@settings(max_examples=3)
@given(st.integers(0, 2**32))
def test_measures_of_merged_samples_are_those_of_all_rows(seed: int) -> None:
    texts, _ = texts_and_topics()
    rows = [SampledRow(digest("row", i), text) for i, text in enumerate(texts[:600])]
    draw = random.Random(seed)
    parts = draw.randint(2, 5)
    merged, shuffled = RowSample(150), draw.sample(rows, len(rows))
    for k in range(parts):
        merged.merge(sampled(shuffled[k::parts], 150))
    real = list(texts[700:850])
    assert compare([r.text for r in merged.rows], real) == compare([r.text for r in sampled(rows, 150).rows], real)


def test_long_texts_are_cut() -> None:
    assert len(sampled([SampledRow("0", "a" * 10_000)], 3).rows[0].text) == MAX_CHARACTERS


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_the_moments_of_parts_add_up_to_the_vendi_score_of_all_rows(seed: int, parts: int) -> None:
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((60, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    merged = sum(moments(vectors[k::parts]) for k in range(parts))
    kernel = np.linalg.eigvalsh(vectors @ vectors.T / 60)  # the definition, over pairs of rows
    kernel = kernel[kernel > 1e-12]
    assert np.isclose(vendi_score(merged), np.exp(-(kernel * np.log(kernel)).sum()))
