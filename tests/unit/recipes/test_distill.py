"""The best of several, reasoning kept apart, and conversations asked whole."""

from __future__ import annotations

import pytest

from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.recipes.catalogue import find
from tests.unit.recipes.standins import made, says, seed

SUMS = ["so it is\n#### 5", "hence\n#### 4", "clearly\n#### 4.", "or\n#### $4"]


def test_the_first_sample_with_the_commonest_final_answer_is_kept_and_the_others_are_attempts() -> None:
    outcome = made({"name": "distill", "best_of": 4}, says(lambda _prompt, n: SUMS[n]))
    assert [d.completion for d in outcome.drafts] == [SUMS[1]]
    assert outcome.drafts[0].fields == {"agreement": 0.75}
    assert outcome.attempts == {"not_the_best": 3}


def test_each_of_n_rows_is_the_best_of_its_own_samples_by_a_judges_rubric() -> None:
    def judge(prompt: Prompt, _n: int) -> str:
        good = 5 if "number 2" in prompt.messages[-1]["content"] or "number 4" in prompt.messages[-1]["content"] else 2
        return f'{{"correct":{good},"helpful":3,"clear":3}}'

    choice = {"name": "distill", "n": 2, "best_of": 3, "pick": "judge"}
    roles = {"teacher": says(lambda _prompt, n: f"number {n}"), "judge": says(judge)}
    drafts = made(choice, roles).drafts
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
        ("4", "4", None),
    ],
)
def test_reasoning_is_kept_apart(text: str, completion: str, reasoning: str | None) -> None:
    [draft] = made({"name": "distill", "reasoning": ["<think>", "</think>"]}, says(text)).drafts
    assert (draft.completion, draft.fields["reasoning"]) == (completion, reasoning)


def test_a_conversation_is_asked_with_the_turns_before_its_last() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "2 + 2?"}]
    teacher = says("4")
    [draft] = made({"name": "distill", "system": "Be brief."}, teacher, one=seed(messages=turns)).drafts
    assert draft.prompt == turns
    assert teacher.asked[0].messages == [{"role": "system", "content": "Be brief."}, *turns]
    [alone] = made({"name": "distill", "history": False}, says("4"), one=seed(messages=turns)).drafts
    assert alone.prompt == turns[-1:]


@pytest.mark.vllm
def test_the_best_of_four_on_the_real_engine(vllm_teacher: Teacher) -> None:
    outcome = made(
        {"name": "distill", "best_of": 4},
        vllm_teacher,
        one=seed("Felix buys 8 cups for 7 dollars each. How much does Felix pay?"),
    )
    assert outcome.attempts == {"not_the_best": 3}
    assert 0 <= outcome.drafts[0].fields["agreement"] <= 1
