"""`fill`: new examples of a class, with the class's label, prompted with its own examples and drawn attributes."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from synth_ray.job.running import Plan
from synth_ray.plan.cells import FieldCodes
from synth_ray.plan.chunks import Planner
from synth_ray.recipes.catalogue import find
from synth_ray.recipes.fill import Fill
from synth_ray.records import Reason
from tests.unit.plan.test_chunks import Seeds
from tests.unit.recipes.fake_teacher import replying, run_recipe, seed


def test_an_example_takes_its_seeds_label_and_asks_for_its_cell_and_attributes() -> None:
    teacher = replying(lambda prompt, _n: f" new {len(prompt.messages[-1]['content'])} ")
    choice = {"name": "fill", "by": "intent", "n": 40, "attributes": {"tone": ["polite", "curt"]}}
    outcome = run_recipe(choice, teacher, from_seed=seed("where is it?", intent="delivery", answer="delivery"))
    assert {draft.completion for draft in outcome.drafts} == {"delivery"}
    assert all(draft.prompt[0]["content"].startswith("new ") for draft in outcome.drafts)
    assert all(draft.fields["intent"] == "delivery" for draft in outcome.drafts)
    tones = Counter(draft.fields["attributes"]["tone"] for draft in outcome.drafts)
    assert set(tones) == {"polite", "curt"}
    texts = [prompt.messages[-1]["content"] for prompt in teacher.asked]
    assert all("examples, intent: delivery:" in text and "where is it?" in text for text in texts)
    assert sum("tone: curt" in text for text in texts) == tones["curt"]
    repeated = run_recipe(choice, teacher, from_seed=seed("where is it?", intent="delivery", answer="delivery"))
    assert [d.fields for d in repeated.drafts] == [d.fields for d in outcome.drafts]


def test_the_answer_template_asks_for_an_answer() -> None:
    choice = {"name": "fill", "by": ["intent"], "answer": "Reply to: {{ example }}"}
    [draft] = run_recipe(choice, replying(lambda p, _: p.messages[-1]["content"][-9:]), from_seed=seed(intent="x")).drafts
    assert draft.completion == draft.prompt[0]["content"]
    assert draft.completion == "le alone."


def test_a_seed_without_an_answer_and_an_empty_example_have_reasons() -> None:
    [first] = run_recipe({"name": "fill", "by": "intent"}, replying("new"), from_seed=seed(intent="x")).drafts
    [second] = run_recipe({"name": "fill", "by": "intent"}, replying(" "), from_seed=seed(intent="x", answer="x")).drafts
    assert (first.reason, second.reason) == (Reason.MISSING_FIELD, Reason.NO_ANSWER)
    with pytest.raises(ValidationError, match="wanted values for every attribute, got none for tone"):
        Fill(by=["intent"], attributes={"tone": []})


def test_companions_are_of_the_same_cell_and_split() -> None:
    seeds = Seeds(seed(f"p{i}", intent="abc"[i % 3]) for i in range(60))
    values = FieldCodes(["intent"])
    assert len(list(values.observe(seeds))) == 60
    recipe = find("fill")
    options = recipe.options(by="intent", shots=5)
    planner = Planner(seeds, recipe=recipe, options=options, plan=Plan(), ask_digest="a", alike=values.codes)
    for request in planner.chunk(0):
        assert {shot.fields["intent"] for shot in request.shots} == {request.seed.fields["intent"]}
        assert len({shot.id for shot in request.shots} - {request.seed.id}) == 5
