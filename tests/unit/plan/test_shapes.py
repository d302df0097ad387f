"""The shapes of the ecosystem are read whole: text, calls, results and weights in their order, or the row is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.plan.shapes import NoField, WrongType, canonical_fields
from synth_ray.recipes.markup import call_text, split_calls

U, A, S, T = "user", "assistant", "system", "tool"
PIER = call_text("find_pier", {"boat": "Ida"})
TIDE = call_text("tide", {"day": 2})


def fields(row: Any, shape: str = "auto") -> dict[str, Any]:
    return canonical_fields(row, shape=shape, mapping={})


def turns(row: Any, shape: str = "auto") -> list[tuple[str, str]]:
    """The whole conversation that was read, as a row of `build` holds it."""
    read = fields(row, shape)
    before = read.get("messages") or [{"role": U, "content": read["prompt"]}]
    said = [(m["role"], m["content"]) for m in [*before, *read.get("tool_turns", [])]]
    assert [text for role, text in said if role == U][-1] == read["prompt"]
    return [*said, *([(A, read["answer"])] if "answer" in read else [])]


def called(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}} | more


def openai(*after: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": U, "content": "Which pier?"}, *after]}


RESULT = {"role": T, "content": "Pier 4"}
LAST = {"role": A, "content": "It is pier 4."}
CALLED = [(U, "Which pier?"), (A, PIER), (T, "Pier 4"), (A, "It is pier 4.")]


@pytest.mark.parametrize(
    "call",
    [
        {"role": A, "content": None, "tool_calls": [called("find_pier", '{"boat": "Ida"}', id="a")]},
        {"role": A, "tool_calls": [called("find_pier", {"boat": "Ida"}, id="a", index=0)]},
        {"role": A, "content": "", "function_call": {"name": "find_pier", "arguments": '{"boat":"Ida"}'}},
        {"role": A, "content": [], "tool_calls": json.dumps([called("find_pier", '{"boat": "Ida"}')]), "refusal": None},
        {"role": A, "content": PIER},
        {"from": "function_call", "value": '{"name": "find_pier", "arguments": {"boat": "Ida"}}'},
    ],
)
def test_a_call_is_kept_in_the_text_of_its_turn_however_it_is_spelled(call: dict[str, Any]) -> None:
    named = {"role": "function", "name": "find_pier", "content": "Pier 4"}
    for result in (RESULT, named, {"from": "observation", "value": "Pier 4"}):
        read = turns(openai(call, result, LAST))
        assert read == CALLED


def test_text_beside_calls_stays_and_results_come_in_the_order_of_the_calls() -> None:
    both = [called("find_pier", '{"boat":"Ida"}', id="a"), called("tide", '{"day":2}', id="b")]
    call = {"role": A, "content": "Let me look.", "tool_calls": both}
    results = [RESULT | {"tool_call_id": "a"}, {"role": T, "tool_call_id": "b", "name": "tide", "content": "low"}]
    wanted = [(U, "Which pier?"), (A, f"Let me look.\n{PIER}\n{TIDE}"), (T, "Pier 4"), (T, "low"), (A, "It is pier 4.")]
    for order in (results, results[::-1]):
        row = openai(call, *order, LAST)
        assert turns(row) == wanted
        assert "turn_fields" not in fields(row)


def test_a_table_gives_every_turn_all_keys_and_null_means_absent() -> None:
    keys = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "weight", "refusal", "audio")
    call = {"role": A, "content": None, "tool_calls": [called("find_pier", '{"boat":"Ida"}', id="a", index=None)]}
    row = openai(*(dict.fromkeys(keys) | turn for turn in (call, RESULT | {"tool_call_id": "a"}, LAST)))
    assert turns(row) == CALLED
    assert set(fields(row)) == {"prompt", "messages", "tool_turns", "answer"}


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        ({"content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two.", "image_url": None}]}, "One.\nTwo."),
        ({"content": ["One."]}, "One."),
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"content": [{"type": "refusal", "refusal": "I will not."}]}, "I will not."),
        ({"content": None}, ""),
    ],
)
def test_the_text_of_a_turn_is_found_in_parts_and_refusals(turn: dict[str, Any], text: str) -> None:
    assert turns(openai({"role": A, **turn})) == [(U, "Which pier?"), (A, text)]


@pytest.mark.parametrize(
    "after",
    [
        [{"role": A, "content": [{"type": "text", "text": "See:"}, {"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": A, "content": [{"type": "text", "text": "See:", "image": "x"}]}],
        [{"role": A, "content": [{"type": ["text"], "text": "See:"}]}],
        [{"role": A, "content": "Hear:", "audio": {"id": "x"}}],
        [{"role": A, "content": {"text": "no"}}],
        [{"role": A}],
        [{"role": A, "content": None, "tool_calls": [called("f", "{'no': 'json'}")]}],
        [{"role": A, "content": None, "tool_calls": [called("f", '{"n": NaN}')]}],
        [{"role": A, "content": None, "tool_calls": [called("f", '{"n": 1, "n": 2}')]}],
        [{"role": A, "content": None, "tool_calls": [called("f", "[1]")]}],
        [{"role": A, "content": None, "tool_calls": [{"type": "custom", "custom": {"name": "f", "input": "x"}}]}],
        [{"role": A, "content": None, "tool_calls": [called("f", "{}", id=["a"])]}],
        [{"role": A, "content": None, "tool_calls": 7}],
        [{"role": U, "content": "x", "tool_calls": [called("f", "{}")]}],
        [{"role": A, "content": None, "tool_calls": [called("f", "{}", id="a")]}, RESULT | {"tool_call_id": "b"}, LAST],
        [{"role": A, "content": None, "tool_calls": [called("f", "{}", id="a")]}, RESULT],
        [{"role": "narrator", "content": "Meanwhile"}, LAST],
        [{"role": 3, "content": "x"}],
        ["text"],
    ],
)
def test_a_conversation_that_cannot_be_kept_whole_is_refused(after: list[Any]) -> None:
    with pytest.raises(WrongType):
        fields(openai(*after))


def test_a_turn_of_weight_0_keeps_its_weight_and_is_never_the_answer() -> None:
    wrong = {"role": A, "content": "Pier 9.", "weight": 0}
    again = {"role": U, "content": "Sure?", "name": "ann"}
    read = fields(openai(wrong, again, LAST | {"weight": 1}))
    assert (read["answer"], read["turn_fields"]) == ("It is pier 4.", [{}, {"weight": 0}, {"name": "ann"}, {}])
    for flag in ({"weight": 0}, {"weight": 0.0}, {"train": False}, {"loss": False}):
        with pytest.raises(NoField, match="weight 0"):
            fields(openai({"role": A, "content": "Pier 9."} | flag))


def test_the_thought_of_the_answer_is_a_field_and_that_of_earlier_turns_stays_with_them() -> None:
    thoughtful = {"role": A, "content": "Hm.", "reasoning_content": "first"}
    read = fields(openai(thoughtful, {"role": U, "content": "So?"}, LAST | {"reasoning_content": "second"}))
    both = fields(openai(LAST | {"reasoning_content": "second", "reasoning": "second"}))
    assert (both["reasoning"], "turn_fields" in both) == ("second", False)
    assert (read["reasoning"], read["turn_fields"][1]) == ("second", {"reasoning_content": "first"})


@pytest.mark.parametrize("asker", ["human", "user", "User", "prompter"])
@pytest.mark.parametrize("speaker", ["gpt", "assistant", "ASSISTANT", "chatgpt", "bing", "bard", "model"])
def test_speakers_of_sharegpt_have_many_names(asker: str, speaker: str) -> None:
    said = [{"from": asker, "value": "Hi."}, {"from": speaker, "value": "Ho."}]
    for column in ("conversations", "conversation", "messages"):
        assert turns({column: said}) == [(U, "Hi."), (A, "Ho.")]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (
            {"conversations": [{"from": "gpt", "value": "Ahoy."}, {"from": "human", "value": "Hi."}], "system": "Be kind."},
            [(S, "Be kind."), (A, "Ahoy."), (U, "Hi.")],
        ),
        ({"messages": [{"role": "developer", "content": "d"}, {"role": U, "content": "u"}]}, [(S, "d"), (U, "u")]),
        ({"messages": [], "conversations": [{"from": "human", "value": "Hi."}]}, [(U, "Hi.")]),
        (
            {"instruction": "Now?", "input": "", "output": "Yes.", "system": "Be kind.", "history": [["Then?", "No."]]},
            [(S, "Be kind."), (U, "Then?"), (A, "No."), (U, "Now?"), (A, "Yes.")],
        ),
        ({"instruction": "Do", "input": "this"}, [(U, "Do\n\nthis")]),
        ({"instruction": "Do", "input": None, "output": None, "response": "done"}, [(U, "Do"), (A, "done")]),
        ({"instruction": "Do", "input": "this", "chosen": "done", "rejected": "no"}, [(U, "Do\n\nthis"), (A, "done")]),
        ({"prompt": [{"role": U, "content": "u"}], "completion": [{"role": A, "content": "a"}]}, [(U, "u"), (A, "a")]),
        (
            {"prompt": [{"role": U, "content": "u"}], "completion": [LAST, {"role": U, "content": "v"}, LAST]},
            [(U, "u"), (A, "It is pier 4."), (U, "v"), (A, "It is pier 4.")],
        ),
        ({"prompt": [{"role": U, "content": "u"}], "answer": "a"}, [(U, "u"), (A, "a")]),
        ({"prompt": [{"role": S, "content": "s"}, {"role": U, "content": "u"}]}, [(S, "s"), (U, "u")]),
        ({"prompt": None, "question": "q", "answer": None, "response": "r"}, [(U, "q"), (A, "r")]),
        ({"text": "A whole text."}, [(U, "A whole text.")]),
        ({"prompt": "p", "completion": "c", "label": True}, [(U, "p"), (A, "c")]),
        ({"prompt": "p", "completion": "c", "label": False}, [(U, "p")]),
    ],
)
def test_each_layout_is_one_conversation_in_order(row: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    assert turns(row) == wanted


ASKED, BETTER, WORSE = {"role": U, "content": "u"}, {"role": A, "content": "good"}, {"role": A, "content": "bad"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "u", "chosen": "good", "rejected": "bad"},
        {"prompt": "u", "chosen": [BETTER], "rejected": [WORSE]},
        {"prompt": [ASKED], "chosen": [BETTER], "rejected": [WORSE]},
        {"prompt": "u", "chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
        {"chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
        {"prompt": [ASKED], "chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
        {"messages": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
        {"input": {"messages": [ASKED]}, "preferred_output": [BETTER], "non_preferred_output": [WORSE]},
        {
            "conversations": [{"from": "human", "value": "u"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        {"instruction": "u", "input": "", "chosen": "good", "rejected": "bad"},
    ],
)
def test_a_pair_of_answers_is_an_answer_and_a_worse_one(row: dict[str, Any]) -> None:
    read = fields(row)
    assert turns(row) == [(U, "u"), (A, "good")]
    assert {name: value for name, value in read.items() if name not in ("prompt", "messages", "answer")} == {"rejected": "bad"}


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"messages": []}, NoField),
        ({"conversations": None}, NoField),
        ({"messages": [{"role": S, "content": "s"}, {"role": A, "content": "a"}]}, NoField),
        ({"prompt": None, "answer": "a"}, NoField),
        ({"prompt": [], "completion": [{"role": A, "content": "a"}]}, NoField),
        ({"instruction": "Do", "input": 7, "output": "x"}, WrongType),
        ({"instruction": "Do", "output": "x", "history": [["only one"]]}, WrongType),
        ({"instruction": "Do", "output": "x", "system": ["s"]}, WrongType),
        ({"prompt": "u", "chosen": [ASKED, BETTER], "rejected": [{"role": U, "content": "v"}, WORSE]}, WrongType),
    ],
)
def test_a_row_without_a_whole_conversation_is_refused(row: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        fields(row)


COMPOSED: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "Do", "input": "this", "output": "done"},
    "messages": {"messages": [{"role": U, "content": "u"}, LAST]},
    "sharegpt": {"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]},
    "plain": {"prompt": "p", "completion": "c"},
    "record": {"colour": "red", "size": 3},
}
FOREIGN = st.dictionaries(
    st.sampled_from(["prompt", "answer", "messages", "tool_turns", "turn_fields", "other_prompt", "question", "note"]),
    st.text(max_size=3) | st.integers() | st.just([{"a": 1}]),
)


@given(st.sampled_from(sorted(COMPOSED)), FOREIGN)
def test_a_foreign_column_never_replaces_what_was_composed_and_never_gets_lost(shape: str, foreign: dict[str, Any]) -> None:
    """The whole prompt, answer and turns are those of the row without the column, whose value is under its name or `other_`."""
    own = COMPOSED[shape]
    added = {name: value for name, value in foreign.items() if name not in own}
    if shape == "record":  # every column is the record's own
        added.pop("answer", None)
    alone, read = fields(own, shape), fields(own | added, shape)
    if shape == "record":
        assert read["prompt"].startswith(alone["prompt"])
    elif not (shape == "plain" and "answer" in added):
        assert {name: read[name] for name in alone} == alone
    values = list(read.values())
    assert all(value in values for value in added.values())
    assert {"messages", "tool_turns", "turn_fields"} & set(read) <= set(alone)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.lists(st.text(max_size=4) | st.sampled_from(["<tool_call>", "</tool_call>", PIER, '{"name":'])).map("".join)


@given(st.lists(st.tuples(TEXT, st.dictionaries(TEXT, JSON, max_size=3))))
def test_calls_are_found_again_in_a_text_whatever_their_arguments_say(calls: list[tuple[str, dict[str, Any]]]) -> None:
    texts, bodies = split_calls(" then ".join(call_text(name, arguments) for name, arguments in calls))
    assert [json.loads(body) for body in bodies] == [{"name": name, "arguments": arguments} for name, arguments in calls]
    assert {text for text in texts if text} <= {" then "}


@given(JSON)
def test_any_value_is_read_or_refused_and_never_breaks_the_reader(value: Any) -> None:
    for name in ("messages", "conversations", "prompt", "chosen", "input", "instruction", "history", "system", "label"):
        base: list[dict[str, Any]] = [
            {},
            COMPOSED["alpaca"],
            COMPOSED["sharegpt"],
            {"messages": [value]},
            openai({"role": A, "tool_calls": value}),
        ]
        for row in base:
            try:
                canonical_fields(row | {name: value, "rejected": value}, shape="auto", mapping={})
            except (NoField, WrongType):
                continue


def test_a_prompt_that_is_not_in_the_chosen_conversation_is_kept_beside_it() -> None:
    row = {"prompt": "another", "chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]}
    assert (turns(row), fields(row)["other_prompt"]) == ([(U, "u"), (A, "good")], "another")
