"""Gates over the numbers of a manifest, and their JUnit XML."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.gates import Gate, parse_gate, read_gates
from synth_ray.report.gates import GateResult, failed_gates, gate_results
from synth_ray.report.junit import junit_xml

MANIFEST: dict[str, Any] = {
    "rows": {"requested": 10, "accepted": 6, "rejected": {"echo": 4}, "failed": {}},
    "narrowing": {"vendi": {"value": 0.9, "low": 0.8, "verdict": "ok"}, "opener_share": {"value": 0.1}},
    "tstr": {"macro_f1": 0.72, "real": {"macro_f1": 0.8}},
    "judge": {"good": {"judged": 0.7, "corrected": 0.65}, "kappa": 0.7},
    "perplexity": {},
    "leaks": 0,
    "name": "some",
}
HOLD = [
    "accepted >= 6", "accepted_share == 0.6", "rows.rejected.echo <= 4", "rows.rejected.refusal == 0", "leaks == 0",
    "narrowing.vendi >= 0.85", "narrowing.vendi.low > 0.7", "tstr.macro_f1 >= 0.7", "tstr.real.macro_f1 == 0.8",
    "judge.rate > 0.6",
]  # fmt: skip


def sentences(manifest: dict[str, Any], *texts: str) -> list[str]:
    return failed_gates(gate_results(manifest, [parse_gate(text) for text in texts]))


def test_short_names_and_measures_are_the_numbers_they_stand_for() -> None:
    assert sentences(MANIFEST, *HOLD) == []
    assert sentences(MANIFEST, "narrowing.vendi >= 0.95", "leaks > 0") == [
        "wanted narrowing.vendi >= 0.95, got 0.9",
        "wanted leaks > 0, got 0",
    ]


def test_a_number_that_was_not_measured_fails_its_gate_and_says_so() -> None:
    unmeasured = MANIFEST | {"leaks": None, "judge": {"kappa": 0.1}}
    assert sentences(unmeasured, "leaks == 0", "perplexity.real < 9", "judge.rate >= 0") == [
        "wanted leaks == 0, got no number: 'leaks' was not measured for this version",
        "wanted perplexity.real < 9, got no number: 'perplexity' was not measured for this version",
        "wanted judge.rate >= 0, got no number: a corrected rate was not measured, since it needs a judge that is better than "
        "chance on gold rows",
    ]


def test_an_unknown_number_is_told_with_those_near_it() -> None:
    [vendi, share, name] = sentences(MANIFEST, "narrowing.vendy > 0", "accepted_shares > 0", "name == 1")
    assert vendi.startswith(
        "wanted narrowing.vendy > 0, got no number of that name in manifest.json; near it are narrowing.vendi"
    )
    assert "near it are accepted_share" in share
    assert name.startswith("wanted name == 1, got no number of that name")


def test_gates_are_read_from_a_list_or_from_a_job(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- accepted >= 3\n- leaks == 0\n")
    (tmp_path / "job.yaml").write_text("name: x\nseeds: y\ngates: [leaks == 0]\n")
    assert [str(gate) for gate in read_gates(tmp_path / "list.yaml")] == ["accepted >= 3", "leaks == 0"]
    assert [str(gate) for gate in read_gates(tmp_path / "job.yaml")] == ["accepted >= 1", "leaks == 0"]
    for text, message in (
        ("name: x\n", "wanted a list of gates"),
        ("[1, 2]\n", "wanted a list of gates"),
        ("- accepted\n- leaks => 0\n", "gate 2: wanted a number's name"),
        ("just text\n", "wanted a list or a mapping"),
        ("- {", "valid YAML"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(JobError, match=message):
            read_gates(tmp_path / "bad.yaml")
    with pytest.raises(JobError, match="a readable job file"):
        read_gates(tmp_path / "none.yaml")


ANY_TEXT = st.text(st.characters())


@given(st.lists(st.tuples(ANY_TEXT, st.none() | st.floats(), ANY_TEXT), max_size=4), ANY_TEXT, ANY_TEXT)
def test_the_xml_is_well_formed_for_any_text(gates: list[tuple[str, float | None, str]], name: str, error: str) -> None:
    results = [GateResult(Gate(gate, ">=", 0.5), value, why) for gate, value, why in gates]
    [suite] = ElementTree.fromstring(junit_xml(results, name=name, error=error))
    assert suite.attrib["tests"] == str(len(suite.findall("testcase"))) == str(len(results))
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure")))
    assert suite.attrib["errors"] == str(len(suite.findall("testcase/error")))


def test_each_gate_is_a_test_case_and_an_error_where_the_numbers_are_not_final() -> None:
    results = gate_results(MANIFEST, [parse_gate("accepted >= 1"), parse_gate("leaks > 0")])
    [suite] = ElementTree.fromstring(junit_xml(results, name="a <b>"))
    assert suite.attrib["name"] == "gates of a <b>"
    assert [case.attrib["name"] for case in suite] == ["accepted >= 1", "leaks > 0"]
    assert [failure.attrib["message"] for failure in suite.iter("failure")] == ["wanted leaks > 0, got 0"]
    [stopped] = ElementTree.fromstring(junit_xml(results, name="x", error="stopped short: budget"))
    assert [error.attrib["message"] for error in stopped.iter("error")] == ["stopped short: budget"] * 2
