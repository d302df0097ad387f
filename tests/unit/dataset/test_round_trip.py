"""What an export writes, the seeds' reader reads back as the same conversation; what it cannot hold is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from synth_ray.dataset import formats
from synth_ray.dataset import thoughts as thoughts_
from synth_ray.dataset.conversation import NotRepresentable
from synth_ray.plan.shapes import canonical_fields
from synth_ray.recipes.markup import call_text, split_calls
from synth_ray.recipes.seed_thoughts import thought_inside

TOOLS = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}]
MARKUP = ["<tool_call>", "</tool_call>", call_text("tide", {"day": 1}), "<think>", "\n", "é", "水", "\u200b", "[{", " "]
PLAIN = st.text(max_size=6)
TEXT = PLAIN | PLAIN | PLAIN | st.lists(PLAIN | st.sampled_from(MARKUP), max_size=3).map("".join)
FILLED = TEXT.map(lambda text: f"{text}.")
THOUGHT = st.none() | FILLED.map(str.strip)
ARGUMENTS = st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none() | st.lists(TEXT, max_size=2), max_size=2)
CALL = st.builds(call_text, st.sampled_from(["tide", "pier"]), ARGUMENTS)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    turns = [("system", draw(FILLED))] if draw(st.integers(0, 3)) == 0 else []
    for _ in range(draw(st.integers(1, 2))):
        turns.append(("user", draw(FILLED)))
        calls = draw(st.lists(CALL, max_size=2))
        if calls:
            beside = [draw(FILLED)] if draw(st.integers(0, 3)) == 0 else []
            turns.append(("assistant", "\n".join(beside + calls)))
            turns += [("tool", draw(TEXT)) for _ in range(draw(st.sampled_from([len(calls)] * 5 + [0, 1])))]
        turns.append(("assistant", draw(FILLED | FILLED | CALL)))
    return [{"role": role, "content": content} for role, content in turns]


@st.composite
def published(draw: st.DrawFn) -> dict[str, Any]:
    """A published row, with or without tools, a worse answer, thoughts and turns of weight 0. It has its thoughts as rows have
    them, or as fields, as rows of a job that keeps none.
    """
    messages: list[dict[str, Any]] = draw(conversations())
    weights = [{"weight": 0} if draw(st.integers(0, 19)) == 0 else {} for _ in messages]
    fields: dict[str, Any] = {"turn_fields": weights} if any(weights) else {}
    is_column, thoughts = draw(st.booleans()), [draw(THOUGHT) if turn["role"] == "assistant" else None for turn in messages]
    if is_column:
        messages = [turn | {"reasoning": thought} for turn, thought in zip(messages, thoughts, strict=True)]
    elif thoughts[-1] is not None:
        fields["reasoning"] = thoughts[-1]
    row = {"id": "0", "messages": messages, "fields": json.dumps(fields)}
    row |= {"reasoning": thoughts[-1], "reasoning_tokens": None} if is_column else {}
    row |= {thoughts_.OTHERS_THINK: True} if draw(st.booleans()) else {}
    row |= {"tools": json.dumps(draw(st.sampled_from([[], TOOLS])))} if draw(st.booleans()) else {}
    return row | ({"rejected": draw(FILLED)} if draw(st.integers(0, 3)) else {})


ROLES = ("user", "assistant", "tool", "assistant")
CALLED = [{"role": r, "content": t} for r, t in zip(ROLES, ("When?", call_text("tide", {}), "6", "At six."), strict=True)]


def said_in(turn: dict[str, Any]) -> tuple[str, Any, str]:
    """Role, text and thought of a turn, wherever it has the thought."""
    text, inside = thought_inside(turn["content"]) if turn["role"] == "assistant" else (turn["content"], "")
    return turn["role"], meaning(text), (turn.get("reasoning") or inside).strip()


def meaning(text: str) -> Any:
    """A text, and apart from it its calls: how a call is spaced and spelled says nothing, nor how text is about a thought."""
    try:
        texts, calls = split_calls(text)
    except ValueError:
        return text
    return ([part.strip() for part in texts if part.strip()], [json.loads(call) for call in calls]) if calls else text


def expected(row: dict[str, Any], name: str) -> list[tuple[str, Any, str]]:
    """What a row says; a format without a place for thoughts leaves them out, one with them in the text strips that."""
    messages = [dict(turn) for turn in row["messages"]]
    of_fields = None if name in formats.AS_THEY_ARE else json.loads(row["fields"]).get("reasoning")  # read as they are
    messages[-1]["reasoning"] = row.get("reasoning") or of_fields
    place = thoughts_.DEFAULT_PLACE.get(name, "field")
    for turn in messages:
        if place == "drop":
            turn["reasoning"] = None
        elif place == "inline" and turn.get("reasoning"):
            turn["content"] = turn["content"].strip()
    if place == "inline" and row.get(thoughts_.OTHERS_THINK):
        messages[-1]["content"] = messages[-1]["content"].strip()
    return [said_in(turn) for turn in messages]


def read_back(record: dict[str, Any]) -> dict[str, Any]:
    read = canonical_fields(json.loads(json.dumps(record)), shape="auto", mapping={})
    before = read.get("messages") or [{"role": "user", "content": read["prompt"]}]
    said = [*before, *read.get("tool_turns", []), {"role": "assistant", "content": read["answer"]}]
    more = read.get("turn_fields") or [{}] * len(said)
    thoughts = [turn.get("reasoning_content") for turn in more[:-1]] + [read.get("reasoning")]
    turns = [turn | {"reasoning": thought} for turn, thought in zip(said, thoughts, strict=True)]
    return read | {"said": [said_in(turn) for turn in turns]}


def as_in_a_table(value: Any) -> Any:
    """Every object of a list gets the keys of all the others, as Parquet and `datasets` give them."""
    if isinstance(value, dict):
        return {name: as_in_a_table(inner) for name, inner in value.items()}
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return value
    keys: dict[str, None] = {name: None for item in value for name in item}
    return [keys | as_in_a_table(item) for item in value]


@pytest.mark.parametrize("name", formats.FORMATS)
@given(row=published())
@example(row={"id": "0", "messages": CALLED, "fields": "{}", "rejected": "Five."})
def test_what_is_exported_is_read_back_equal(name: str, row: dict[str, Any]) -> None:
    try:
        record = formats.FORMATS[name](row)
    except NotRepresentable as reason:
        event(str(reason))
        return
    event("written")
    for form in (record, as_in_a_table(record)):
        read = read_back(form)
        assert read["said"] == expected(row, name)
        if "dpo" in name or (name == "llama-factory" and "rejected" in row):
            assert meaning(thought_inside(read["rejected"])[0].strip()) == meaning(row["rejected"].strip())
        if "tools" in row and name != "alpaca":
            tools = read.get("tools", [])
            assert (json.loads(tools) if isinstance(tools, str) else tools) == json.loads(row["tools"])


@pytest.mark.parametrize(
    ("turns", "refusing", "reason"),
    [
        (["Here.\n" + call_text("tide", {}), "low", "ok"], "sharegpt llama-factory", "text beside a tool call"),
        ([call_text("tide", {}) + " there", "low", "ok"], "openai-sft axolotl", "text behind a tool call"),
        ([call_text("tide", {}) * 2, "low", "ok"], "openai-sft axolotl", "a tool call without its result"),
        (["They write <tool_call> and </tool_call>."], "openai-sft sharegpt llama-factory axolotl", "a malformed tool call"),
        (["<tool_call>{'name': 'x'}</tool_call>", "low", "ok"], "openai-sft sharegpt llama-factory", "a malformed tool call"),
        (["Only </tool_call>"], "openai-sft sharegpt", "a malformed tool call"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_reason(turns: list[str], refusing: str, reason: str) -> None:
    said = [{"role": role, "content": text} for role, text in zip(ROLES, ["When?", *turns], strict=False)]
    for name in refusing.split():
        with pytest.raises(NotRepresentable, match=reason):
            formats.FORMATS[name]({"messages": said, "fields": "{}"})
    assert formats.trl_sft({"messages": said, "fields": "{}"}) == {"messages": said}


def test_an_answer_of_weight_0_is_marked_or_refused_but_never_learnt() -> None:
    said = [{"role": r, "content": r} for r in ("user", "assistant", "user", "assistant")]
    row = {"messages": said, "fields": json.dumps({"turn_fields": [{}, {"weight": 0}, {"name": "ann"}, {}]})}
    assert [m.get("weight") for m in formats.openai_sft(row)["messages"]] == [None, 0, None, None]
    assert [m.get("train") for m in formats.axolotl(row)["messages"]] == [None, False, None, None]
    assert formats.openai_sft(row)["messages"][2]["name"] == "ann"
    assert formats.trl_prompt_completion(row) == {"prompt": said[:3], "completion": said[3:]}
    for name in ("trl-sft", "sharegpt", "llama-factory"):
        with pytest.raises(NotRepresentable, match="weight 0"):
            formats.FORMATS[name](row)


@pytest.mark.parametrize("tools", ["no JSON", '{"name": "x"}'])
def test_tools_that_are_no_list_are_refused(tools: str) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tools": tools, "fields": "{}"}
    for name in formats.FORMATS:
        if name not in formats.AS_THEY_ARE and "dpo" not in name:
            with pytest.raises(NotRepresentable, match="tools"):
                formats.FORMATS[name](row)


def test_a_role_that_no_trainer_knows_is_refused() -> None:
    said = [{"role": "narrator", "content": "Once"}, {"role": "assistant", "content": "upon"}]
    for name in formats.FORMATS:
        if name not in formats.AS_THEY_ARE:
            with pytest.raises(NotRepresentable, match="unknown role"):
                formats.FORMATS[name]({"messages": said, "fields": "{}", "rejected": "x"})
