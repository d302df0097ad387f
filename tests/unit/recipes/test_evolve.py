"""An evolution moves on or is eliminated with a reason; nothing that failed becomes a row."""

from __future__ import annotations

import pytest

from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.evolve import Elimination, Evolve, eliminated
from synth_ray.records import Reason
from tests.unit.recipes.standins import made, says, seed

SEED = "Name three rivers of Europe."
STEP = "R: {{ instruction }}"


def longer(prompt: Prompt, _n: int) -> str:
    text = prompt.messages[-1]["content"]
    if not text.startswith("R: "):
        return f"answer to {text}"
    more = " ".join(f"{letter}{len(text)}" for letter in "abcdefgh")
    return f"{text.removeprefix('R: ')} Then also give its length for {more}."


def test_an_instruction_evolves_step_by_step_and_is_then_answered() -> None:
    outcome = made({"name": "evolve", "depth": 2, "rewrite": STEP, "every": True}, says(longer), one=seed(SEED))
    first, second = outcome.drafts
    assert second.prompt[-1]["content"].startswith(first.prompt[-1]["content"])
    assert second.completion == f"answer to {second.prompt[-1]['content']}"
    assert (len(first.fields["operators"]), len(second.fields["operators"])) == (1, 2)
    assert second.fields["evolved_from"] == SEED
    assert not outcome.attempts


def test_the_same_request_draws_the_same_operators_and_another_request_others() -> None:
    choice = {"name": "evolve", "depth": 8, "rewrite": STEP}
    drawn = [made(choice, says(longer), one=seed(SEED), number=n).drafts[0].fields["operators"] for n in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_step_that_keeps_failing_ends_the_evolution_and_its_tries_are_attempts() -> None:
    def stuck(prompt: Prompt, n: int) -> str:
        text = prompt.messages[-1]["content"]
        return text.removeprefix("R: ") if "length" in text and text.startswith("R: ") else longer(prompt, n)

    outcome = made({"name": "evolve", "depth": 3, "tries": 2, "rewrite": STEP, "every": True}, says(stuck), one=seed(SEED))
    assert [d.reason for d in outcome.drafts] == [None, Reason.NOT_EVOLVED, Reason.NOT_EVOLVED]
    assert outcome.attempts == {"evolution_unchanged": 2}
    [last] = made({"name": "evolve", "depth": 3, "rewrite": STEP}, says(stuck), one=seed(SEED)).drafts
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
def test_each_way_to_fail_has_its_name(text: str, finish: str, why: Elimination | None) -> None:
    assert eliminated(SEED, Completion(text, finish, 1, 1), Evolve()) == why


@pytest.mark.vllm
def test_evolving_on_the_real_engine_accounts_for_every_slot(vllm_teacher: Teacher) -> None:
    choice = {"name": "evolve", "depth": 2, "tries": 3, "every": True}
    choice["rewrite"] = "Write one new word problem.\nExamples:\n- {{ instruction }}\nNew problem:"
    outcome = made(choice, vllm_teacher, one=seed("Greta buys 9 oranges for 2 dollars each. How much does Greta pay?"))
    assert len(outcome.drafts) == 2
    assert all(d.reason in (None, Reason.NOT_EVOLVED) for d in outcome.drafts)
    assert outcome.drafts[0].completion
