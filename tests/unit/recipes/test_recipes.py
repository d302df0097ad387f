"""The recipe contract, with a teacher that repeats its prompt instead of a model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.errors import AskFailed, JobError
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.sampling import Sampling
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.recipes.contract import Completion, Recipe
from synth_ray.records import Outcome, Reason, Request, Seed


class EchoTeacher:
    """Answers with its prompt, or fails on prompts that contain `fails_on`."""

    def __init__(self, *, fails_on: str = "\0", sleeps_s: float = 0.0) -> None:
        self._fails_on = fails_on
        self._sleeps_s = sleeps_s

    def open(self) -> TeacherFacts:
        return TeacherFacts("echo", "echo", "", 1, 1000)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        await asyncio.sleep(self._sleeps_s)
        text = prompt.messages[-1]["content"]
        if self._fails_on in text:
            raise AskFailed(Reason.PROMPT_TOO_LONG, "scripted")
        return [Completion(f"{i}:{text}", "stop", 3, 5) for i in range(prompt.n)]

    def load(self) -> Load:
        return Load()

    def close(self) -> None:
        pass


def seed(prompt: str = "2 + 2?", **more: Any) -> Seed:
    return Seed(id=prompt, lineage=prompt, split="train", fields={"prompt": prompt, **more})


def run(
    choice: dict[str, Any],
    *,
    recipe: Recipe | None = None,
    teacher: EchoTeacher | None = None,
    deadline_s: float = 60.0,
    **request: Any,
) -> Outcome:
    chosen = RecipeChoice.model_validate(choice)
    recipe = recipe or find(chosen.name)
    options = recipe.options.model_validate(chosen.options)
    asker = Asker(
        recipe,
        options=options,
        teachers={"teacher": teacher or EchoTeacher()},
        sampling=Sampling(),
        deadline=Deadline(deadline_s, tokens=1),
    )
    fields = {"seed": seed(), "shots": (), "id": "r", "chunk": 0, "position": 0} | request
    return asyncio.run(asker.run(Request(slots=recipe.slots(options), **fields)))


def test_distill_makes_one_row_per_completion_and_keeps_fields() -> None:
    outcome = run({"name": "distill", "n": 3, "keep": ["answer"], "template": "Solve: {{ prompt }}"}, seed=seed(answer="4"))
    assert [d.completion for d in outcome.drafts] == [f"{i}:Solve: 2 + 2?" for i in range(3)]
    assert [d.prompt for d in outcome.drafts] == [[{"role": "user", "content": "2 + 2?"}]] * 3
    assert outcome.drafts[0].fields == {"answer": "4"}
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (3, 15)


def test_vary_asks_for_an_instruction_and_then_for_its_answer() -> None:
    choice = {"name": "vary", "instruct": "{% for s in shots %}{{ s.prompt }};{% endfor %}{{ prompt }}", "shots": 1}
    outcome = run(choice, shots=(seed("shot"),))
    assert [d.prompt[-1]["content"] for d in outcome.drafts] == ["0:shot;2 + 2?"]
    assert [d.completion for d in outcome.drafts] == ["0:0:shot;2 + 2?"]
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (6, 10)


def test_a_failed_second_prompt_fails_its_row_and_not_its_siblings() -> None:
    outcome = run({"name": "vary", "instruct": "x", "n": 2}, teacher=EchoTeacher(fails_on="1:"))
    assert [d.reason for d in outcome.drafts] == [None, Reason.PROMPT_TOO_LONG]


@pytest.mark.parametrize(
    ("choice", "teacher", "reason"),
    [
        ({"name": "distill", "template": "{{ absent }}"}, EchoTeacher(), Reason.RECIPE_ERROR),
        ({"name": "distill", "n": 2}, EchoTeacher(fails_on="2 + 2"), Reason.PROMPT_TOO_LONG),
        ({"name": "distill"}, EchoTeacher(sleeps_s=5.0), Reason.DEADLINE),
    ],
)
def test_every_slot_of_a_request_that_fails_is_accounted(choice: dict[str, Any], teacher: EchoTeacher, reason: Reason) -> None:
    outcome = run(choice, teacher=teacher, deadline_s=0.2 if reason is Reason.DEADLINE else 60.0)
    assert {d.reason for d in outcome.drafts} == {reason}
    assert len(outcome.drafts) == choice.get("n", 1)


def test_a_recipe_that_raises_or_makes_too_few_drafts_fails_its_slots() -> None:
    distill = find("distill")

    async def raises(*_: Any) -> Any:
        raise ValueError("a secret of the row")

    async def makes_none(*_: Any) -> Any:
        return []

    for make, detail in ((raises, "ValueError"), (makes_none, "fewer drafts")):
        broken = Recipe("broken", distill.options, make, slots=lambda _: 2)
        outcome = run({"name": "distill"}, recipe=broken)
        assert [d.reason for d in outcome.drafts] == [Reason.RECIPE_ERROR] * 2
        assert detail in outcome.drafts[0].detail
        assert "secret" not in outcome.drafts[0].detail


@pytest.mark.parametrize("attack", ["{{ ''.__class__.__mro__ }}", "{{ prompt.__init__.__globals__ }}", "{{ cycler.__init__ }}"])
def test_templates_cannot_reach_python(attack: str) -> None:
    [draft] = run({"name": "distill", "template": attack}).drafts
    assert draft.reason == Reason.RECIPE_ERROR or "class" not in draft.completion


def test_an_unknown_recipe_names_the_nearest_and_bad_options_name_the_key() -> None:
    with pytest.raises(JobError, match="did you mean 'distill'"):
        find("distil")
    with pytest.raises(JobError, match="importable module"):
        find("nowhere.at.all")
    with pytest.raises(JobError, match=r"recipe\.tempelate.*did you mean 'template'"):
        options_of(RecipeChoice(name="distill", options={"tempelate": "x"}))
