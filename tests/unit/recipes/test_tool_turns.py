"""`converse` with tools that run: calls and results in the row, the state at the end, and no call with effects is repeated."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.request_asks import RoleRules
from synth_ray.ask.teacher import Prompt
from synth_ray.ask.tool_calls import open_tools
from synth_ray.errors import AskFailed, JobError, StorageError
from synth_ray.job.problems import BadJob
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.sampling import Sampling
from synth_ray.recipes.catalogue import options_of
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.converse import RECIPE
from synth_ray.recipes.markup import call_text
from synth_ray.records import Draft, Outcome, Reason, Request, verdict_of
from tests.unit.recipes.fake_teacher import FakeTeacher, replying, seed

DESK = "tests.unit.toolbox.desk:"
ORDERS = {"KZ-1": {"paid": 500}}
LOOK_UP, REFUND = {"function": DESK + "look_up"}, {"function": DESK + "refund"}
SERVER = str(Path(__file__).parents[1] / "toolbox" / "desk_server.py")


def calling(*steps: str | list[tuple[str, dict[str, Any]]]) -> FakeTeacher:
    """A model that writes these answers, one after the other: a text, or calls."""
    rest = list(steps)

    def reply(_prompt: Prompt, _n: int) -> str:
        step = rest.pop(0)
        return step if isinstance(step, str) else "I look.\n" + "\n".join(call_text(name, given) for name, given in step)

    return replying(reply)


@dataclass
class Kept:
    """A journal: what a later run finds of an earlier one."""

    found: dict[str, list[Completion]] = field(default_factory=dict)
    breaks_at: Callable[[str], bool] = lambda _: False

    def record(self, _request: Request, key: str, answers: list[Completion]) -> None:
        self.found[key] = answers

    def record_now(self, request: Request, key: str, answers: list[Completion]) -> None:
        if self.breaks_at(key):
            raise StorageError("full")
        self.record(request, key, answers)


def run(teacher: FakeTeacher, kept: Kept | None = None, fields: dict[str, Any] | None = None, **options: Any) -> Outcome:
    kept = kept or Kept()
    options = {"turns": 1, "call": "native", **options}
    given = options_of(RecipeChoice(name="converse", options=options))
    tools = open_tools(RECIPE, given, kept.record_now)
    asker = Asker(
        RECIPE,
        options=given,
        teachers={"teacher": teacher},
        sampling=Sampling(max_tokens=64),
        deadline=Deadline(60, tokens=1),
        roles=RoleRules(tools=tools),
        record=kept.record,
    )
    request = Request("r", 0, 0, seed("refund KZ-1", **(fields or {"orders": ORDERS})), 1)
    try:
        return asyncio.run(asker.run(request, dict(kept.found)))
    finally:
        tools.close()


def draft_of(teacher: FakeTeacher, kept: Kept | None = None, **options: Any) -> Draft:
    [draft] = run(teacher, kept, **options).drafts
    return draft


STATED = {"tools": [LOOK_UP, REFUND], "state": "{{ orders | tojson }}"}
STATED["state"] = '{"orders": {{ orders | tojson }}}'


def test_native_calls_run_in_order_on_one_state_and_the_model_sees_their_results() -> None:
    teacher = calling(
        [("look_up", {"order": "KZ-1"}), ("refund", {"order": "KZ-1", "cents": 200})],
        [("look_up", {"order": "KZ-1"})],
        "You have 200 back.",
    )
    draft = draft_of(teacher, **STATED)
    assert [m["role"] for m in draft.prompt] == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert draft.prompt[1]["content"].startswith("I look.\n<tool_call>")
    assert [m["content"] for m in draft.prompt if m["role"] == "tool"] == [
        '{"paid": 500}',
        "refunded 200 (late)",
        '{"paid": 500, "refunded": 200}',
    ]
    assert draft.completion == "You have 200 back."
    assert draft.fields["steps"] == 3
    assert draft.fields["end_state"] == {"orders": {"KZ-1": {"paid": 500, "refunded": 200}}}
    assert [tool["function"]["name"] for tool in draft.fields["tools"]] == ["look_up", "refund"]
    assert list(teacher.asked[0].tools) == draft.fields["tools"]
    assert teacher.asked[-1].messages == draft.prompt


def test_an_error_of_a_tool_is_a_result_and_changes_nothing() -> None:
    teacher = calling([("refund", {"order": "KZ-1", "cents": 900})], "That is more than you paid.")
    draft = draft_of(teacher, **STATED)
    assert draft.reason is None
    assert draft.prompt[-1] == {"role": "tool", "content": "ValueError: order KZ-1 was paid 500 cents"}
    assert draft.fields["end_state"] == {"orders": ORDERS}


def test_guided_calls_go_on_until_the_assistant_needs_none() -> None:
    def reply(prompt: Prompt, _n: int) -> str:
        done = sum(m["role"] == "tool" for m in prompt.messages)
        if prompt.constraint and prompt.constraint.choices:
            return ("look_up", "refund", "none")[done]
        if prompt.constraint:
            return json.dumps({"order": "KZ-1"} if not done else {"order": "KZ-1", "cents": 5})
        return f"done after {done}"

    draft = draft_of(replying(reply), call="guided", **STATED)
    assert (draft.completion, draft.fields["steps"]) == ("done after 2", 2)
    assert draft.prompt[-1]["content"] == "refunded 5 (late)"


def test_thoughts_stay_with_the_turns_that_called() -> None:
    class Thinking(FakeTeacher):
        async def answer(self, prompt: Prompt) -> list[Completion]:
            [answer] = await super().answer(prompt)
            return [Completion(answer.text, "stop", 3, 5, reasoning=f"thought {len(self.asked)}")]

    rest = [call_text("look_up", {"order": "KZ-1"}), "Paid."]
    teacher = Thinking(lambda _prompt, _n: rest.pop(0))
    draft = draft_of(teacher, **STATED)
    assert (draft.prompt[1]["reasoning"], draft.reasoning) == ("thought 1", "thought 2")
    assert teacher.asked[1].messages[1]["reasoning"] == "thought 1"


@pytest.mark.parametrize(
    "bad",
    [
        "<tool_call>{broken</tool_call>",
        call_text("fly", {}),
        call_text("look_up", {"order": 7}),
        call_text("look_up", {"order": "KZ-1"}) + " and then",
    ],
)
def test_calls_that_do_not_fit_are_asked_for_again_and_then_reject_the_row(bad: str) -> None:
    outcome = run(calling(bad, bad, bad), tries=3, **STATED)
    assert (outcome.drafts[0].reason, outcome.attempts) == (Reason.BAD_TOOL_CALL, {"bad_tool_call": 3})
    assert draft_of(calling(bad, "Good."), **STATED).completion == "Good."


def test_a_loop_of_one_call_is_stuck_and_a_long_row_of_calls_is_out_of_steps() -> None:
    same = [("look_up", {"order": "KZ-1"})]
    assert draft_of(calling(same, same, "?"), **STATED).reason == Reason.STUCK
    more = [[("refund", {"order": "KZ-1", "cents": n})] for n in range(4)]
    assert draft_of(calling(*more, "?"), max_steps=3, **STATED).reason == Reason.OUT_OF_STEPS
    assert draft_of(calling(*more[:3], "Fine."), max_steps=3, **STATED).reason is None


@pytest.mark.parametrize(
    ("judge", "cents", "reward", "why"),
    [
        ("refunded_as_asked", 200, 1.0, None),
        ("refunded_as_asked", 100, 0.0, None),
        ("share_refunded", 100, 0.5, None),
        ("what_is_wrong", 100, 0.0, "100 of 200 cents"),
    ],
)
def test_the_end_state_is_judged_against_the_seed(judge: str, cents: int, reward: float, why: str | None) -> None:
    options = {**STATED, "end_state": DESK + judge, "fields": {"orders": ORDERS, "wanted": 200}}
    steps: list[Any] = [[("refund", {"order": "KZ-1", "cents": cents})], "Done."]
    draft = draft_of(calling(*steps), **options)
    assert draft.fields["reward"] == reward
    assert draft.fields.get("end_state_reason") == why
    assert draft.reason == (None if reward == 1 else Reason.WRONG_END_STATE)
    assert draft_of(calling(*steps), min_reward=0, **options).reason is None


def test_a_tool_that_hangs_fails_the_row_and_tells_so() -> None:
    tools = [{"function": DESK + "hang", "seconds": 1}]
    draft = draft_of(calling([("hang", {})], "?"), tools=tools)
    assert (draft.reason, draft.detail) == (Reason.TOOL_FAILED, "hang: not done after 1 s")
    assert verdict_of(draft.reason) == "failed"


def test_the_tools_of_a_server_are_called_by_their_own_names() -> None:
    tools = [{"mcp": {"command": [sys.executable, SERVER], "tools": ["look_up"]}, "idempotent": True}]
    draft = draft_of(calling([("look_up", {"order": "none"})], [("look_up", {"order": "KZ-1"})], "Paid."), tools=tools)
    assert [m["content"] for m in draft.prompt if m["role"] == "tool"] == [
        "Error executing tool look_up: no such order",
        "order KZ-1 is paid",
    ]
    assert [tool["function"]["name"] for tool in draft.fields["tools"]] == ["look_up"]


# Never twice.


def counting(folder: Path) -> dict[str, Any]:
    return {"tools": [{"function": DESK + "count", "writes": [str(folder)]}]}


def twice(folder: Path) -> FakeTeacher:
    call = [("count", {"file": str(folder / "log"), "mark": mark}) for mark in "ab"]
    return calling([call[0]], [call[1]], "Counted.")


def test_a_resumed_request_replays_what_was_called_and_calls_the_rest(tmp_path: Path) -> None:
    whole = Kept()
    draft = draft_of(twice(tmp_path), whole, **counting(tmp_path))
    assert (tmp_path / "log").read_text() == "ab"
    for length in range(len(whole.found) + 1):
        (tmp_path / "log").unlink()
        done = Kept(dict(list(whole.found.items())[:length]))
        called = [key for key in done.found if key.startswith("call/")]
        before = "ab"[: sum(not key.endswith("begun") for key in called)]
        (tmp_path / "log").write_text(before)
        answered = sum(not key.startswith("call/") for key in done.found)
        teacher = twice(tmp_path)
        for _ in range(answered):
            teacher._reply(None, 0)  # type: ignore[arg-type]
        again = draft_of(teacher, done, **counting(tmp_path))
        if called and called[-1].endswith("begun"):
            assert again.reason == Reason.TOOL_INTERRUPTED
            assert (tmp_path / "log").read_text() == before
        else:
            assert again == draft
            assert (tmp_path / "log").read_text() == "ab"


def test_a_request_that_fails_behind_a_call_with_effects_is_not_asked_again(tmp_path: Path) -> None:
    class Failing(FakeTeacher):
        async def answer(self, prompt: Prompt) -> list[Completion]:
            if len(self.asked) == 1:
                raise AskFailed(Reason.ENGINE_ERROR, "gone")
            return await super().answer(prompt)

    def made(options: dict[str, Any]) -> Draft:
        call = call_text("count", {"file": str(tmp_path / "log")})
        return draft_of(Failing(lambda _prompt, _n: call), **options)

    options = counting(tmp_path)
    failed = made(options)
    assert (failed.reason, failed.detail) == (Reason.TOOL_INTERRUPTED, "engine_error after a call with effects")
    options["tools"][0]["idempotent"] = True
    assert made(options).reason == Reason.ENGINE_ERROR


def test_a_request_that_now_calls_something_else_is_failed(tmp_path: Path) -> None:
    whole = Kept()
    draft_of(twice(tmp_path), whole, **counting(tmp_path))
    calls = Kept({key: value for key, value in whole.found.items() if key.startswith("call/")})
    other = calling([("count", {"file": str(tmp_path / "log"), "mark": "c"})], "?")
    assert draft_of(other, calls, **counting(tmp_path)).reason == Reason.TOOL_INTERRUPTED
    assert (tmp_path / "log").read_text() == "ab"


def test_a_call_that_cannot_be_journalled_is_not_made_and_a_result_that_cannot_is_kept(tmp_path: Path) -> None:
    draft = draft_of(twice(tmp_path), Kept(breaks_at=lambda key: key.endswith("begun")), **counting(tmp_path))
    assert draft.reason == Reason.TOOL_FAILED
    assert not (tmp_path / "log").exists()
    kept = Kept(breaks_at=lambda key: not key.endswith("begun"))
    assert draft_of(twice(tmp_path), kept, **counting(tmp_path)).reason is None
    assert len([key for key in kept.found if re.fullmatch(r"call/\d/\w+", key)]) == 2


def test_a_tool_that_may_be_called_again_is(tmp_path: Path) -> None:
    options = counting(tmp_path)
    options["tools"][0]["idempotent"] = True
    whole = Kept()
    draft_of(twice(tmp_path), whole, **options)
    assert not any(key.endswith("begun") for key in whole.found)
    assert draft_of(twice(tmp_path), **options).reason is None
    assert (tmp_path / "log").read_text() == "abab"


def test_effects_without_a_journal_stop_the_job(tmp_path: Path) -> None:
    options = options_of(RecipeChoice(name="converse", options=counting(tmp_path)))
    with pytest.raises(JobError, match="journal"):
        open_tools(RECIPE, options, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tools": [{"name": "x"}]}, "wanted `name` and `parameters`, a `function`, or an `mcp` server"),
        ({"tools": [LOOK_UP | {"mcp": {"command": ["x"]}}]}, "got both"),
        ({"tools": [{"mcp": {"command": ["x"]}, "name": "y"}]}, "from the MCP server"),
        ({"tools": [LOOK_UP | {"returns": {"type": "string"}}]}, "`returns` for an invented result"),
        ({"tools": [LOOK_UP, {"name": "look_up", "parameters": {"type": "object"}}]}, "different names"),
        ({"state": "{}"}, "wanted a tool that runs"),
    ],
)
def test_invalid_declarations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadJob, match=message):
        options_of(RecipeChoice(name="converse", options=options))


def test_a_state_that_is_no_json_rejects_the_row() -> None:
    draft = draft_of(calling("?"), tools=[LOOK_UP], state="{{ prompt }}")
    assert draft.reason == Reason.WRONG_TYPE
