"""A real engine whose model thinks, writes calls of a calculator itself, and answers with what the calculator gave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.engines import make_teacher
from synth_ray.ask.request_asks import RoleRules
from synth_ray.ask.teacher import Teacher
from synth_ray.ask.tool_calls import open_tools
from synth_ray.job.bundled import bundled_thinker_path
from synth_ray.job.models import Model
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.sampling import Sampling
from synth_ray.recipes.catalogue import options_of
from synth_ray.recipes.converse import RECIPE
from synth_ray.recipes.markup import split_calls
from synth_ray.records import Draft, Request
from tests.unit.recipes.fake_teacher import seed

pytestmark = pytest.mark.vllm

SUMS = {"31 + 54": 85, "47 + 25": 72, "63 - 28": 35, "58 + 37": 95, "90 - 34": 56, "26 + 41": 67, "12 * 4": 48, "75 - 19": 56}
ENGINE_ARGS = {"dtype": "bfloat16", "max_num_seqs": 16, "max_model_len": 1024, "enforce_eager": True}


@pytest.fixture(scope="module")
def thinker() -> Iterator[Teacher]:
    model = Model.model_validate({"model": str(bundled_thinker_path()), "reasoning": True, "engine_args": ENGINE_ARGS})
    teacher = make_teacher(model)
    teacher.open()
    yield teacher
    teacher.close()


@pytest.fixture(scope="module")
def drafts(thinker: Teacher) -> dict[str, Draft]:
    choice = {"turns": 1, "call": "native", "tools": [{"function": "tests.unit.toolbox.desk:calculator"}]}
    options = options_of(RecipeChoice(name="converse", options=choice))
    tools = open_tools(RECIPE, options, None)  # a calculator has no effects
    asker = Asker(
        RECIPE,
        options=options,
        teachers={"teacher": thinker},
        sampling=Sampling(max_tokens=160, temperature=0.0),
        deadline=Deadline(300, tokens=1),
        roles=RoleRules(tools=tools),
    )

    async def all_of_them() -> dict[str, Draft]:
        requests = [Request(f"r{n}", 0, n, seed(f"What is {text}?"), 1, random_seed=n) for n, text in enumerate(SUMS)]
        outcomes = await asyncio.gather(*map(asker.run, requests))
        return {text: outcome.drafts[0] for text, outcome in zip(SUMS, outcomes, strict=True)}

    try:
        return asyncio.run(all_of_them())
    finally:
        tools.close()


def test_the_model_calls_the_calculator_itself_and_answers_with_its_result(drafts: dict[str, Draft]) -> None:
    right = 0
    for text, draft in drafts.items():
        results = [turn["content"] for turn in draft.prompt if turn["role"] == "tool"]
        right += str(SUMS[text]) in results and str(SUMS[text]) in draft.completion
    assert right >= len(SUMS) // 2, {text: (draft.reason, draft.prompt, draft.completion) for text, draft in drafts.items()}


def test_calls_have_their_thoughts_beside_them_and_no_mark_is_left_in_the_text(drafts: dict[str, Draft]) -> None:
    called = [turn for draft in drafts.values() for turn in draft.prompt if turn["role"] == "assistant"]
    assert called
    for turn in called:
        [body] = split_calls(turn["content"])[1]
        assert json.loads(body)["name"] == "calculator"
        assert "think>" not in turn["content"]
    assert sum("reasoning" in turn for turn in called) >= len(called) // 2
