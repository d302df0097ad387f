"""The number says how good generated rows are: as good as real ones, worthless, or in between; and it never breaks."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from synth_ray.quality.f1 import scores_of, with_interval
from synth_ray.quality.intervals import drawn_counts
from synth_ray.quality.sample import MAX_CHARACTERS, RowSample, SampledRow
from synth_ray.quality.train_on_synthetic import train_on_synthetic
from synth_ray.quality.usefulness import SHOWN, usefulness
from synth_ray.verify.intervals import wilson
from tests.docstrings import PACKAGES, labelled_docstrings

EACH = 80


@pytest.fixture(scope="module")
def real() -> list[SampledRow]:
    return list(labelled_docstrings(EACH))


@pytest.fixture(scope="module")
def other() -> list[SampledRow]:
    """Real rows as well, to stand for perfect generated ones."""
    return list(labelled_docstrings(EACH // 2, start=EACH))


def relabelled(rows: Sequence[SampledRow]) -> list[SampledRow]:
    labels = random.Random(1).sample([row.label for row in rows], len(rows))
    return [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]


def test_rows_as_good_as_real_ones_train_as_well(real: list[SampledRow], other: list[SampledRow]) -> None:
    facts = train_on_synthetic(other, real)
    for rows in (facts["train_rows"], facts["real"]["train_rows"], facts["test_rows"]):
        assert rows == pytest.approx(len(real) / 2, abs=2)  # but for texts that differ in their punctuation
    assert facts["macro_f1"] == pytest.approx(facts["real"]["macro_f1"], abs=0.08)
    assert facts["low"] < facts["macro_f1"] < facts["high"]
    assert facts["gain"]["value"] == pytest.approx(facts["both"]["macro_f1"] - facts["real"]["macro_f1"], abs=2e-4)
    assert facts["gain"]["low"] > 0  # twice as many rows
    learnt = [point["synthetic"] for point in facts["curve"] if point["synthetic"] is not None]
    assert facts["baseline"]["macro_f1"] < 0.05 < learnt[0] < learnt[-1] == facts["macro_f1"]
    assert len(facts["curve"]) in (4, 5)
    assert {fact["class"] for fact in facts["classes"]} == set(PACKAGES)


def test_wrong_labels_and_a_template_show(real: list[SampledRow], other: list[SampledRow]) -> None:
    wrong = train_on_synthetic(relabelled(other), real)
    assert wrong["high"] < wrong["real"]["low"]
    assert wrong["gain"]["high"] < 0
    template = [replace(row, text=f"A function of {row.label}, number {i}") for i, row in enumerate(other)]
    assert train_on_synthetic(template, real)["high"] < 0.5


def test_a_copy_of_a_test_row_does_not_train(real: list[SampledRow]) -> None:
    """By lineage, and by its words where no lineage is known."""
    split = train_on_synthetic(real, real)
    by_lineage = [replace(row, id=row.id[::-1], text=f"{row.text} anew", group=row.id) for row in real]
    by_words = [replace(row, id=row.id[::-1], text=f"  {row.text.upper()}") for row in real]
    for copies in (by_lineage, by_words):
        facts = train_on_synthetic(copies, real)
        assert facts["train_rows"] == split["real"]["train_rows"]
        assert facts["macro_f1"] == pytest.approx(facts["real"]["macro_f1"], abs=0.05)


def test_classes_of_one_side_are_named_and_never_left_out_silently(real: list[SampledRow], other: list[SampledRow]) -> None:
    ours = [row for row in other if row.label != "numpy"] + [replace(other[0], id="f" * 32, label="rust", text="fn main")]
    single = SampledRow("0" * 32, "one row alone", "single")
    facts = train_on_synthetic([*ours, replace(single, id="e" * 32, text="another")], [*real, single])
    assert facts["only_real"] == {"classes": 1, "first": ["numpy"]}
    assert facts["only_synthetic"] == {"classes": 1, "first": ["rust"]}
    assert facts["not_tested"] == {"classes": 1, "first": ["single"]}
    numpy = next(fact for fact in facts["classes"] if fact["class"] == "numpy")
    assert numpy["f1"] == 0 < numpy["f1_real"]
    assert numpy["high"] > 0


def of_classes(names: Sequence[str], each: int, *, first: int) -> list[SampledRow]:
    places = [name for name in names for _ in range(each)]
    return [SampledRow(f"{first + i:032x}", f"{name} matter {first + i}", name) for i, name in enumerate(places)]


def test_of_more_classes_than_can_be_tested_the_most_frequent_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.quality.train_on_synthetic.MAX_CLASSES", 5)
    names = [f"class{k}" for k in range(8)]
    ours, theirs = of_classes(names, 8, first=0), of_classes(names, 8, first=1_000)
    facts = train_on_synthetic(ours, [*theirs, *of_classes(names[3:], 4, first=2_000)])
    assert [fact["class"] for fact in facts["classes"]] == names[3:]
    assert facts["not_tested"] == {"classes": 3, "first": names[:3]}
    assert (facts["train_rows"], facts["real"]["train_rows"], facts["test_rows"]) == (40, 30, 30)


def test_few_of_very_many_generated_classes_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a fit grows with their number: only the most frequent may be mistaken for the tested ones."""
    monkeypatch.setattr("synth_ray.quality.train_on_synthetic.MAX_CLASSES", 5)
    names, junk = ["one", "two", "three"], [f"junk{k:02}" for k in range(40)]
    ours = [*of_classes(names, 10, first=0), *of_classes(junk, 1, first=1_000), *of_classes(junk[7:9], 2, first=2_000)]
    facts = train_on_synthetic(ours, of_classes(names, 20, first=3_000))
    assert facts["train_rows"] == 3 * 10 + 2 * 3
    assert facts["only_synthetic"] == {"classes": 40, "first": junk[:20]}


@pytest.mark.parametrize(
    ("generated", "real_rows", "sentence"),
    [
        ([], [("a text", "a")], "wanted a class for the generated rows, got none for 0"),
        ([("a text", "a")], [("a text", "")], "wanted real rows with a class, got none among 1"),
        ([(f"text {i}", "a") for i in range(50)], [(f"row {i}", "a") for i in range(50)], "wanted at least 2 classes, got 1"),
        ([(f"text {i}", f"c{i}") for i in range(500)], [(f"row {i}", f"c{i}") for i in range(500)], "got 0 rows of 0 classes"),
        ([("text", "a"), ("text", "b")], [(f"row {i}", "ab"[i % 2]) for i in range(50)], "wanted at least 20 generated rows"),
    ],
)
def test_what_cannot_be_measured_is_told(generated: list[Any], real_rows: list[Any], sentence: str) -> None:
    ours, theirs = ([SampledRow(f"{i:032x}", *row) for i, row in enumerate(side)] for side in (generated, real_rows))
    facts = train_on_synthetic(ours, theirs)
    assert set(facts) == {"not_measured"}
    assert sentence in facts["not_measured"]
    assert "; " in facts["not_measured"]  # and what to do


TEXTS = st.one_of(
    st.text(max_size=30), st.just("many words " * 300), st.sampled_from(["", "\n", "a b", "yes\tno", "\ud800", "上で走る"])
)
LABELS = st.sampled_from(["", "a", "b\n", "\x00", "c d"])
GROUPS = st.sampled_from(["", "", "one", "two"])
ROWS = st.builds(
    lambda rows, times: [(f"{text} {i}" if i else text, *more) for i in range(times) for text, *more in rows],
    st.lists(st.tuples(TEXTS, LABELS, GROUPS), max_size=10),
    st.sampled_from([1, 20]),
)


@settings(deadline=None, max_examples=25)
@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_any_rows_give_numbers_or_a_sentence_in_any_order(first: list[Any], second: list[Any], draw: random.Random) -> None:
    ours, theirs = (
        [SampledRow(f"{i * 7919 % 2**64:032x}", text, label, group=group) for i, (text, label, group) in enumerate(side)]
        for side in (first, second)
    )
    facts = usefulness(ours, theirs, are_seeds=True)
    assert all_finite(facts)
    assert facts == usefulness(draw.sample(ours, len(ours)), draw.sample(theirs, len(theirs)), are_seeds=True)


def all_finite(value: Any) -> bool:
    """Whether JSON can hold it, and a gate can compare it."""
    json.dumps(value, allow_nan=False)
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    return not isinstance(value, float) or math.isfinite(value)


def test_seeds_as_real_rows_are_noted(real: list[SampledRow], other: list[SampledRow]) -> None:
    facts = usefulness(other, real, are_seeds=True)
    assert facts["tstr"]["note"] == facts["perplexity"]["note"] == SHOWN
    assert isinstance(facts["tstr"]["macro_f1"], float)
    assert isinstance(facts["perplexity"]["ratio"], float)
    assert isinstance(facts["label_noise"]["share"], float)


def test_a_sample_keeps_the_group_of_a_long_row() -> None:
    sample = RowSample()
    sample.add([SampledRow("0" * 32, "x" * 9_000, "a", "train", "seed")])
    assert sample.rows == [SampledRow("0" * 32, "x" * MAX_CHARACTERS, "a", "train", "seed")]


CLASSES = np.arange(5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=60))
def test_macro_f1_is_scikit_learns(rows: list[tuple[int, int, int]]) -> None:
    true, predicted, weights = (np.array(column) for column in zip(*rows, strict=True))
    present = np.unique(true[weights > 0])
    if len(present):
        scores = scores_of(true, predicted, weights[:, None], classes=CLASSES)
        options = {"sample_weight": weights, "labels": present, "average": "macro", "zero_division": 0.0}
        assert scores.macro[0] == pytest.approx(f1_score(true, predicted, **options))


def test_its_interval_covers_what_many_rows_would_give() -> None:
    """A classifier that is right on 7 rows of 10 and guesses the others, tested on 150 rows, 200 times."""
    draw, covered = np.random.default_rng(1), 0
    weights = [np.ones((150, 1)), drawn_counts(150, seed=2)]
    for _ in range(200):
        true = draw.integers(0, 5, 150)
        predicted = np.where(draw.random(150) < 0.7, true, draw.integers(0, 5, 150))
        observed, drawn = (scores_of(true, predicted, counts, classes=CLASSES).macro for counts in weights)
        facts = with_interval("macro_f1", observed, drawn)
        covered += facts["low"] <= 0.76 <= facts["high"]
    assert 0.91 <= covered / 200 <= 0.99


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    published = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (n, of), interval in published.items():
        assert wilson(n, of) == pytest.approx(interval, abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
