"""The results as JUnit XML, which CI systems read: wrong is a failure, no answer an error, undecided a skipped test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from synth_ray.evaluate.asking import Result
from synth_ray.evaluate.verdicts import Verdict
from synth_ray.report.junit import xml_text

_ELEMENTS = {Verdict.WRONG: "failure", Verdict.FAILED: "error", Verdict.UNDECIDED: "skipped"}
_LONGEST = 2000


def junit(results: Sequence[Result], gates: Mapping[str, str | None]) -> bytes:
    """A suite of the cases, and one of the gates if there are any. Long answers are cut, characters that XML lacks replaced."""
    root = ElementTree.Element("testsuites", name="synth-ray eval")
    counts = Counter(_ELEMENTS.get(result.graded.verdict, "") for result in results)
    cases = _suite(root, "cases", len(results), counts)
    for result in results:
        _add_case(cases, result)
    if gates:
        suite = _suite(root, "gates", len(gates), Counter("failure" for why in gates.values() if why))
        for name, why in gates.items():
            test = ElementTree.SubElement(suite, "testcase", name=name, classname="gate")
            if why:
                ElementTree.SubElement(test, "failure", message=why, type="gate")
    ElementTree.indent(root, " ")
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(root: ElementTree.Element, name: str, tests: int, counts: Counter[str]) -> ElementTree.Element:
    numbers = {"tests": tests, "failures": counts["failure"], "errors": counts["error"], "skipped": counts["skipped"]}
    return ElementTree.SubElement(root, "testsuite", {"name": name} | {key: str(value) for key, value in numbers.items()})


def _add_case(suite: ElementTree.Element, result: Result) -> None:
    graded, groups = result.graded, result.case.groups
    group = groups.get("category") or groups.get("class") or groups.get("kind") or groups.get("split") or "case"
    test = ElementTree.SubElement(suite, "testcase", name=xml_text(result.case.id), classname=xml_text(group))
    kind = _ELEMENTS.get(graded.verdict)
    if kind is None:
        return
    why = ": ".join(filter(None, (result.reason, graded.detail)))
    element = ElementTree.SubElement(test, kind, message=xml_text(why), type=graded.verifier or "answer")
    if result.answer is not None:
        element.text = xml_text(f"answer: {_cut(result.answer)}\nexpected: {_cut(result.case.expected or '-')}")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
