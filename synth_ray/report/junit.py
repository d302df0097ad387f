"""Gates as JUnit XML, which every CI server shows: one test case for each gate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from synth_ray.report.gates import GateResult

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[GateResult], *, name: str, error: str = "") -> bytes:
    """A suite of the gates of the dataset `name`.

    A gate that does not hold is a failure. With `error`, why the numbers are not final, each gate is an error instead.
    """
    failed = [result for result in results if not result.holds]
    counts = {"tests": len(results), "failures": 0 if error else len(failed), "errors": len(results) if error else 0}
    attributes = {
        "name": xml_text(f"gates of {name}"),
        **{count: str(n) for count, n in counts.items()},
        "skipped": "0",
        "time": "0",
    }
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for result in results:
        case = {"classname": xml_text(f"{name}.gates"), "name": xml_text(str(result.gate)), "time": "0"}
        element = ElementTree.SubElement(suite, "testcase", case)
        if error:
            ElementTree.SubElement(element, "error", {"message": xml_text(error)})
        elif not result.holds:
            ElementTree.SubElement(element, "failure", {"message": xml_text(result.sentence)})
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def xml_text(text: str) -> str:
    """The text with what XML cannot hold, such as control characters, replaced."""
    return _NOT_XML.sub("\ufffd", text)
