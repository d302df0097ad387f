"""`evolve`: a step succeeds or is eliminated with a reason, and no failed step becomes a row."""

from __future__ import annotations

import pytest

from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.evolve import Elimination, Evolve, elimination_of
from synth_ray.records import Reason
from tests.unit.recipes.fake_teacher import replying, run_recipe, seed

SEED = "Name three rivers of Europe."
STEP = "R: {{ instruction }}"


def evolving(prompt: Prompt, _n: int) -> str:
    text = prompt.messages[-1]["content"]
    if not text.startswith("R: "):
        return f"answer to {text}"
    more = " ".join(f"{letter}{len(text)}" for letter in "abcdefgh")
    return f"{text.removeprefix('R: ')} Then also give its length for {more}."


def test_an_instruction_evolves_step_by_step_and_is_then_answered() -> None:
    outcome = run_recipe({"name": "evolve", "depth": 2, "rewrite": STEP, "every": True}, replying(evolving), from_seed=seed(SEED))
    first, second = outcome.drafts
    assert second.prompt[-1]["content"].startswith(first.prompt[-1]["content"])
    assert second.completion == f"answer to {second.prompt[-1]['content']}"
    assert (len(first.fields["operators"]), len(second.fields["operators"])) == (1, 2)
    assert second.fields["evolved_from"] == SEED
    assert not outcome.attempts


def test_operators_depend_on_the_request() -> None:
    choice = {"name": "evolve", "depth": 8, "rewrite": STEP}
    operators = [
        run_recipe(choice, replying(evolving), from_seed=seed(SEED), number=n).drafts[0].fields["operators"] for n in (1, 1, 2)
    ]
    assert operators[0] == operators[1] != operators[2]


def test_a_step_that_keeps_failing_ends_the_evolution_and_its_tries_are_counted() -> None:
    def stuck(prompt: Prompt, n: int) -> str:
        text = prompt.messages[-1]["content"]
        return text.removeprefix("R: ") if "length" in text and text.startswith("R: ") else evolving(prompt, n)

    outcome = run_recipe(
        {"name": "evolve", "depth": 3, "tries": 2, "rewrite": STEP, "every": True}, replying(stuck), from_seed=seed(SEED)
    )
    assert [d.reason for d in outcome.drafts] == [None, Reason.NOT_EVOLVED, Reason.NOT_EVOLVED]
    assert outcome.attempts == {"evolution_unchanged": 2}
    [last] = run_recipe({"name": "evolve", "depth": 3, "rewrite": STEP}, replying(stuck), from_seed=seed(SEED)).drafts
    assert (last.reason, len(last.fields["operators"])) == (None, 1)


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("Name three rivers of Europe!", "stop", Elimination.UNCHANGED),
        ("I’m sorry, but I can’t make it harder.", "stop", Elimination.REFUSED),
        ("Here is the rewritten prompt: name six lakes", "stop", Elimination.LEAKED),
        ("...", "stop", Elimination.EMPTY),
        ("Name the rivers that flow through at least", "length", Elimination.CUT_OFF),
        ("river " * 400, "stop", Elimination.TOO_LONG),
        ("Name three rivers of Europe longer than 900 km and say which sea they reach.", "stop", None),
    ],
)
def test_each_failed_evolution_has_its_elimination_reason(text: str, finish: str, why: Elimination | None) -> None:
    assert elimination_of(SEED, Completion(text, finish, 1, 1), Evolve()) == why


@pytest.mark.vllm
def test_evolving_on_the_real_engine_accounts_for_every_slot(vllm_teacher: Teacher) -> None:
    choice = {"name": "evolve", "depth": 2, "tries": 3, "every": True}
    choice["rewrite"] = "Write one new word problem.\nExamples:\n- {{ instruction }}\nNew problem:"
    outcome = run_recipe(
        choice, vllm_teacher, from_seed=seed("Greta buys 9 oranges for 2 dollars each. How much does Greta pay?")
    )
    assert len(outcome.drafts) == 2
    assert all(d.reason in (None, Reason.NOT_EVOLVED) for d in outcome.drafts)
    assert outcome.drafts[0].completion
