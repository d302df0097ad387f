"""Verdicts: whether an answer is right, by the verifier that the case calls for.

Law: a verifier that cannot tell says so, and then a judge decides if there is one; otherwise the case is undecided. Without a
choice of a verifier, a text that differs from the expected one is not yet wrong, for there are many right texts; a label, a
value of a schema, a program or a number can be told for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from synth_ray.dedup.normal_form import normal_form
from synth_ray.errors import AskFailed
from synth_ray.evaluate.cases import Case
from synth_ray.job.judge import Judging
from synth_ray.recipes.contract import Ask, transcript
from synth_ray.recipes.json_schema import validator_of
from synth_ray.recipes.judge import RUBRIC, score_answer
from synth_ray.recipes.markup import parse_json
from synth_ray.records import canonical_json
from synth_ray.verify.answers import NumberVerifier, folded
from synth_ray.verify.arithmetic import final_answer
from synth_ray.verify.numbers import Written, read_number
from synth_ray.verify.sandbox import Sandbox, program_in
from synth_ray.verify.verdict import Verdict as RoomVerdict

_NUMBERS = NumberVerifier()


class Verdict(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    WRONG = "wrong"
    FAILED = "failed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Graded:
    """A verdict, the verifier that gave it, and why. `score` is the judge's mean."""

    verdict: Verdict
    verifier: str
    detail: str = ""
    score: float | None = None


class Grader:
    """Gives verdicts. `verify` overrides every case's own choice of a verifier; empty leaves it to the case. Without a `sandbox`,
    cases with tests are undecided.
    """

    def __init__(self, *, verify: str = "", judge: Judging | None = None, sandbox: Sandbox | None = None) -> None:
        self._verify = verify
        self._judge = judge
        self._sandbox = sandbox

    def verifier_of(self, case: Case) -> str:
        """The verifier that a case is first given to."""
        if chosen := self._verify or case.verify:
            return chosen
        if case.schema is not None:
            return "schema"
        if case.tests:
            return "code"
        if case.expected is not None:
            return "arithmetic" if _number_of(case.expected) is not None else "text"
        return "judge"

    async def grade(self, case: Case, answer: str, ask: Ask) -> Graded:
        """The verdict on an answer. May ask the judge; that it fails to score makes the case undecided."""
        graded = self.check(case, answer)
        if graded.verdict is Verdict.UNDECIDED and self._judge is not None:
            return await _judged(case, answer, ask, self._judge)
        return graded

    def check(self, case: Case, answer: str) -> Graded:
        """The verdict without a judge. May run a program, and then takes its time."""
        match self.verifier_of(case):
            case "label":
                return _compared(case, answer, "label", same_label)
            case "exact":
                return _compared(case, answer, "exact", same_text)
            case "arithmetic":
                return _by_number(case, answer)
            case "schema":
                return _by_schema(case, answer)
            case "code":
                return self._by_tests(case, answer)
            case "text" if same_text(answer, case.expected or ""):
                return Graded(Verdict.PASSED, "exact")
            case "text":
                return _undecided("exact", "differs from the expected text, which alone does not make it wrong")
        return _undecided("judge", "no judge; name one with --judge, or a verifier with --verify")

    def _by_tests(self, case: Case, answer: str) -> Graded:
        if not case.tests or self._sandbox is None:
            return _undecided("code", "no tests")
        passed = self._sandbox.passes(program_in(answer), case.tests)
        return _decided(passed, "code", "the program or its tests ended with an error, or not in time")


def same_label(answer: str, expected: str) -> bool:
    """Whether both are one label: equal but for case and space, or one value where the expected label is extracted fields."""
    if expected.lstrip()[:1] not in ("{", "["):
        return folded(answer) == folded(expected)
    try:
        return canonical_json(parse_json(answer)) == canonical_json(parse_json(expected))
    except ValueError:
        return folded(answer) == folded(expected)


def same_text(answer: str, expected: str) -> bool:
    """Whether both have one normal form: the same words in order, whatever their case, punctuation and spacing."""
    return normal_form(answer) == normal_form(expected)


def _number_of(expected: str) -> Written | None:
    return final_answer(expected) or read_number(expected)


def _compared(case: Case, answer: str, verifier: str, same: Callable[[str, str], bool]) -> Graded:
    if case.expected is None:
        return _undecided(verifier, "no expected answer")
    return _decided(same(answer, case.expected), verifier, "differs from the expected answer")


def _by_number(case: Case, answer: str) -> Graded:
    expected = case.expected or ""
    if _NUMBERS.fault_of(expected):
        return _undecided("arithmetic", "no expected number")
    verified = _NUMBERS.verify(answer, expected)
    if verified.verdict is RoomVerdict.NO_ANSWER:
        return _undecided("arithmetic", verified.detail)
    return _decided(verified.verdict is RoomVerdict.RIGHT, "arithmetic", verified.detail)


def _by_schema(case: Case, answer: str) -> Graded:
    if case.schema is None:
        return _undecided("schema", "no schema")
    try:
        value = parse_json(answer)
        fits = validator_of(case.schema).is_valid(value)
    except (ValueError, RecursionError):
        return _decided(False, "schema", "not one JSON value")
    return _decided(fits, "schema", "JSON that does not fit the schema")


async def _judged(case: Case, answer: str, ask: Ask, rubric: Judging) -> Graded:
    try:
        scores = await score_answer(
            ask, transcript(case.messages), answer, criteria=criteria_of(case, rubric), template=rubric.template or RUBRIC
        )
    except AskFailed as error:
        return _undecided("judge", f"the judge gave no answer: {error.reason}")
    if scores is None:
        return _undecided("judge", "the judge's answer is not in its form")
    mean = round(sum(scores.values()) / len(scores), 4)
    passed = mean >= rubric.min_score
    return Graded(Verdict.PASSED if passed else Verdict.WRONG, "judge", f"scored {mean:g} of 5", mean)


def criteria_of(case: Case, rubric: Judging) -> Mapping[str, str]:
    """The rubric, with what the case says about right answers added to its first criterion."""
    name, meaning = next(iter(rubric.criteria.items()))
    more = [f"How to tell: {case.grade}"] if case.grade else []
    more += [f"A right answer, to compare with in substance: {case.expected}"] if case.expected is not None else []
    return {**rubric.criteria, name: "\n  ".join([meaning, *more])}


def _decided(passed: bool, verifier: str, detail: str) -> Graded:
    return Graded(Verdict.PASSED, verifier) if passed else Graded(Verdict.WRONG, verifier, detail)


def _undecided(verifier: str, detail: str) -> Graded:
    return Graded(Verdict.UNDECIDED, verifier, detail)
