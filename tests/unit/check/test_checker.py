"""Every flag, the policy that turns a flag into a reason, and rows that must not be flagged."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.admit.verdicts import first_dropped
from synth_ray.check.checker import open_checker
from synth_ray.check.tokens import open_counter, tiktoken_of
from synth_ray.errors import JobError, MissingResource
from synth_ray.job.check import FLAGS, Check
from synth_ray.records import STAGED
from tests.conftest import TINY_TEACHER
from tests.rows import staged_row

LONG = "Our parcels leave the store each morning and reach most towns within two days of the order."
SCHEMA = {"type": "object", "properties": {"tone": {"enum": ["calm", "angry"]}}, "required": ["tone"]}


def check_rows(
    section: Check, *rows: dict[str, Any], schema: dict[str, Any] | None = None, generated: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    table = pa.Table.from_pylist([staged_row(n, **row) for n, row in enumerate(rows)], schema=STAGED)
    flags = open_checker(section, recipe_schema=schema, generated=generated).flag_rows(table)["flags"].to_pylist()
    reasons = table["reason"].to_pylist()
    return [{"flags": f, "reason": reason or first_dropped(f, section.drop)} for f, reason in zip(flags, reasons, strict=True)]


@pytest.mark.parametrize(
    ("flag", "section", "row"),
    [
        ("empty_completion", {}, {"completion": " \n"}),
        ("truncated", {}, {"finish_reason": "length"}),
        ("too_few_tokens", {"min_tokens": 9}, {"completion_tokens": 8}),
        ("too_many_tokens", {"max_tokens": 9}, {"completion_tokens": 10}),
        ("too_many_tokens", {"max_prompt_tokens": 9}, {"prompt_tokens": 10}),
        ("repetition_loop", {}, {"completion": "the same words again and " * 30}),
        ("repetition_loop", {}, {"completion": "ha" * 60}),
        ("refusal", {}, {"completion": "I’m sorry, but I can’t help with that."}),
        ("refusal", {"refusals": ["no comment"]}, {"completion": "No comment."}),
        ("echo", {}, {"prompt": LONG, "completion": LONG}),
        ("wrong_language", {"script": "latin"}, {"completion": "Добрый день, ваш заказ уже в пути."}),
        ("wrong_language", {"language": ["en"]}, {"completion": "Ihre Bestellung ist schon unterwegs und kommt morgen an."}),
        ("mojibake", {"drop": ["mojibake"]}, {"completion": "Your cafÃ© is open, and we donâ€™t close before ten."}),
        ("not_true", {"verify": "arithmetic"}, {"completion": "2 + 2 = <<2+2=5>>5\n#### 5"}),
        ("not_true", {"verify": "arithmetic"}, {"completion": "#### 5", "fields": '{"answer":"so it is\\n#### 6"}'}),
        ("not_true", {"verify": "label", "labels": ["refund", "late"]}, {"completion": "invoice"}),
        ("not_true", {"verify": "label", "labels": ["refund", "late"]}, {"completion": "late", "fields": '{"answer":"refund"}'}),
        ("not_true", {"verify": "regex", "pattern": r"\d{4}-\d{2}"}, {"completion": "2026-1"}),
    ],
)
def test_each_flag_is_raised_alone_and_becomes_the_reason(flag: str, section: dict[str, Any], row: dict[str, Any]) -> None:
    [bad, good] = check_rows(Check(**section), row, GOOD | {"completion": _good_completion(section)})
    assert (bad["flags"], bad["reason"]) == ([flag], flag)
    assert (good["flags"], good["reason"]) == ([], None)


GOOD = {"completion_tokens": 9, "prompt_tokens": 2, "fields": "{}"}


def _good_completion(section: dict[str, Any]) -> str:
    return {"arithmetic": "2 + 2 = <<2+2=4>>4\n#### 4", "label": " Refund ", "regex": "2026-01"}.get(
        section.get("verify", ""), LONG
    )


def test_an_answer_must_fit_the_recipes_schema() -> None:
    rows = [{"completion": text} for text in ('{"tone":"calm"}', '{"tone":"sad"}', '{"tone":', "[" * 100_000)]
    assert [row["reason"] for row in check_rows(Check(), *rows, schema=SCHEMA)] == [None, *["schema_mismatch"] * 3]


def test_a_flag_that_does_not_drop_is_recorded_and_the_first_in_order_is_the_reason() -> None:
    row = {"finish_reason": "length", "completion": "I am sorry, but I cannot help with that. " + "ha" * 60}
    [kept] = check_rows(Check(drop=[]), row)
    assert kept["reason"] is None
    assert kept["flags"] == [flag for flag in FLAGS if flag in kept["flags"]]
    assert {"truncated", "refusal"} <= set(kept["flags"])
    assert check_rows(Check(drop=["refusal"]), row)[0]["reason"] == "refusal"


def test_what_a_tool_gave_is_not_the_models_to_be_checked() -> None:
    turns = [
        {"role": "user", "content": "Where is my lamp?"},
        {"role": "assistant", "content": '<tool_call>{"arguments":{},"name":"find"}</tool_call>'},
        {"role": "tool", "content": "I'm sorry, but I can't help with that request."},
        {"role": "assistant", "content": LONG},
    ]
    row = GOOD | {"completion": LONG, "messages": turns}
    assert check_rows(Check(), row, generated=("turns",)) == [{"flags": [], "reason": None}]


@pytest.mark.parametrize(
    ("generated", "row"),
    [
        ("prompt", {"prompt": "I'm sorry, but I can't write such an example."}),
        ("rationale", {"fields": '{"rationale":"As an AI, I cannot judge this text."}'}),
        (
            "turns",
            {
                "messages": [
                    {"role": "system", "content": "You help."},
                    {"role": "user", "content": "Where is my lamp?"},
                    {"role": "assistant", "content": "I'm sorry, but I can't help with that request."},
                    {"role": "user", "content": "Why not?"},
                    {"role": "assistant", "content": LONG},
                ]
            },
        ),
    ],
)
def test_a_refusal_counts_wherever_the_recipe_generated_it(generated: str, row: dict[str, Any]) -> None:
    row = GOOD | {"completion": LONG} | row
    assert check_rows(Check(), row, generated=(generated,)) == [{"flags": ["refusal"], "reason": "refusal"}]
    assert check_rows(Check(), row) == [{"flags": [], "reason": None}]


def test_mojibake_is_recorded_and_drops_no_row_unless_asked() -> None:
    assert check_rows(Check(), {"completion": "CafÃ© and brasserie at the old port"}) == [{"flags": ["mojibake"], "reason": None}]


def test_a_row_that_was_never_answered_keeps_its_reason_and_gets_no_flag() -> None:
    assert check_rows(Check(), {"reason": "deadline", "completion": ""}) == [{"flags": [], "reason": "deadline"}]


def test_a_check_without_its_tokenizer_labels_or_pattern_fails_on_open() -> None:
    with pytest.raises(MissingResource, match=r"check\.tokenizer.*'no-such-encoding'"):
        open_checker(Check(tokenizer="no-such-encoding"))
    with pytest.raises(JobError, match="label set"):
        open_checker(Check(verify="label"))
    with pytest.raises(JobError, match="form"):
        open_checker(Check(verify="regex"))


_NO_SPECIAL_TOKENS = st.text(st.characters(exclude_characters="<", exclude_categories=("Cs",)), max_size=80)


@pytest.mark.slow
@given(st.lists(_NO_SPECIAL_TOKENS, min_size=1, max_size=8))
def test_the_teachers_own_tokenizer_counts_the_same_in_tiktoken(texts: list[str]) -> None:
    from tokenizers import Tokenizer

    file = TINY_TEACHER / "tokenizer.json"
    assert tiktoken_of(file) is not None
    encodings = Tokenizer.from_file(str(file)).encode_batch(texts, add_special_tokens=False)
    assert open_counter(str(TINY_TEACHER))(texts) == [len(e.ids) for e in encodings]
