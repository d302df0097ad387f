"""Programs and their tests: a test file of asserts, cases of stdin and stdout, or cases of a function's arguments and result.

A gold is a text of Python tests, or an object (or its JSON) `{"inputs": […], "outputs": […]}`, with `fn_name` for a function's
cases. Law: what a case expects never enters the sandbox, so a program can neither read it nor answer with an object that equals
it; each case has the limits for itself. A gold that a program which does nothing passes is at fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from synth_ray.verify.sandbox import Limits, Ran, Sandbox, program_in
from synth_ray.verify.verdict import Verdict, Verified, VerifierFailed, decided

_NOTHING = "pass"


@dataclass(frozen=True, slots=True)
class Cases:
    """Inputs and the outputs they should give. `function` is '' for a program that reads stdin."""

    inputs: Sequence[Any]
    outputs: Sequence[Any]
    function: str = ""


class CodeVerifier:
    """See `verdict.Verifier`. The answer is a Python program, in its first fenced block if it has one."""

    is_quick = False

    def __init__(self, limits: Limits | None = None) -> None:
        self._sandbox = Sandbox(limits)

    def fault_of(self, gold: Any) -> str:
        tests = tests_of(gold)
        if isinstance(tests, Cases):
            return _fault_of_cases(tests)
        if not tests.strip():
            return "no tests"
        passes = self._ran(self._sandbox.test(_NOTHING, tests)).is_done
        return "a program that does nothing passes the tests" if passes else ""

    def verify(self, answer: str, gold: Any) -> Verified:
        program, tests = program_in(answer), tests_of(gold)
        if not program.strip():
            return Verified(Verdict.NO_ANSWER, "no program")
        try:
            if isinstance(tests, str):
                passes = self._ran(self._sandbox.test(program, tests)).is_done
                return decided(passes, "fails its tests, or does not end in time")
            return self._by_cases(program, tests)
        except VerifierFailed as error:
            return Verified(Verdict.VERIFIER_FAILED, str(error))

    def _by_cases(self, program: str, cases: Cases) -> Verified:
        for number, (given, wanted) in enumerate(zip(cases.inputs, cases.outputs, strict=True), 1):
            if cases.function:
                ran = self._ran(self._sandbox.call(program, cases.function, given))
                is_right = ran.is_done and same_value(_parsed(ran.out), wanted)
            else:
                ran = self._ran(self._sandbox.run(program, _text(given)))
                is_right = ran.is_done and same_output(ran.out.decode("utf-8", "replace"), _text(wanted))
            if not is_right:
                return Verified(Verdict.WRONG, f"case {number}: {ran.detail or 'another output'}")
        return Verified(Verdict.RIGHT)

    def _ran(self, ran: Ran) -> Ran:
        if not ran.is_isolated:
            raise VerifierFailed("this host could not isolate a program")
        return ran

    def close(self) -> None:
        """Each program has ended with its verdict."""


def tests_of(gold: Any) -> str | Cases:
    """The tests of a gold, '' where there are none."""
    value = _parsed(gold.encode()) if isinstance(gold, str) and gold.lstrip()[:1] == "{" else gold
    if isinstance(value, Mapping):
        inputs, outputs = value.get("inputs", value.get("input")), value.get("outputs", value.get("output"))
        inputs, outputs = ([side] if isinstance(side, str) else side for side in (inputs, outputs))
        if not isinstance(inputs, list) or not isinstance(outputs, list):
            return ""
        return Cases(inputs, outputs, str(value.get("fn_name") or ""))
    return gold if isinstance(gold, str) else ""


def _fault_of_cases(cases: Cases) -> str:
    if not cases.inputs or len(cases.inputs) != len(cases.outputs):
        return "no case, or not one output for each input"
    if cases.function:
        if not all(isinstance(given, list) for given in cases.inputs):
            return "arguments that are no list"
        return "a function that returns nothing passes the cases" if all(out is None for out in cases.outputs) else ""
    return "a program that writes nothing passes the cases" if not any(_text(out).strip() for out in cases.outputs) else ""


def same_output(said: str, wanted: str) -> bool:
    """Whether both have the same lines, but for space at the end of each and of all."""
    return _lines(said) == _lines(wanted)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def same_value(said: Any, wanted: Any) -> bool:
    """Whether both are one JSON value; floats within a millionth."""
    if isinstance(said, bool) or isinstance(wanted, bool) or said is None or wanted is None:
        return said is wanted
    if isinstance(said, int | float) and isinstance(wanted, int | float):
        is_exact = isinstance(said, int) and isinstance(wanted, int)
        return said == wanted if is_exact else isclose(said, wanted, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(said, list) and isinstance(wanted, list):
        return len(said) == len(wanted) and all(map(same_value, said, wanted))
    if isinstance(said, dict) and isinstance(wanted, dict):
        return said.keys() == wanted.keys() and all(same_value(said[key], wanted[key]) for key in said)
    return bool(said == wanted)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO_VALUE


_NO_VALUE = object()
"""Equals nothing that JSON can say."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "\n".join(map(str, value)) if isinstance(value, list) else json.dumps(value)
