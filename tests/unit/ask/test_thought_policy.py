"""`recipe.reasoning`: what becomes of a thought, whatever the recipe."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from synth_ray.ask.asker import Asker, thinking_judge
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.request_asks import RequestAsks, RoleRules
from synth_ray.ask.rows import rows_by_chunk
from synth_ray.ask.tool_calls import no_recorder
from synth_ray.errors import JobError
from synth_ray.job.dedup import Dedup
from synth_ray.job.judge import Judging
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.job.sampling import Sampling
from synth_ray.recipes import build
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.with_embedding import with_embedding
from synth_ray.recipes.with_judge import with_judge
from synth_ray.records import Draft, Reason, Request, Seed, TopK
from tests.unit.recipes.fake_teacher import FakeTeacher, replying

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


VERDICT = '{"correct": 5}'
JUDGING = Judging(criteria={"correct": "no error"}, min_score=3)


def judged(judge: FakeTeacher, rules: RoleRules, **fields: Any) -> Any:
    """The outcome of a copied seed that is judged."""
    request = Request("r", 0, 0, Seed("s", "l", "train", fields), 1)
    recipe = with_judge(build.RECIPE, JUDGING)
    asker = Asker(
        recipe,
        options=build.Build(),
        teachers={"judge": judge},
        sampling=Sampling(max_tokens=900),
        deadline=Deadline(60, tokens=1),
        roles=rules,
    )
    return asyncio.run(asker.run(request))


@pytest.mark.parametrize(
    ("judge", "room"),
    [
        ({"model": "Qwen/Qwen3-8B"}, 900),
        ({"model": "m", "engine": "endpoint", "endpoint": {"urls": "http://localhost:1/v1"}}, 900),
        ({"model": "Qwen/Qwen3-8B", "reasoning": False}, 0),
        ({"model": "Qwen/Qwen3-8B", "reasoning": {"budget": 100}}, 0),  # the engine adds it
        ({"model": "meta-llama/Llama-3.1-8B-Instruct"}, 0),
    ],
)
def test_a_judge_that_may_think_has_room_for_it_before_its_verdict(judge: dict[str, Any], room: int) -> None:
    rules = RoleRules(thinks=thinking_judge(Model.model_validate(judge)))
    asked = replying(VERDICT)
    [draft] = judged(asked, rules, prompt="1+1?", answer="2").drafts
    assert draft.fields["judge_score"] == 5
    assert [prompt.sampling["max_tokens"] for prompt in asked.asked] == [48 + room]


def test_a_copied_answer_is_judged_without_the_thought_inside() -> None:
    judge = replying(VERDICT)
    turns = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "<think>early</think>1"}]
    outcome = judged(judge, RoleRules(thoughts="keep"), messages=turns, prompt="2?", answer="<think>late</think>2")
    text = "".join(message["content"] for prompt in judge.asked for message in prompt.messages)
    assert "Answer: 2" in text and "late" not in text and "early" not in text
    assert [(draft.completion, draft.reasoning) for draft in outcome.drafts] == [("2", "late")]


def test_a_copied_answer_is_embedded_as_its_row_is_compared() -> None:
    class Embedder(FakeTeacher):
        async def answer(self, prompt: Any) -> list[Completion]:
            self.asked.append(prompt)
            return [Completion("", "stop", 1, 0, vector=[1.0])]

    embedder = Embedder(lambda _prompt, _n: "")
    recipe = with_embedding(build.RECIPE, "embedder", Dedup(compares=["completion", "reasoning"]))
    request = Request("r", 0, 0, Seed("s", "l", "train", {"prompt": "2?", "answer": "<think>late</think>2"}), 1)
    asks = RequestAsks(request, {"embedder": embedder}, sampling={}, journalled={}, record=no_recorder, rules=RoleRules())
    [draft] = asyncio.run(recipe.make(request, asks, build.Build()))
    assert draft.embedding and [prompt.messages[0]["content"] for prompt in embedder.asked] == ["2\nlate"]


def test_a_judge_of_answers_that_no_row_keeps_is_refused() -> None:
    section = {"recipe": {"name": "distill", "reasoning": "only"}, "check": {"judge": {"criteria": {"a": "b"}}}}
    models = {"teacher": {"engine": "scripted"}, "judge": {"engine": "scripted"}}
    with pytest.raises(JobError, match=r"check\.judge: wanted rows that keep their answers, got recipe\.reasoning: only"):
        job_from({"name": "n", "seeds": "s.jsonl", "models": models, "output": "out", **section})
