"""Verdicts on answers, those included that try to pass, and that only nearly do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from synth_ray.errors import AskFailed, MissingResource
from synth_ray.evaluate.asking import Settings, evaluate
from synth_ray.evaluate.cases import Case
from synth_ray.evaluate.target import Place, open_target
from synth_ray.evaluate.verdicts import Graded, Grader, criteria_of
from synth_ray.job.judge import Judging
from synth_ray.recipes.contract import Completion, user
from synth_ray.storage import open_storage
from synth_ray.verify.sandbox import Sandbox

INTEGER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
RUBRIC = Judging(criteria={"correct": "free of errors"})


def case(**more: Any) -> Case:
    return Case("c", [user("What?")], **more)


class Judge:
    """Answers every ask with one text, or fails with a reason."""

    def __init__(self, text: str = "", reason: str = "") -> None:
        self.text, self.reason = text, reason
        self.asked: list[str] = []

    async def __call__(self, messages: list[dict[str, str]], **_: Any) -> Completion:
        self.asked.append(messages[-1]["content"])
        if self.reason:
            raise AskFailed(self.reason)
        return Completion(self.text, "stop", 1, 1)


def graded(one: Case, answer: str, judge: Judge | None = None, **options: Any) -> Graded:
    grader = Grader(judge=RUBRIC if judge else None, **options)
    return asyncio.run(grader.grade(one, answer, judge or Judge(reason="deadline")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verify", "expected", "answer", "verdict"),
    [
        ("label", "Card lost", " card  LOST\n", "passed"),
        ("label", "refund", "not refund", "wrong"),
        ("label", "refund", "refund, exchange", "wrong"),
        ("label", "refund", "refund\n\nexchange", "wrong"),
        ("label", "refund", "", "wrong"),
        ("label", '{"a": 1, "b": "x"}', '{"b":"x","a":1}', "passed"),
        ("label", '{"a": 1}', '{"a": 1, "a": 1}', "wrong"),
        ("label", '{"a": 1}', '{"a": 1} {"a": 1}', "wrong"),
        ("label", '{"a": 1}', '{"a": NaN}', "wrong"),
        ("label", "[1]", "[" * 100_000, "wrong"),
        ("exact", "It is sold out.", "it is SOLD out!", "passed"),
        ("exact", "It is sold out.", "It is not sold out.", "wrong"),
        ("exact", "-5 degrees", "5 degrees", "wrong"),
        ("", "It is sold out.", "it is sold out", "passed"),
        ("", "It is sold out.", "We have none left.", "undecided"),
        ("", "5 days after we have it", "6", "undecided"),
        ("arithmetic", "no number here", "42", "undecided"),
        ("label", None, "refund", "undecided"),
        ("exact", None, "refund", "undecided"),
        ("schema", "x", "{}", "undecided"),
        ("code", "x", "pass", "undecided"),
        ("judge", "x", "x", "undecided"),
        ("", None, "anything", "undecided"),
    ],
)
def test_texts_and_labels(verify: str, expected: str | None, answer: str, verdict: str) -> None:
    assert graded(case(verify=verify, expected=expected), answer).verdict == verdict


@pytest.mark.parametrize(
    ("expected", "answer", "verdict"),
    [
        ("42", "42", "passed"),
        ("42", "So it is 6 * 7.\n#### 42", "passed"),
        ("6 * 7 = 42\n#### 42", r"\boxed{42}", "passed"),
        ("42", "#### 41\n#### 42", "passed"),
        ("42", "#### 42\n#### 41", "wrong"),
        ("42", "The answer is **42**.", "passed"),
        ("42", "The final answer is: 42 dollars", "passed"),
        ("1,200", "It costs $1200.", "passed"),
        ("0.5", "1/2", "passed"),
        ("42", "43", "wrong"),
        ("42", "They pay 43 dollars.", "wrong"),
        ("42", "4 2", "undecided"),
        ("42", "42 or 43", "undecided"),
        ("42", "It is not 42.", "undecided"),
        ("42", "It isn't 42", "undecided"),
        ("42", "The answer is 41. The answer is 42.", "undecided"),
        ("42", "forty-two", "undecided"),
        ("42", "Model B42 has it", "undecided"),
        ("42", "", "undecided"),
    ],
)
def test_the_final_number_is_compared_where_it_is_certain(expected: str, answer: str, verdict: str) -> None:
    result = graded(case(expected=expected), answer)
    assert (result.verdict, result.verifier) == (verdict, "arithmetic")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"n": 1}', "passed"),
        (' {"n": 1}\n', "passed"),
        ('{"n": 1.5}', "wrong"),
        ('{"n": 1, "more": 2}', "wrong"),
        ('{"n": 1, "n": 2}', "wrong"),
        ('```json\n{"n": 1}\n```', "wrong"),
        ('{"n": 1} and that is all', "wrong"),
        ("null", "wrong"),
        ("", "wrong"),
        ('{"n":' * 100_000, "wrong"),
    ],
)
def test_a_schema_wants_one_value_that_fits(answer: str, verdict: str) -> None:
    result = graded(case(schema=INTEGER), answer)
    assert (result.verdict, result.verifier) == (verdict, "schema")


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """Skip on a host that cannot isolate programs."""
    made = Sandbox()
    try:
        made.probe()
    except MissingResource as error:
        pytest.skip(str(error))
    return made


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Here:\n```python\ndef f(x):\n    return x + 1\n```", "passed"),
        ("def f(x):\n    return x", "wrong"),
        ("import os\nos._exit(0)", "wrong"),
        ("raise SystemExit(0)", "wrong"),
        ("this is no program", "wrong"),
    ],
)
def test_a_program_passes_by_its_tests_alone(answer: str, verdict: str, sandbox: Sandbox) -> None:
    assert graded(case(tests="assert f(1) == 2"), answer, sandbox=sandbox).verdict == verdict


@pytest.mark.parametrize(("target", "verdict"), [("def f(x): return 2", "passed"), ("def f(x): return x", "wrong")])
def test_a_program_is_run_beside_the_other_cases(target: str, verdict: str, sandbox: Sandbox, tmp_path: Path) -> None:
    asked = [Case("b", [user("f?")], tests="assert f(1) == 2"), Case("a", [user("f?")], expected="def f(x): return 2")]
    scripted = open_target(Place(f"scripted:{target}"))
    evaluation = evaluate(asked, scripted, Settings(), open_storage(str(tmp_path)))
    assert [result.case.id for result in evaluation.results] == ["a", "b"]
    assert (evaluation.results[1].graded.verdict, evaluation.results[1].graded.verifier) == (verdict, "code")


def test_the_command_line_overrides_the_cases_own_verifier() -> None:
    assert graded(case(verify="exact", expected="a b"), "b a", verify="label").verifier == "label"
    assert Grader().verifier_of(case(schema=INTEGER, tests="x", expected="1", verify="judge")) == "judge"


def test_a_judge_decides_what_no_verifier_can_and_is_not_asked_otherwise() -> None:
    judge = Judge('{"correct": 5}')
    good = graded(case(expected="It is sold out.", grade="Says that none is left."), "We have none left.", judge)
    assert (good.verdict, good.verifier, good.score) == ("passed", "judge", 5.0)
    assert "Says that none is left." in judge.asked[0] and "It is sold out." in judge.asked[0]
    assert graded(case(expected="It is sold out."), "It is sold out", judge).verifier == "exact"
    assert graded(case(verify="label", expected="a"), "b", judge).verdict == "wrong"
    assert graded(case(expected="42"), "43", judge).verdict == "wrong"
    assert len(judge.asked) == 1
    assert graded(case(expected="42"), "forty-two", judge).verifier == "judge"
    assert graded(case(), "whatever", Judge('{"correct": 3}')).verdict == "wrong"


@pytest.mark.parametrize("text", ["", "5", '{"correct": "5"}', '{"correct": 6}', '{"correct": true}', '{"other": 5}', "[" * 9000])
def test_a_judge_that_is_not_in_its_form_decides_nothing(text: str) -> None:
    result = graded(case(), "an answer", Judge(text))
    assert (result.verdict, result.verifier) == ("undecided", "judge")


def test_a_judge_that_does_not_answer_decides_nothing() -> None:
    assert "engine_error" in graded(case(), "an answer", Judge(reason="engine_error")).detail


def test_an_answer_cannot_fill_in_the_judges_prompt() -> None:
    """An answer with the prompt's own names in braces stays as it is: the rubric is filled in once."""
    judge = Judge('{"correct": 1}')
    graded(case(expected="{answer}"), "{criteria} {question}", judge)
    assert judge.asked[0].endswith("Answer: {criteria} {question}") and "compare with in substance: {answer}" in judge.asked[0]


def test_what_the_case_says_is_added_to_the_first_criterion_only() -> None:
    rubric = Judging(criteria={"correct": "right", "kind": "friendly"})
    criteria = criteria_of(case(expected="yes", grade="by its tone"), rubric)
    assert list(criteria) == ["correct", "kind"] and criteria["kind"] == "friendly"
    assert json.dumps(criteria).count("by its tone") == 1
    assert criteria_of(case(), rubric) == rubric.criteria
