"""What is wrong with a thought, and what must not be taken for it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.admit.verdicts import Policy, first_dropped
from synth_ray.check.checker import open_checker
from synth_ray.check.thoughts import MARKS, ThoughtRules, has_mark
from synth_ray.job.check import DROPPED_BEFORE_THOUGHTS, Check
from synth_ray.job.load import job_from
from synth_ray.records import STAGED, Reason
from tests.rows import staged_row

LONG = "Our parcels leave the store each morning and reach most towns within two days of the order."
RUSSIAN = "Сначала я проверю заказ, потом посмотрю, где сейчас находится посылка."
LOOP = "Wait, I should check the order once more. " * 30
EXPECTED = ThoughtRules(expected=True)


def checked(section: Check, *rows: dict[str, Any], rules: ThoughtRules | None = None) -> list[tuple[list[str], str | None]]:
    """The flags and the detail of each row."""
    table = pa.Table.from_pylist([staged_row(n, completion=LONG) | row for n, row in enumerate(rows)], schema=STAGED)
    flagged = open_checker(section, thoughts=rules).flag_rows(table)
    assert open_checker(section, thoughts=rules).flag_rows(flagged).equals(flagged)
    return list(zip(flagged["flags"].to_pylist(), flagged["detail"].to_pylist(), strict=True))


CUT = {"completion": "", "finish_reason": "length"}


@pytest.mark.parametrize(
    ("row", "flags"),
    [
        (CUT | {"reasoning": "so far so"}, ["truncated_thought"]),
        (CUT | {"reasoning_tokens": 300}, ["truncated_thought"]),  # a server that counts its thoughts and does not show them
        (CUT | {"reasoning": LOOP}, ["truncated_thought", "repetition_loop"]),
        (CUT, ["empty_completion"]),
        (CUT | {"reasoning": " \n"}, ["empty_completion"]),
        ({"completion": "", "reasoning": "so it is"}, ["empty_completion"]),  # it ended by itself, so nothing was cut
        ({"completion": "", "reasoning": LOOP}, ["empty_completion"]),
        ({"finish_reason": "length", "reasoning": "so it is"}, ["truncated"]),
        ({"reasoning": "so it is"}, []),
        ({"reasoning": LOOP}, ["repetition_loop"]),
    ],
)
def test_a_cut_in_the_thought_is_told_from_one_in_the_answer_and_from_an_empty_answer(
    row: dict[str, Any], flags: list[str]
) -> None:
    assert checked(Check(), row)[0][0] == flags
    reason = first_dropped(flags, Check().drop)
    assert reason == (flags[0] if flags else None)


def test_a_row_says_that_its_thought_loops_or_is_in_another_language_and_not_its_answer() -> None:
    rows = [{"reasoning": LOOP}, {"completion": LOOP}, {"completion": LOOP, "reasoning": LOOP}, {"reasoning": RUSSIAN}]
    assert checked(Check(script="latin"), *rows) == [
        (["repetition_loop"], "repetition_loop in the thought"),
        (["repetition_loop"], None),
        (["repetition_loop"], None),
        (["wrong_language"], "wrong_language in the thought"),
    ]
    turns = [
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": "On its way.", "reasoning": LOOP},
        {"role": "user", "content": "And now?"},
        {"role": "assistant", "content": LONG, "reasoning": "as before"},
    ]
    assert checked(Check(), {"messages": turns, "reasoning": "as before"})[0][0] == ["repetition_loop"]


def test_thoughts_may_be_in_another_language_than_answers_where_the_job_says_so() -> None:
    row = {"completion": "Ihre Bestellung ist schon unterwegs und kommt morgen bei Ihnen an.", "reasoning": LONG}
    for wanted, flags in ((None, ["wrong_language"]), ([], []), (["en"], []), (["fr"], ["wrong_language"])):
        assert checked(Check(language=["de"], thought_language=wanted), row)[0][0] == flags


def test_the_answer_alone_is_measured_by_its_tokens() -> None:
    rows = [{"completion_tokens": 90, "reasoning_tokens": 85}, {"completion_tokens": 90}]
    assert [flags for flags, _ in checked(Check(max_tokens=9), *rows)] == [[], ["too_many_tokens"]]
    assert [flags for flags, _ in checked(Check(min_tokens=9), *rows)] == [["too_few_tokens"], []]


@given(mark=st.sampled_from(MARKS), before=st.text("ab <\n", max_size=9), after=st.text("ab >\n", max_size=9))
def test_a_mark_is_found_anywhere_in_an_answer_but_not_where_it_is_spoken_of(mark: str, before: str, after: str) -> None:
    pattern = ThoughtRules().pattern()
    assert has_mark(before + mark + after, pattern) and has_mark(before + mark.lower() + after, pattern)
    assert not has_mark(f"{before}`{mark}`{after}", pattern)
    assert not has_mark(f"{before}\n```\n{mark}\n```\n{after}", pattern)


def test_the_jobs_own_marks_count_too_and_a_real_row_may_have_any() -> None:
    row = {"completion": f"<plan>first</plan> {LONG}"}
    assert checked(Check(), row)[0][0] == []
    [(flags, _)] = checked(Check(), row, rules=ThoughtRules(marks=("<plan>", "</plan>")))
    assert flags == [Reason.THOUGHT_IN_ANSWER]
    policy = Policy.of_checks(Check())
    assert [first_dropped(flags, policy.of(origin)) for origin in ("synthetic", "real")] == ["thought_in_answer", None]


def test_a_row_without_a_thought_is_recorded_where_thoughts_are_kept_and_rejected_where_the_job_says_so() -> None:
    assert checked(Check(), {}) == [([], None)]
    [(flags, _), (with_thought, _), (blank, _), (cut, _)] = checked(
        Check(), {}, {"reasoning": "so it is"}, {"reasoning": " \n"}, CUT | {"reasoning": "so"}, rules=EXPECTED
    )
    assert (flags, with_thought, blank, cut) == (["no_thought"], [], ["no_thought"], ["truncated_thought"])
    assert first_dropped(flags, Check().drop) is None
    assert first_dropped(flags, Check(drop=["no_thought"]).drop) == "no_thought"


def test_flags_of_thoughts_left_out_of_the_default_are_told_by_the_job_s_digest() -> None:
    document = {
        "name": "digests",
        "seeds": "seeds.jsonl",
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": {}}},
        "output": "out",
    }
    choices = [None, DROPPED_BEFORE_THOUGHTS, [*DROPPED_BEFORE_THOUGHTS, "no_thought"], [*Check().drop, "no_thought"]]
    checks = [{} if drop is None else {"drop": drop} for drop in choices]
    digests = [job_from(document | {"check": check}).job_digest("") for check in checks]
    assert len(set(digests)) == len(choices)
    assert digests[0] == job_from(document | {"check": {"drop": Check().drop}}).job_digest("")
