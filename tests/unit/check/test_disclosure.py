"""The disclosure test: exact, rarely wrong about an innocent teacher, and sensitive to one that copies."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.check.disclosure import DigestSample, disclosure

KINDS = {"plan": "category", "cost": "number", "day": "date", "note": "text"}


def record(draw: random.Random) -> dict[str, Any]:
    words = [f"w{draw.randrange(300)}" for _ in range(12)]
    day = f"2025-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"
    cost = draw.choice([None, draw.uniform(0, 9)])
    return {"plan": draw.choice("abc"), "cost": cost, "day": day, "note": " ".join(words)}


def near_copy(row: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    words = row["note"].split()
    return {**row, "note": " ".join(draw.sample(words, len(words) - 3))}


def with_lineages(records: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(row["note"], row) for row in records]  # each its own lineage


@pytest.mark.slow
def test_disclosure_seldom_accuses_an_innocent_teacher_and_always_finds_a_copying_one() -> None:
    accused, caught = 0, 0
    for seed in range(60):
        draw = random.Random(seed)
        shown, held_out = (with_lineages([record(draw) for _ in range(60)]) for _ in range(2))
        innocent = [record(draw) for _ in range(400)]
        accused += disclosure(innocent, shown, held_out, KINDS)["p"] < 0.05
        copying = [near_copy(draw.choice(shown)[1], draw) if draw.random() < 0.5 else record(draw) for _ in range(120)]
        caught += disclosure(copying, shown, held_out, KINDS)["p"] < 0.01
    assert accused <= 7  # of 60, at one in twenty
    assert caught == 60


def test_rows_near_to_the_same_record_count_as_one_observation() -> None:
    """Else a sign test over them would be significant, whichever side that record is on. The same holds for a lineage."""
    draw = random.Random(3)
    shown, held_out = (with_lineages([record(draw) for _ in range(60)]) for _ in range(2))
    rows = [near_copy(shown[7][1], draw) for _ in range(200)]
    result = disclosure(rows, shown, held_out, KINDS)
    assert (result["nearer_to_shown"], result["nearer_to_held_out"]) == (200, 0)
    assert 0.4 < result["p"] < 0.6
    family = [("one", record(draw)) for _ in range(20)]
    rows = [near_copy(draw.choice(family)[1], draw) for _ in range(200)]
    assert disclosure(rows, [*family, *shown], held_out, KINDS)["p"] > 0.2


def test_too_few_records_give_no_result() -> None:
    draw = random.Random(1)
    rows = [record(draw) for _ in range(60)]
    assert disclosure(rows, with_lineages(rows), with_lineages(rows[:5]), KINDS) == {}


@given(st.permutations(range(40)))
def test_a_digest_sample_does_not_depend_on_the_order_of_its_items(order: list[int]) -> None:
    sample, reordered = DigestSample(7), DigestSample(7)
    for n in range(40):
        sample.add(str(n), n)
        reordered.add(str(order[n]), order[n])
    assert sample.values == reordered.values
