"""Narrowing on real texts: what it finds, what it does not cry about, and that odd texts break nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.quality.measures import MEASURES
from synth_ray.quality.narrowing import MIN_ROWS, compare
from tests.unit.quality.real_texts import texts_and_topics

FRAME = "Hello, what about {}? Please let me know how I can {} today."
SIDE = 1_200


def halves(seed: int) -> tuple[list[int], list[int]]:
    """Two random sets of real rows without a row in common."""
    order = np.random.default_rng(seed).permutation(len(texts_and_topics()[0])).tolist()
    return order[:SIDE], order[SIDE:]


def alarms(generated: list[str], real: list[str]) -> set[str]:
    measured = compare(generated, real)
    assert set(measured) == {measure.name for measure in MEASURES}
    return {name for name, facts in measured.items() if facts["verdict"] != "ok"}


def test_two_halves_of_real_rows_raise_no_alarm() -> None:
    """At most one comparison in a hundred may, of all measures together: `bench/quality.py` counts many."""
    texts, _ = texts_and_topics()
    for seed in range(3):
        real, rest = halves(seed)
        assert not alarms([texts[i] for i in rest[:SIDE]], [texts[i] for i in real])


def test_a_template_in_a_tenth_of_the_rows_is_found() -> None:
    texts, _ = texts_and_topics()
    for seed in range(2):
        real, rest = halves(seed)
        generated = [texts[i] for i in rest[:SIDE]]
        for i in range(0, SIDE, 10):
            words = generated[i].split()
            generated[i] = FRAME.format(" ".join(words[:3]), words[-1])
        found = alarms(generated, [texts[i] for i in real])
        assert {"openers", "templates"} & found


def test_the_loss_of_a_fifth_of_the_topics_is_found() -> None:
    texts, topics = texts_and_topics()
    for seed in range(2):
        real, rest = halves(seed)
        names = sorted(set(topics))
        lost = set(np.random.default_rng(seed).choice(names, len(names) // 5, replace=False).tolist())
        generated = [texts[i] for i in rest if topics[i] not in lost][:SIDE]
        assert {"coverage", "clusters", "mauve"} & alarms(generated, [texts[i] for i in real])


def test_rows_repeated_and_rows_all_alike_fail() -> None:
    texts, _ = texts_and_topics()
    real, rest = halves(1)
    held_out = [texts[i] for i in real]
    twice = [texts[i] for i in rest[: SIDE // 2]] * 2
    assert {"repeats", "distinct_4"} <= alarms(twice, held_out)
    alike = compare(["Please tell me where my parcel is and when it will come."] * SIDE, held_out)
    assert alike["coverage"]["verdict"] == alike["openers"]["verdict"] == "fail"


def test_too_few_rows_are_not_measured() -> None:
    assert compare(["one text"] * (MIN_ROWS - 1), ["another text"] * 500) == {}


def test_the_result_depends_on_the_rows_and_is_the_same_each_time() -> None:
    texts, _ = texts_and_topics()
    assert compare(texts[:120], texts[200:300]) == compare(texts[:120], texts[200:300])


def numbers_in(facts: dict[str, Any]) -> list[float]:
    return [v for measure in facts.values() for v in measure.values() if isinstance(v, float)]


ODD = [
    ["", " ", "\n"],
    ["word"],
    ["🙂🙂🙂", "🎉", "👩‍👩‍👧"],
    ["我们明天去北京看长城", "请问我的包裹在哪里", "今天天气很好"],
    ["สวัสดีครับวันนี้อากาศดี", "ขอบคุณมาก"],
    ["x" * 50_000, "a b " * 20_000],
    ["\ud800 broken surrogate", "\x00\x01"],
    ["plain words in a row of text", "other words that stand in a row"],
]


@settings(max_examples=12)
@given(st.sampled_from(ODD), st.sampled_from(ODD), st.integers(MIN_ROWS, 90), st.integers(MIN_ROWS, 90), st.booleans())
def test_odd_texts_give_finite_numbers(ours: list[str], theirs: list[str], n: int, m: int, embed: bool) -> None:
    generated, real = ([side[i % len(side)] for i in range(size)] for side, size in ((ours, n), (theirs, m)))
    vectors = np.zeros((n + m, 8), np.float32) if embed else None
    facts = compare(generated, real, vectors=vectors)
    json.dumps(facts, allow_nan=False)
    assert all(map(math.isfinite, numbers_in(facts)))


@pytest.mark.parametrize("texts", ODD[3:5])
def test_scripts_without_spaces_are_measured_as_words_are(texts: list[str]) -> None:
    many = [f"{text}{i % 97}{text[: i % 7]}" for i in range(200) for text in texts[:1]]
    facts = compare([texts[0]] * 200, many)
    assert facts["coverage"]["verdict"] == "fail" or facts["openers"]["verdict"] == "fail"
