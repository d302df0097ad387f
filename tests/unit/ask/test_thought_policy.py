"""`recipe.reasoning`: what becomes of a thought, whatever the recipe."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from synth_ray.ask.request_asks import RequestAsks, RoleRules
from synth_ray.ask.rows import rows_by_chunk
from synth_ray.ask.tool_calls import no_recorder
from synth_ray.records import Draft, Reason, Request, Seed, TopK

TOP_K = TopK(1, b"", b"", b"", b"", b"")
Policy = Literal["keep", "drop", "only"]


def staged(policy: Policy, completion: str, thought: str, finish: str = "stop") -> dict[str, Any]:
    request = Request("r", 0, 0, Seed("s", "l", "train", {}), 1)
    asks = RequestAsks(request, {}, sampling={}, journalled={}, record=no_recorder, rules=RoleRules(marks={}, thoughts=policy))
    earlier = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1", "reasoning": "one"}]
    draft = Draft([*earlier, {"role": "user", "content": "2?"}], completion, finish_reason=finish, completion_tokens=9)
    draft.reasoning, draft.reasoning_tokens, draft.top_k, draft.logprobs = thought, 7, TOP_K, []
    [answered] = rows_by_chunk([asks.outcome([draft], Reason.NO_ANSWER, "")])
    return dict(answered.rows.to_pylist()[0])


def test_a_kept_thought_is_in_its_message_and_in_a_column() -> None:
    row = staged("keep", "2", "two")
    assert [turn["reasoning"] for turn in row["messages"]] == [None, "one", None, "two"]
    assert (row["completion"], row["reasoning"], row["reasoning_tokens"], row["reason"]) == ("2", "two", 7, None)
    assert row["top_k"] is not None and row["logprobs"] is not None


@pytest.mark.parametrize(("policy", "completion", "tokens"), [("drop", "2", 9), ("only", "two", 7)])
def test_no_trace_of_a_thought_stays_that_is_dropped_or_becomes_the_completion(
    policy: Policy, completion: str, tokens: int
) -> None:
    row = staged(policy, "2", "two")
    assert [turn["reasoning"] for turn in row["messages"]] == [None] * 4
    assert (row["completion"], row["completion_tokens"], row["reasoning"]) == (completion, tokens, None)
    assert (row["top_k"], row["logprobs"]) == (None, None)  # their tokens are those of the thought


@pytest.mark.parametrize(
    ("policy", "completion", "thought", "finish", "reason"),
    [
        ("keep", "", "so far", "length", None),  # the checks tell it
        ("drop", "", "so far", "length", Reason.TRUNCATED_THOUGHT),
        ("only", "", "so far", "length", Reason.TRUNCATED_THOUGHT),
        ("only", "2", "", "stop", Reason.NO_THOUGHT),
        ("only", "2", " \n", "stop", Reason.NO_THOUGHT),
        ("drop", "2", "", "stop", None),
        ("only", "2", "two", "stop", None),
    ],
)
def test_a_thought_that_is_cut_or_missing_has_its_reason_even_where_no_thought_is_kept(
    policy: Policy, completion: str, thought: str, finish: str, reason: Reason | None
) -> None:
    assert staged(policy, completion, thought, finish)["reason"] == reason
