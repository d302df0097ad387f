"""The disclosure test: exact, fair to an innocent teacher, and able to tell one that copies."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.check.disclosure import DigestSample, disclosure

KINDS = {"plan": "category", "cost": "number", "day": "date", "note": "text"}


def record(draw: random.Random) -> dict[str, Any]:
    words = [f"w{draw.randrange(300)}" for _ in range(12)]
    day = f"2025-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"
    cost = draw.choice([None, draw.uniform(0, 9)])
    return {"plan": draw.choice("abc"), "cost": cost, "day": day, "note": " ".join(words)}


def near(one: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    words = one["note"].split()
    return {**one, "note": " ".join(draw.sample(words, len(words) - 3))}


def known(records: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(one["note"], one) for one in records]  # each its own lineage, and the same at every run


def test_an_innocent_teacher_is_seldom_accused_and_a_copying_one_always_found() -> None:
    accused, found = 0, 0
    for seed in range(60):
        draw = random.Random(seed)
        shown, held = (known([record(draw) for _ in range(60)]) for _ in range(2))
        innocent = [record(draw) for _ in range(400)]
        accused += disclosure(innocent, shown, held, KINDS)["p"] < 0.05
        copying = [near(draw.choice(shown)[1], draw) if draw.random() < 0.5 else record(draw) for _ in range(120)]
        found += disclosure(copying, shown, held, KINDS)["p"] < 0.01
    assert accused <= 7  # of 60, at one in twenty
    assert found == 60


def test_rows_that_are_all_near_to_one_record_are_one_witness() -> None:
    """A sign test over them would be sure, whichever side that record fell on; so it is with a lineage."""
    draw = random.Random(3)
    shown, held = (known([record(draw) for _ in range(60)]) for _ in range(2))
    rows = [near(shown[7][1], draw) for _ in range(200)]
    told = disclosure(rows, shown, held, KINDS)
    assert (told["nearer_to_shown"], told["nearer_to_held_out"]) == (200, 0)
    assert 0.4 < told["p"] < 0.6
    family = [("one", record(draw)) for _ in range(20)]
    rows = [near(draw.choice(family)[1], draw) for _ in range(200)]
    assert disclosure(rows, [*family, *shown], held, KINDS)["p"] > 0.2


def test_too_few_tell_nothing() -> None:
    draw = random.Random(1)
    some = [record(draw) for _ in range(60)]
    assert disclosure(some, known(some), known(some[:5]), KINDS) == {}


@given(st.permutations(range(40)))
def test_a_sample_is_the_same_whichever_way_they_come(order: list[int]) -> None:
    one, other = DigestSample(7), DigestSample(7)
    for n in range(40):
        one.add(str(n), n)
        other.add(str(order[n]), order[n])
    assert one.values == other.values
