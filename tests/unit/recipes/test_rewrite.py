"""`rewrite`: passages contain every word, each row has its passage, and answers quote their sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.teacher import Teacher
from synth_ray.job.load import job_from
from synth_ray.job.problems import BadJob
from synth_ray.job.recipe import RecipeChoice
from synth_ray.recipes.catalogue import options_of
from synth_ray.recipes.passages import counter, passages
from synth_ray.recipes.templates import constants_of
from synth_ray.records import Reason
from synth_ray.workers.row_stages import comparison_of_job
from tests.conftest import TINY_TEACHER
from tests.unit.recipes.fake_teacher import replying, run_recipe, seed

TEXT = "The ferry leaves at nine. It takes two hours. The bar opens at ten. Dogs travel free of charge."


@given(st.lists(st.sampled_from(["ferry", "nine.", "It", "opens", "hours.", "Überfahrt", "二時間。", "free!"]), max_size=80))
def test_passages_contain_every_word_once_and_none_is_too_long(words: list[str]) -> None:
    for count in (counter(""), counter(str(TINY_TEACHER))):
        parts = passages(" ".join(words), tokens=16, count=count)
        assert " ".join(parts).split() == words
        assert all(count(part) <= 16 or " " not in part for part in parts)


def test_each_row_takes_the_next_passage_and_the_next_style() -> None:
    choice = {
        "name": "rewrite",
        "n": 3,
        "passage_tokens": 16,
        "styles": ["plainly", "in verse"],
        "template": "{{ style }}: {{ passage }}",
    }
    drafts = run_recipe(choice, replying(lambda prompt, _: prompt.messages[-1]["content"]), from_seed=seed(TEXT)).drafts
    passages_used = [d.fields["passage"] for d in drafts]
    assert len(set(passages_used)) > 1
    assert [d.fields["style"] for d in drafts] == ["plainly", "in verse", "plainly"]
    assert [d.completion for d in drafts] == [f"{d.fields['style']}: {d.fields['passage']}" for d in drafts]


def test_a_question_has_its_answer_and_the_sentence_it_is_from() -> None:
    reply = {"question": "When does it leave?", "quote": "The ferry leaves at nine.", "answer": "At nine."}
    teacher = replying(json.dumps(reply))
    [draft] = run_recipe({"name": "rewrite", "into": "questions"}, teacher, from_seed=seed(TEXT)).drafts
    assert (draft.prompt[-1]["content"], draft.completion) == (reply["question"], reply["answer"])
    assert draft.fields == {"passage": TEXT, "quote": reply["quote"]}
    assert TEXT in teacher.asked[0].messages[-1]["content"]
    [broken] = run_recipe({"name": "rewrite", "into": "questions"}, replying('{"question": "Wh'), from_seed=seed(TEXT)).drafts
    assert broken.reason == Reason.SCHEMA_MISMATCH


def test_a_missing_tokenizer_stops_the_job_before_it_asks() -> None:
    with pytest.raises(BadJob, match=r"recipe\.tokenizer: wanted a local tokenizer\.json"):
        options_of(RecipeChoice(name="rewrite", options={"tokenizer": "nowhere"}))


@pytest.mark.vllm
def test_the_real_engine_answers_in_the_requested_schema(vllm_teacher: Teacher) -> None:
    short = "Reply as JSON with keys question, quote and answer.\nMessage: {{ passage }}"
    choice = {"name": "rewrite", "into": "questions", "n": 2, "template": short, "tokenizer": str(TINY_TEACHER)}
    for draft in run_recipe(choice, vllm_teacher, from_seed=seed(TEXT)).drafts:
        assert draft.reason in (None, Reason.SCHEMA_MISMATCH)  # an answer cut at 64 tokens is not valid JSON
        assert draft.fields["passage"] == TEXT


def test_the_constants_of_a_template_are_masked_in_comparisons() -> None:
    assert constants_of("Rewrite the text below {{ style }}. Keep every fact; add none.\n\n{{ passage }}\nThe end.") == (
        "Rewrite the text below",
        ". Keep every fact; add none.",
    )
    job = job_from(
        {"name": "m", "seeds": "x.jsonl", "recipe": "rewrite", "models": {"teacher": {"engine": "scripted"}}, "output": "out"}
    )
    assert "Rewrite the text below" in comparison_of_job(job)[1]
