"""Laws of what is counted of rows: any order and division gives the same, sums agree, memory is bounded, quantiles are near."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.quality import profile as profile_module
from synth_ray.quality.funnel_counts import SHOWN_VALUES, FunnelCounts
from synth_ray.quality.leaks import SplitKeys
from synth_ray.quality.number_counts import HISTOGRAM_BINS, NumberCounts, edges_of
from synth_ray.quality.profile import GROUPS, Profile
from synth_ray.quality.value_counts import OTHER, ValueCounts

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=130)  # lone surrogates and control characters too
SLOTS = st.lists(st.tuples(st.one_of(st.none(), st.sampled_from("abcdefgh"), ANY_TEXT), st.integers(0, 2)), max_size=60)
OUTCOMES = [("accepted", ""), ("rejected", "echo"), ("failed", "deadline")]
NUMBERS = st.one_of(st.integers(0, 10**7), st.floats(-1e12, 1e12), st.floats(allow_nan=True, allow_infinity=True))
ROWS = st.lists(st.tuples(st.integers(0, 6), NUMBERS), max_size=80)


def funnel(slots: list[tuple[str | None, int]], most: int) -> FunnelCounts:
    counts = FunnelCounts(most)
    counts.add("class", [value for value, _ in slots], np.array([how for _, how in slots], np.int64), OUTCOMES)
    return counts


@given(slots=SLOTS, most=st.integers(1, 6), cut=st.integers(0, 60), draw=st.randoms())
def test_a_funnel_adds_up_and_neither_order_nor_division_changes_it(
    slots: list[tuple[str | None, int]], most: int, cut: int, draw: Any
) -> None:
    whole = funnel(slots, most).summary()["class"]
    parts = funnel(slots[cut:], most)
    parts.merge(funnel(slots[:cut], most))
    mixed = draw.sample(slots, len(slots))
    assert whole == parts.summary()["class"] == funnel(mixed, most).summary()["class"]
    got = Counter({"accepted": sum(e["accepted"] for e in whole)})
    for entry in whole:
        got.update(entry["rejected"])
        got.update(entry["failed"])
    assert +got == +Counter(["accepted", "echo", "deadline"][how] for _, how in slots)
    assert len([entry for entry in whole if entry["value"] != OTHER]) <= most


def test_values_beyond_those_shown_are_counted_together() -> None:
    slots = [(f"class {n:04}", 0) for n in range(1000) for _ in range(1 + (n < 10))]
    entries = funnel(slots, 20_000).summary()["class"]
    assert (len(entries), entries[-1]["value"]) == (SHOWN_VALUES, OTHER)
    assert [entry["value"] for entry in entries[:10]] == [f"class {n:04}" for n in range(10)]
    assert sum(entry["accepted"] for entry in entries) == 1010


def test_the_number_of_distinct_values_is_estimated_where_not_all_are_kept() -> None:
    counts = ValueCounts(2000)
    counts.add_all([f"value {n}" for n in range(50_000)], np.zeros(50_000, np.int64), ["rows"])
    assert abs(counts.distinct / 50_000 - 1) < 0.1
    assert len(list(counts.items())) == 2000


def test_the_distinct_values_of_a_group_are_its_own_where_not_all_are_kept() -> None:
    """3,000 values, each in ten generated rows; real rows have 300 others, once each, and 50 of a single value."""
    made = Profile()
    for cell, values in ((0, [f"value {n % 3_000}" for n in range(30_000)]), (3, [*map(str, range(300)), *["many"] * 50])):
        cells = np.full(len(values), cell)
        made.count_rows(cells)
        made.add_texts("text", cells, values)
    groups = made.summary()["columns"]["text"]
    assert abs(groups["synthetic"]["distinct"] / 3_000 - 1) < 0.1
    assert abs(groups["real"]["distinct"] / 301 - 1) < 0.2
    assert groups["real"]["distinct"] <= groups["real"]["rows"]


@given(values=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 30)), min_size=1, max_size=60), most=st.integers(1, 8))
def test_no_group_has_more_distinct_values_than_rows(values: list[tuple[int, int]], most: int) -> None:
    with patch.object(profile_module, "MAX_VALUES_OF_COLUMN", most):
        made, cells = Profile(), np.array([cell for cell, _ in values])
        made.count_rows(cells)
        made.add_values("kind", cells, [str(value) for _, value in values])
        for stats in made.summary()["columns"]["kind"].values():
            assert 1 <= stats["distinct"] <= stats["rows"]


def numbers_in(rows: list[tuple[int, float]], **options: bool) -> NumberCounts:
    counts = NumberCounts(**options)
    for start in range(0, len(rows), 7):
        part = rows[start : start + 7]
        counts.add(np.array([cell for cell, _ in part]), np.array([value for _, value in part], np.float64))
    return counts


@given(rows=ROWS, cut=st.integers(0, 80), exact=st.booleans())
def test_numbers_of_two_parts_are_those_of_the_whole(rows: list[tuple[int, float]], cut: int, exact: bool) -> None:
    whole, parts = numbers_in(rows, exact=exact), numbers_in(rows[cut:], exact=exact)
    parts.merge(numbers_in(rows[:cut], exact=exact))
    assert whole.counted(range(7)) == parts.counted(range(7))
    edges = edges_of(whole.counted(range(7)))
    for cells in GROUPS.values():
        mine, theirs = whole.stats(cells, edges), parts.stats(cells, edges)
        mean, other = mine.pop("mean", 0), theirs.pop("mean", 0)
        assert mine == theirs
        assert math.isclose(mean, other, rel_tol=1e-4, abs_tol=1e-5 * max((abs(v) for _, v in whole.counted(cells)), default=0))


@given(rows=ROWS, exact=st.booleans())
def test_a_histogram_has_every_row_once_in_few_adjacent_bins(rows: list[tuple[int, float]], exact: bool) -> None:
    counts = numbers_in(rows, exact=exact)
    edges = edges_of(counts.counted(range(7)))
    for cells in GROUPS.values():
        known = [value for cell, value in rows if cell in cells and not math.isnan(value)]
        stats = counts.stats(cells, edges)
        assert (stats["rows"], stats["missing"]) == (len(known), sum(cell in cells for cell, _ in rows) - len(known))
        bins = stats.get("histogram", [])
        assert len(bins) <= HISTOGRAM_BINS
        assert sum(n for *_, n in bins) == len(known)
        assert all(high == low for (_, high, _), (low, _, _) in itertools.pairwise(bins))


@given(values=st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=200), sign=st.sampled_from([-1, 1]), whole=st.booleans())
def test_quantiles_are_within_two_percent_of_exact(values: list[float], sign: int, whole: bool) -> None:
    values = [float(sign * (round(value) if whole else value)) for value in values]
    counts = numbers_in([(0, value) for value in values], exact=False)
    stats = counts.stats([0], edges_of(counts.counted([0])))
    for name, q in (("p5", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p95", 0.95)):
        exact = float(np.quantile(values, q, method="inverted_cdf"))
        assert math.isclose(stats[name], exact, rel_tol=0.02)
    assert math.isclose(stats["mean"], math.fsum(values) / len(values), rel_tol=1e-5)
    assert math.isclose(stats["min"], min(values), rel_tol=1e-5)
    assert math.isclose(stats["max"], max(values), rel_tol=1e-5)


def test_few_distinct_numbers_are_exact() -> None:
    counts = numbers_in([(0, score) for score in (3.25, 4.0, 4.25, 4.75) for _ in range(300)])
    assert [value for value, _ in counts.counted([0])] == [3.25, 4.0, 4.25, 4.75]


COLUMN = st.lists(st.tuples(st.integers(0, 6), st.one_of(st.none(), st.sampled_from("abc"), ANY_TEXT)), max_size=60)


@given(rows=COLUMN, cut=st.integers(0, 60))
def test_a_profile_of_two_parts_is_that_of_the_whole(rows: list[tuple[int, str | None]], cut: int) -> None:
    def profile(part: list[tuple[int, str | None]]) -> Profile:
        made, cells = Profile(), np.array([cell for cell, _ in part], np.int64)
        made.count_rows(cells)
        made.add_values("kind", cells, [value for _, value in part])
        made.add_texts("text", cells, [value for _, value in part])
        return made

    whole, parts = profile(rows), profile(rows[cut:])
    parts.merge(profile(rows[:cut]))
    assert whole.summary() == parts.summary()
    for group, stats in whole.summary().get("columns", {}).get("kind", {}).items():
        assert stats["rows"] + stats["missing"] == whole.summary()["groups"][group]
        assert sum(n for _, n in stats["top"]) + stats["other"] == stats["rows"]
        assert len(stats["top"]) <= 30


def test_the_texts_of_few_rows_are_in_no_profile() -> None:
    def column(texts: list[str], **options: bool) -> dict[str, Any]:
        made, cells = Profile(), np.zeros(len(texts), np.int64)
        made.count_rows(cells)
        made.add_texts("note", cells, texts, **options)
        return made.summary()["columns"]["note"]["synthetic"]

    sentences = [f"Patient {n} complains of pain." for n in range(40)]
    assert (column(sentences)["kind"], column(sentences[:3])["kind"]) == ("length", "length")
    often = column(["yes"] * 30 + ["no"] * 5 + sentences[:4] + ["twice", "twice"])
    assert (often["distinct"], often["top"], often["other"]) == (7, [["yes", 30], ["no", 5]], 6)
    assert column(["yes", "yes", "no"], are_classes=True)["top"] == [["yes", 2], ["no", 1]]


@given(rows=COLUMN, are_classes=st.booleans())
def test_a_text_that_is_shown_is_a_class_or_of_five_rows(rows: list[tuple[int, str | None]], are_classes: bool) -> None:
    made, cells = Profile(), np.array([cell for cell, _ in rows], np.int64)
    made.count_rows(cells)
    made.add_texts("text", cells, [value for _, value in rows], are_classes=are_classes)
    counts = Counter(value.encode("utf-8", "backslashreplace").decode() for _, value in rows if value is not None)
    for stats in made.summary().get("columns", {}).get("text", {}).values():
        assert all(are_classes or counts[value] >= 5 for value, _ in stats.get("top", []))


@given(groups=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=30), draw=st.randoms())
def test_leaks_are_the_rows_whose_key_is_in_another_split(groups: list[list[int]], draw: Any) -> None:
    rows = [(key, split) for key, splits in enumerate(groups) for split in splits]
    draw.shuffle(rows)
    keys = SplitKeys()
    for key, split in rows:
        keys.add(np.array([key * 0x9E3779B97F4A7C15 % 2**64], np.uint64), np.array([split]))
    assert keys.leaks() == sum(len(splits) for splits in groups if len(set(splits)) > 1)


def test_leaks_of_a_sample_of_keys_are_scaled_up_and_memory_is_bounded() -> None:
    draw = np.random.default_rng(7)
    names = draw.integers(0, 2**64, 60_000, np.uint64)
    keys, splits = SplitKeys(max_keys=5_000), draw.integers(0, 2, 60_000)
    twins = names[:12_000]  # a fifth of the keys are in two splits
    for start in range(0, 60_000, 4_000):
        keys.add(names[start : start + 4_000], splits[start : start + 4_000])
    keys.add(twins, 1 - splits[:12_000])
    assert abs(keys.leaks() / 24_000 - 1) < 0.1
    assert len(keys._keys) == 5_000


def test_a_key_that_only_real_rows_for_evaluation_share_is_no_leak() -> None:
    keys = SplitKeys()
    keys.add(np.array([5, 5], np.uint64), np.array([1, 2]), decided=False)
    assert keys.leaks() == 0
    keys.add(np.array([5], np.uint64), np.array([0]))
    assert keys.leaks() == 3


def test_a_dictionary_column_counts_as_its_texts() -> None:
    values = ValueCounts()
    values.add_all(pa.array(["a", None, "a"]), np.array([0, 1, 1]), ["x", "y"], missing="(none)")
    assert dict(values.items()) == {"a": Counter(x=1, y=1), "(none)": Counter(y=1)}
