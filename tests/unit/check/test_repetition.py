"""Loops of a model that lost its way are told from lists, tables, matrices, rules, code and songs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.check.repetition import repetition
from synth_ray.job.check import Check

LIMIT = Check().max_repetition


def _text(row: dict[str, Any]) -> str:
    """The parts of a labelled row, each repeated; `{i}` counts from one."""
    return "".join(part.replace("{i}", str(i)) for part, times in row["parts"] for i in range(1, times + 1))


def test_precision_and_recall_on_labelled_texts() -> None:
    lines = (Path(__file__).parent / "repetitions.jsonl").read_text("utf-8").splitlines()
    labelled = [(_text(row), row["loop"]) for row in map(json.loads, lines)]
    loops = [text for text, is_loop in labelled if is_loop]
    assert len(labelled) >= 200 and len(loops) >= 100
    missed = [text[:80] for text in loops if repetition(text) <= LIMIT]
    false = [text[:80] for text, is_loop in labelled if not is_loop and repetition(text) > LIMIT]
    found = len(loops) - len(missed)
    assert found / (found + len(false)) >= 0.97, false
    assert found / len(loops) >= 0.9, missed


_WORDS = st.text("abcdefgh", min_size=2, max_size=6)


@given(st.lists(_WORDS, min_size=4, max_size=12, unique=True), st.integers(12, 40))
def test_any_phrase_said_again_and_again_is_a_loop(words: list[str], times: int) -> None:
    assert repetition((" ".join(words) + ". ") * times) > LIMIT


@given(st.lists(_WORDS, max_size=80, unique=True))
def test_text_without_repeated_words_is_not_a_loop(words: list[str]) -> None:
    assert repetition(" ".join(words)) == 0.0


@given(st.lists(st.integers(0, 9), min_size=9, max_size=9).map(str), st.integers(1, 9))
def test_the_same_numbers_in_a_small_matrix_are_no_loop(row: str, rows: int) -> None:
    assert repetition("\n".join([row] * rows)) <= LIMIT


def test_a_loop_that_goes_on_to_the_end_counts_twice() -> None:
    good = "Mix the flour with water and salt, and let the dough rest under a cloth for two hours. "
    loop = "Then let the dough rest. "
    assert repetition(good * 2 + loop * 6) > LIMIT
    assert (
        repetition(good + loop * 6 + "Bake the bread until it is brown, and serve it with butter and a little salt. " * 2) < LIMIT
    )
