"""`converse`: roles alternate, the user may end the dialogue, and every tool call fits its tool's schema."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.job.problems import BadJob
from synth_ray.job.recipe import RecipeChoice
from synth_ray.recipes.catalogue import options_of
from synth_ray.recipes.tools import Tool, arguments_of
from synth_ray.records import Reason
from tests.unit.recipes.fake_teacher import replying, run_recipe, seed

TRACK = {
    "name": "track_order",
    "description": "where a parcel is",
    "parameters": {
        "type": "object",
        "properties": {"order": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{5}$"}},
        "required": ["order"],
        "additionalProperties": False,
    },
}


def calls_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(body) for body in re.findall(r"<tool_call>(.*?)</tool_call>", text, re.DOTALL)]


def dialogue_teacher(*, ends_after: int = 99, arguments: str = '{"order":"KZ-48802"}') -> Any:
    """Plays the user, the assistant and the tool; the user ends the dialogue after `ends_after` turns."""

    def reply(prompt: Prompt, _n: int) -> str:
        text = prompt.messages[-1]["content"]
        if prompt.constraint and prompt.constraint.choices:
            return "track_order" if prompt.messages[-2]["content"].startswith("where") else "none"
        if prompt.constraint:
            return arguments
        if text.startswith("You play the user"):
            turn = text.count("\nuser:") + text.count("\n\nuser:")
            return "[END]" if turn >= ends_after else f"user: and then, after {turn}?"
        return "It is in Oslo." if text.startswith("The tool") else f"answer {len(prompt.messages)}"

    return replying(reply)


def test_a_dialogue_alternates_to_its_last_turn_and_the_last_answer_is_the_completion() -> None:
    choice = {"name": "converse", "turns": 3, "system": "Be brief.", "persona": "a {{ mood }} customer", "keep": ["mood"]}
    teacher = dialogue_teacher()
    [draft] = run_recipe(choice, teacher, from_seed=seed("hello", mood="calm")).drafts
    assert [m["role"] for m in draft.prompt] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert draft.completion == "answer 6"
    assert draft.fields == {"mood": "calm", "opening": "hello", "turns": 3}
    assert "a calm customer" in teacher.asked[1].messages[-1]["content"]


def test_an_end_marker_of_the_user_ends_the_dialogue() -> None:
    [draft] = run_recipe({"name": "converse", "turns": 5}, dialogue_teacher(ends_after=2), from_seed=seed("hello")).drafts
    assert draft.fields["turns"] < 5
    assert not any("[END]" in m["content"] for m in draft.prompt)


def test_a_tool_call_fits_its_schema_and_is_followed_by_its_result() -> None:
    [draft] = run_recipe(
        {"name": "converse", "turns": 1, "tools": [TRACK]}, dialogue_teacher(), from_seed=seed("where is KZ-48802")
    ).drafts
    assert [m["role"] for m in draft.prompt] == ["user", "assistant", "tool"]
    assert calls_in(draft.prompt[1]["content"]) == [{"name": "track_order", "arguments": {"order": "KZ-48802"}}]
    assert (draft.prompt[2]["content"], draft.completion) == ("It is in Oslo.", "answer 3")
    assert draft.fields["tools"][0]["function"]["name"] == "track_order"
    [without_call] = run_recipe(
        {"name": "converse", "turns": 1, "tools": [TRACK]}, dialogue_teacher(), from_seed=seed("hello")
    ).drafts
    assert [m["role"] for m in without_call.prompt] == ["user"]


@pytest.mark.parametrize("arguments", ['{"order":"48802"}', '{"order":"KZ-48', '{"order":"KZ-48802","rush":true}', "[]", "{}"])
def test_an_invalid_tool_call_is_retried_and_then_rejects_the_row(arguments: str) -> None:
    teacher = dialogue_teacher(arguments=arguments)
    outcome = run_recipe({"name": "converse", "tools": [TRACK], "tries": 3}, teacher, from_seed=seed("where is it"))
    assert outcome.drafts[0].reason == Reason.BAD_TOOL_CALL
    assert outcome.attempts == {"bad_tool_call": 3}


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([TRACK, TRACK], "different names"),
        ([TRACK | {"name": "none"}], "none of them"),
        ([TRACK | {"parameters": {"type": 3}}], "JSON Schema"),
    ],
)
def test_invalid_tools_are_refused(tools: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(BadJob, match=message):
        options_of(RecipeChoice(name="converse", options={"tools": tools}))


@pytest.mark.vllm
def test_a_dialogue_with_a_tool_on_the_real_engine(vllm_teacher: Teacher) -> None:
    choice = {
        "name": "converse",
        "turns": 2,
        "tools": [TRACK],
        "tries": 4,
        "user": "Write one new customer message.\nIntent: refund",
    }
    [draft] = run_recipe(choice, vllm_teacher, from_seed=seed("Where is my order KZ-48802? I ordered it 7 days ago.")).drafts
    assert draft.reason in (None, Reason.BAD_TOOL_CALL)
    for message in draft.prompt:
        for call in calls_in(message["content"]):
            assert arguments_of(json.dumps(call["arguments"]), Tool(**TRACK)) is not None
