"""`label`: a closed label set, majority votes, and gold labels that are compared but never in the prompt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synth_ray.ask.teacher import Teacher
from synth_ray.job.problems import BadJob
from synth_ray.job.recipe import RecipeChoice
from synth_ray.recipes.catalogue import options_of
from synth_ray.records import Reason
from tests.unit.recipes.fake_teacher import replying, run_recipe, seed

INTENTS = ["refund", "delivery_late", "invoice"]


def replying_in_turn(*answers: str) -> Any:
    return replying(lambda _prompt, n: answers[n])


def test_the_most_frequent_vote_is_the_label_and_its_share_of_all_votes_the_agreement() -> None:
    teacher = replying_in_turn("refund", "invoice", "refund", "cut o")
    [draft] = run_recipe({"name": "label", "labels": INTENTS, "votes": 4}, teacher, from_seed=seed("where is my money")).drafts
    assert (draft.completion, draft.reason) == ("refund", None)
    assert draft.fields == {"agreement": 0.5, "votes": {"invoice": 1, "refund": 2}}
    assert draft.prompt == [{"role": "user", "content": "where is my money"}]
    assert (teacher.asked[0].constraint.choices, teacher.asked[0].sampling["temperature"]) == (tuple(INTENTS), 0.7)


@pytest.mark.parametrize(
    ("answers", "label", "reason"),
    [
        (("invoice", "refund", "x"), "refund", Reason.NO_AGREEMENT),  # a tie goes to the label listed first
        (("x", "y", "z"), "", Reason.NO_ANSWER),
    ],
)
def test_votes_without_agreement_or_outside_the_label_set_have_a_reason(
    answers: tuple[str, ...], label: str, reason: Reason
) -> None:
    [draft] = run_recipe({"name": "label", "labels": INTENTS, "votes": 3}, replying_in_turn(*answers)).drafts
    assert (draft.completion, draft.reason) == (label, reason)


def test_a_gold_label_is_compared_and_cannot_be_in_the_prompt() -> None:
    choice = {"name": "label", "labels": INTENTS, "gold": "category", "template": "{{ prompt }} {{ category }}"}
    [failed] = run_recipe(choice, replying("refund"), from_seed=seed(category="refund")).drafts
    assert failed.reason == Reason.RECIPE_ERROR
    for gold, matches in (("refund", True), ("invoice", False)):
        [draft] = run_recipe(choice | {"template": "{{ prompt }}"}, replying("refund"), from_seed=seed(category=gold)).drafts
        assert (draft.fields["gold"], draft.fields["matches_gold"]) == (gold, matches)


def test_a_rationale_comes_before_its_label_and_that_of_the_winner_is_kept() -> None:
    answers = [
        json.dumps({"rationale": f"because {n}", "answer": label}) for n, label in enumerate(("invoice", "refund", "refund"))
    ]
    teacher = replying_in_turn(*answers)
    [draft] = run_recipe({"name": "label", "labels": INTENTS, "votes": 3, "rationale": True}, teacher).drafts
    assert (draft.completion, draft.fields["rationale"]) == ("refund", "because 1")
    assert list(teacher.asked[0].constraint.json_schema["properties"]) == ["rationale", "answer"]


def test_scores_and_extracted_fields_are_voted_on_too() -> None:
    [score] = run_recipe({"name": "label", "scale": [1, 5], "votes": 3}, replying_in_turn("4", "4", "5")).drafts
    assert (score.completion, round(score.fields["agreement"], 2)) == ("4", 0.67)
    fields = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answers = replying_in_turn('{"city": "Oslo"}', '{"city":"Oslo"}', '{"town":"Oslo"}')
    [record] = run_recipe({"name": "label", "schema": fields, "votes": 3}, answers).drafts
    assert (record.completion, record.fields["votes"]) == ('{"city":"Oslo"}', {'{"city":"Oslo"}': 2})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of labels, scale and schema, got none"),
        ({"labels": ["a", "b"], "scale": [1, 5]}, "got labels and scale"),
        ({"labels": ["a"]}, "at least two labels"),
        ({"labels": ["a", "b"], "votes": 3, "temperature": 0}, "temperature above 0 for 3 votes"),
    ],
)
def test_invalid_label_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadJob, match=message):
        options_of(RecipeChoice(name="label", options=options))


@pytest.mark.vllm
def test_the_real_engine_stays_in_the_label_set_and_its_votes_are_counted(vllm_teacher: Teacher) -> None:
    choice = {
        "name": "label",
        "labels": INTENTS,
        "votes": 4,
        "min_agreement": 0.0,
        "gold": "intent",
        "template": "Classify the intent of this message. "
        "Answer with one of: {{ labels | sort | join(', ') }}.\nMessage: {{ prompt }}",
    }
    text = "Hello. The refund for my water bottle was promised 3 days ago. Please reply."
    [draft] = run_recipe(choice, vllm_teacher, from_seed=seed(text, intent="refund")).drafts
    assert draft.completion == "refund"
    assert draft.fields["matches_gold"]
    assert sum(draft.fields["votes"].values()) == 4
