"""`distill`: best-of-n, reasoning stored apart from the completion, and prompts that are conversations."""

from __future__ import annotations

import pytest

from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.recipes.catalogue import find
from tests.unit.recipes.fake_teacher import replying, run_recipe, seed

SUMS = ["so it is\n#### 5", "hence\n#### 4", "clearly\n#### 4.", "or\n#### $4"]


def test_the_first_sample_with_the_commonest_final_answer_is_kept_and_the_others_are_attempts() -> None:
    outcome = run_recipe({"name": "distill", "best_of": 4}, replying(lambda _prompt, n: SUMS[n]))
    assert [d.completion for d in outcome.drafts] == [SUMS[1]]
    assert outcome.drafts[0].fields == {"agreement": 0.75}
    assert outcome.attempts == {"not_the_best": 3}


def test_each_of_n_rows_is_the_best_of_its_own_samples_by_a_judges_rubric() -> None:
    def judge(prompt: Prompt, _n: int) -> str:
        good = 5 if "number 2" in prompt.messages[-1]["content"] or "number 4" in prompt.messages[-1]["content"] else 2
        return f'{{"correct":{good},"helpful":3,"clear":3}}'

    choice = {"name": "distill", "n": 2, "best_of": 3, "pick": "judge"}
    roles = {"teacher": replying(lambda _prompt, n: f"number {n}"), "judge": replying(judge)}
    drafts = run_recipe(choice, roles).drafts
    assert [d.completion for d in drafts] == ["number 2", "number 4"]
    assert drafts[0].fields["scores"] == {"correct": 5, "helpful": 3, "clear": 3}
    recipe = find("distill")
    assert recipe.roles(recipe.options.model_validate({"best_of": 3, "pick": "judge"})) == ("teacher", "judge")


@pytest.mark.parametrize(
    ("text", "completion", "reasoning"),
    [
        ("<think>two and two</think>\n4", "4", "two and two"),
        ("two and two</think>4", "4", "two and two"),  # some templates open the reasoning in the prompt
        ("<think>two and", "", "two and"),
        ("4", "4", ""),
    ],
)
def test_reasoning_is_stored_apart_from_the_completion(text: str, completion: str, reasoning: str) -> None:
    [draft] = run_recipe({"name": "distill", "reasoning": ["<think>", "</think>"]}, replying(text)).drafts
    assert (draft.completion, draft.reasoning) == (completion, reasoning)


def test_a_conversation_is_asked_with_its_earlier_turns() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "2 + 2?"}]
    teacher = replying("4")
    [draft] = run_recipe({"name": "distill", "system": "Be brief."}, teacher, from_seed=seed(messages=turns)).drafts
    assert draft.prompt == turns
    assert teacher.asked[0].messages == [{"role": "system", "content": "Be brief."}, *turns]
    [without_history] = run_recipe({"name": "distill", "history": False}, replying("4"), from_seed=seed(messages=turns)).drafts
    assert without_history.prompt == turns[-1:]


def test_an_earlier_turn_of_weight_0_keeps_its_weight_in_the_row() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "no"}, {"role": "user", "content": "2 + 2?"}]
    more = [{}, {"weight": 0}, {}, {"name": "of the seed's own answer"}]
    [draft] = run_recipe({"name": "distill"}, replying("4"), from_seed=seed(messages=turns, turn_fields=more)).drafts
    assert draft.fields["turn_fields"] == more[:2]
    [alone] = run_recipe(
        {"name": "distill", "history": False}, replying("4"), from_seed=seed(messages=turns, turn_fields=more)
    ).drafts
    assert "turn_fields" not in alone.fields


@pytest.mark.vllm
def test_the_best_of_four_on_the_real_engine(vllm_teacher: Teacher) -> None:
    outcome = run_recipe(
        {"name": "distill", "best_of": 4},
        vllm_teacher,
        from_seed=seed("Felix buys 8 cups for 7 dollars each. How much does Felix pay?"),
    )
    assert outcome.attempts == {"not_the_best": 3}
    assert 0 <= outcome.drafts[0].fields["agreement"] <= 1
