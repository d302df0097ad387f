"""Verdicts of the verifiers: right, wrong, no answer, a gold at fault, and a verifier that failed, each told apart."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from synth_ray.errors import MissingResource
from synth_ray.recipes.json_answers import JsonVerifier
from synth_ray.verify.answers import LabelVerifier, NumberVerifier, PatternVerifier, TextVerifier
from synth_ray.verify.maths import MathVerifier
from synth_ray.verify.programs import CodeVerifier
from synth_ray.verify.sandbox import Limits, Sandbox
from synth_ray.verify.verdict import Verdict, Verifier

RIGHT, WRONG, NONE, BAD_GOLD = Verdict.RIGHT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.UNVERIFIABLE


def verdict(verifier: Verifier, answer: str, gold: Any) -> Verdict:
    return BAD_GOLD if verifier.fault_of(gold) else verifier.verify(answer, gold).verdict


@pytest.fixture(scope="module")
def isolating() -> None:
    """Skip on a host that cannot isolate programs."""
    try:
        Sandbox().probe()
    except MissingResource as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def maths(isolating: None) -> Iterator[MathVerifier]:
    pytest.importorskip("math_verify")
    verifier = MathVerifier(seconds=20, processes=2)
    yield verifier
    verifier.close()


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        (r"The answer is $\frac{2}{4}$", "1/2", RIGHT),
        ("$x^2+2x+1$", "(x+1)^2", RIGHT),
        (r"so \boxed{\{2,1\}}", r"\{1,2\}", RIGHT),
        (r"\boxed{(1,2)}", "(1,2)", RIGHT),  # a bare interval, which Math-Verify alone reads as nothing
        (r"\boxed{(1,3)}", "(1,2)", WRONG),
        (r"$\sqrt{8}$", r"2\sqrt{2}", RIGHT),
        ("It is (B).", "B", RIGHT),
        ("The answer is C", "B", WRONG),
        ("0.333", "1/3", WRONG),
        (r"\boxed{3} or \boxed{4}", "3", WRONG),
        ("3 + 4 = 7\n#### 7", "first 3, then\n#### 7", RIGHT),
        ("I cannot say.", "12", NONE),
        ("", "12", NONE),
        ("12", "???", BAD_GOLD),
        ("12", "", BAD_GOLD),
        ("12", None, BAD_GOLD),
    ],
)
def test_mathematics(maths: MathVerifier, answer: str, gold: Any, expected: Verdict) -> None:
    assert verdict(maths, answer, gold) is expected


def test_mathematics_that_does_not_end_fails_the_verifier_and_not_the_answers_beside_it(isolating: None) -> None:
    pytest.importorskip("math_verify")
    verifier = MathVerifier(seconds=4, processes=2)
    verifier.verify("1", "1")
    endless = [r"$9^{9^{9^9}}$", "4", r"$9^{9^{9^9}}$", "3"]
    with ThreadPoolExecutor(4) as threads:  # off the main thread, where Math-Verify's own limits do not work
        verdicts = list(threads.map(lambda answer: verifier.verify(answer, "3").verdict, endless))
    assert verdicts == [Verdict.VERIFIER_FAILED, WRONG, Verdict.VERIFIER_FAILED, RIGHT]
    verifier.close()


ADD = "```python\na, b = map(int, open(0).read().split())\nprint(a + b)\n```"
CASES = {"inputs": ["1 2\n", "30 4"], "outputs": ["3\n", "34"]}
CALLS = {"fn_name": "add", "inputs": [[1, 2], ["a", "b"]], "outputs": [3, "ab"]}
ASSERTS = "assert add(1, 2) == 3\nassert add('a', 'b') == 'ab'"
EQUALS_ALL = "class Any:\n    def __eq__(self, other):\n        return True\ndef add(a, b):\n    return Any()"
TOKEN = "import os, sys\nsys.stdout.buffer.write(sys._getframe(1).f_globals['token'])\nsys.stdout.flush()\nos._exit(0)"


@pytest.mark.parametrize(
    ("program", "gold", "expected"),
    [
        (ADD, CASES, RIGHT),
        (ADD, json.dumps(CASES), RIGHT),
        ("a, b = map(int, input().split())\nprint(a + b, ' ')\nimport sys; sys.exit(0)", CASES, RIGHT),
        ("print(3)", CASES, WRONG),
        ("print(3); print(34)", CASES, WRONG),
        ("import sys; sys.exit(0)", CASES, WRONG),
        ("a, b = map(int, input().split())\nprint(a + b)\nraise SystemExit(1)", CASES, WRONG),
        ("import os\nprint(open('/proc/self/cmdline').read())", CASES, WRONG),
        ("while True: pass", CASES, WRONG),
        ("def add(a, b):\n    print('talks')\n    return a + b", CALLS, RIGHT),
        ("class Solution:\n    def add(self, a, b):\n        return a + b", CALLS, RIGHT),
        (EQUALS_ALL, CALLS, WRONG),
        ("def add(a, b):\n    return 3", CALLS, WRONG),
        ("def add(a, b):\n    return a + b", ASSERTS, RIGHT),
        (EQUALS_ALL, ASSERTS, WRONG),
        (TOKEN, ASSERTS, WRONG),
        ("import builtins\nbuiltins.exec = lambda *_: None", ASSERTS, WRONG),
        ("import builtins\nbuiltins.compile = lambda *_, **__: 'pass'", ASSERTS, WRONG),
        ("import sys; sys.exit(0)", ASSERTS, WRONG),
        ("import os; os._exit(0)", ASSERTS, WRONG),
        ("", ASSERTS, NONE),
        (ADD, {"inputs": ["1"], "outputs": ["\n"]}, BAD_GOLD),
        (ADD, {"inputs": ["1"], "outputs": []}, BAD_GOLD),
        (ADD, {"inputs": [], "outputs": []}, BAD_GOLD),
        (ADD, {"fn_name": "f", "inputs": [1], "outputs": [None]}, BAD_GOLD),
        (ADD, "assert True", BAD_GOLD),
        (ADD, "", BAD_GOLD),
        (ADD, 3, BAD_GOLD),
    ],
)
def test_programs_and_what_they_try(isolating: None, program: str, gold: Any, expected: Verdict) -> None:
    limits = Limits(seconds=60 if expected is RIGHT else 3)
    assert verdict(CodeVerifier(limits), program, gold) is expected


@pytest.mark.parametrize(
    ("verifier", "answer", "gold", "expected"),
    [
        (NumberVerifier(), "She pays 5 + 5 = 10\n#### 10", "10.0", RIGHT),
        (NumberVerifier(), "#### 11", "10", WRONG),
        (NumberVerifier(), "either 10 or 11", "10", NONE),
        (NumberVerifier(), "10", "ten", BAD_GOLD),
        (LabelVerifier(["spam", "ham"]), "Label: Spam", "spam", NONE),
        (LabelVerifier(["spam", "ham"]), "I think.\nAnswer: Spam", "spam", RIGHT),
        (LabelVerifier(["spam", "ham"]), " HAM ", "spam", WRONG),
        (LabelVerifier(["spam", "ham"]), "ham", "egg", BAD_GOLD),
        (LabelVerifier(), "anything", "Anything", RIGHT),
        (TextVerifier(), r"\boxed{New  York}", "new york", RIGHT),
        (TextVerifier(), "York", "new york", WRONG),
        (PatternVerifier(), "Answer: 2024-01-31", r"\d{4}-\d\d-\d\d", RIGHT),
        (PatternVerifier(), "31 January", r"\d{4}-\d\d-\d\d", WRONG),
        (PatternVerifier(), "x", "(", BAD_GOLD),
        (PatternVerifier(), "a" * 40 + "!", "(a+)+", WRONG),  # in linear time
    ],
)
def test_short_answers(verifier: Verifier, answer: str, gold: str, expected: Verdict) -> None:
    assert verdict(verifier, answer, gold) is expected


def test_json_is_held_against_the_seeds_schema_or_the_jobs() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    own, given = JsonVerifier(schema, seconds=20), JsonVerifier(None, seconds=20)
    assert verdict(own, 'So:\n```json\n{"n": 1}\n```', None) is RIGHT
    assert verdict(own, '{"n": "1"}', None) is WRONG
    assert verdict(given, '{"n": 1}', json.dumps(schema)) is RIGHT
    assert verdict(given, "no JSON", schema) is WRONG
    assert verdict(given, "{}", {"type": "objekt"}) is BAD_GOLD
    assert verdict(given, "{}", "schema") is BAD_GOLD
    slow = JsonVerifier({"type": "string", "pattern": "^(a+)+$"}, seconds=1)
    assert verdict(slow, json.dumps("a" * 40 + "!"), None) is Verdict.VERIFIER_FAILED
    for verifier in (own, given, slow):
        verifier.close()


FORMS = ("{work}\n#### {n:,}", "{work} The answer is {n}.", "{work}\n\\boxed{{{n}}}", "{work}\n#### ${n}.00")


def problems(count: int, corrupted: float) -> Iterator[tuple[str, str, bool]]:
    """Worked answers with their golds, a share of which is changed; whether this one was."""
    draw = random.Random(29)
    for place in range(count):
        a, b = draw.randint(2, 900), draw.randint(2, 60)
        work = f"Each of {b} boxes holds {a} nails. {a} * {b} = <<{a}*{b}={a * b}>>{a * b}."
        is_corrupted = draw.random() < corrupted
        gold = a * b + (draw.choice([-10, -1, 1, a]) if is_corrupted else 0)
        yield FORMS[place % len(FORMS)].format(work=work, n=a * b), f"{gold:,}", is_corrupted


@pytest.mark.parametrize("name", ["arithmetic", "math"])
def test_planted_truth_of_worked_answers_with_corrupted_golds(name: str, request: pytest.FixtureRequest) -> None:
    verifier: Verifier = NumberVerifier() if name == "arithmetic" else request.getfixturevalue("maths")
    with ThreadPoolExecutor(2) as threads:
        verdicts = list(threads.map(lambda p: (p[2], verdict(verifier, p[0], p[1])), problems(600, 0.2)))
    counts = Counter(verdicts)
    assert counts[False, RIGHT] + counts[True, WRONG] >= 0.99 * 600, counts
