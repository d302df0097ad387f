"""`synth-ray eval`: real targets and judges, its files, its gates, and each of its exit codes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.endpoint_server import KEY, MODEL, Faults, Reply, behaving_server, faulty_server
from tests.unit.cli.test_cli import run_cli

FUNCTIONS = '''
import asyncio, sys, time

def right(messages):
    return messages[-1]["content"].removeprefix("Say ")

async def later(messages):
    await asyncio.sleep(0.01)
    return right(messages)

class Called:
    async def __call__(self, messages):
        return right(messages)

called = Called()

def half(messages):
    return right(messages) if int(right(messages)) % 2 else "another"

def odd(messages):
    """Every way in which a system may not answer."""
    n = int(right(messages))
    messages.clear()
    if n == 0: raise ValueError("SECRET " + str(n))
    if n == 1: sys.exit(3)
    if n == 2: return None
    if n == 3: time.sleep(3600)
    if n == 4: raise asyncio.CancelledError
    if n == 5: return "\\x00\\ud800 ]]> <b> \\x0b"
    return str(n)

async def never(messages):
    await asyncio.sleep(3600)

def judge(messages):
    return '{"correct": 5}' if "Answer: 1" in messages[-1]["content"] else '{"correct": 1}'

text = "no function"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with targets in a module, and 12 cases: say a number."""
    (tmp_path / "eval_targets.py").write_text(FUNCTIONS)
    (tmp_path / "cases.jsonl").write_text("".join(case(n) for n in range(12)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("eval_targets", None)


def case(n: int, **more: Any) -> str:
    row = {"id": f"c{n:02}", "prompt": f"Say {n}", "answer": str(n), "verify": "exact", "kind": "ab"[n % 2]}
    return json.dumps(row | more) + "\n"


def results(out: Path) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in map(json.loads, (out / "results.jsonl").read_text().splitlines())}


def summary(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "eval.json").read_text()))


@pytest.mark.parametrize("target", ["right", "later", "called"])
def test_a_function_plain_or_async_is_a_target(target: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_cli(capsys, "eval", "cases.jsonl", "--target", f"eval_targets:{target}", "--output", "out")
    assert code == 0 and "passed    12 of 12, 100.0% (95 %: 75.8% to 100.0%)" in out
    assert {line["verdict"] for line in results(folder / "out").values()} == {"passed"}
    assert not list((folder / "out").rglob("*.jsonl.z"))


def test_what_a_function_raises_fails_one_case_by_type_and_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "cases.jsonl", "--target", "eval_targets:odd", "--output", "out", "--timeout", "4"]
    code, out, _ = run_cli(capsys, *words)
    lines = results(folder / "out")
    assert code == 0 and "failed    5 (no answer; deadline 1, engine_error 4)" in out
    assert lines["c00"]["detail"] == "engine_error: the function raised ValueError (eval_targets.py:24)"
    assert "SystemExit" in lines["c01"]["detail"] and "NoneType, not text" in lines["c02"]["detail"]
    assert lines["c03"]["detail"] == "deadline: not done after 4 s" and "CancelledError" in lines["c04"]["detail"]
    assert lines["c05"]["verdict"] == "wrong" and lines["c06"]["verdict"] == "passed"
    assert "SECRET" not in (folder / "out" / "results.jsonl").read_text() + out
    tests = ElementTree.parse(folder / "out" / "junit.xml").getroot()
    assert dict(tests[0].attrib) == {"name": "cases", "tests": "12", "failures": "1", "errors": "5", "skipped": "0"}
    never = [*words[:3], "eval_targets:never", *words[4:], "--limit", "2"]
    assert run_cli(capsys, *never)[0] == 0 and summary(folder / "out")["failed_for"] == {"deadline": 2}


def test_the_same_command_gives_the_same_bytes_in_any_order_of_cases(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (folder / "cases.jsonl").read_text().splitlines(keepends=True)
    (folder / "reversed.jsonl").write_text("".join(reversed(lines)))
    for name, in_flight in (("cases", "1"), ("reversed", "9")):
        words = ["--output", name, "--in-flight", in_flight, "--write-baseline", f"{name}/base.jsonl"]
        assert run_cli(capsys, "eval", f"{name}.jsonl", "--target", "eval_targets:half", *words)[0] == 0
    for file in ("results.jsonl", "eval.json", "junit.xml", "base.jsonl"):
        assert (folder / "cases" / file).read_bytes() == (folder / "reversed" / file).read_bytes()
    counts = summary(folder / "cases")["by"]["kind"]
    assert (counts["a"]["passed"], counts["b"]["passed"], counts["b"]["pass_rate"]) == (0, 6, 1.0)


def test_a_regression_is_told_with_its_cases_and_ends_with_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, words = folder / "base.jsonl", ["eval", "cases.jsonl", "--output", "out", "--target"]
    assert run_cli(capsys, *words, "eval_targets:right", "--write-baseline", "base.jsonl")[0] == 0
    before = base.read_bytes()
    assert run_cli(capsys, *words, "eval_targets:right", "--baseline", "base.jsonl", "--write-baseline", "base.jsonl")[0] == 0
    assert base.read_bytes() == before
    code, out, err = run_cli(capsys, *words, "eval_targets:half", "--baseline", "base.jsonl", "--write-baseline", "base.jsonl")
    assert code == 3 and "newly failing 6: c00, c02, c04, c06, c08, c10" in out and "6 of them newly failing" in err
    assert base.read_bytes() == before and "base.jsonl is left as it is" in err
    compared = summary(folder / "out")["baseline"]
    assert (compared["paired"], compared["newly_passing"], compared["p"]) == (12, [], 0.0312)
    gates = ElementTree.parse(folder / "out" / "junit.xml").getroot()[1]
    assert gates.attrib["failures"] == "1"
    assert run_cli(capsys, *words, "eval_targets:half", "--baseline", "base.jsonl", "--tolerance", "0.3")[0] == 0
    code, out, _ = run_cli(capsys, *words, "eval_targets:right", "--baseline", "out/eval.json")
    assert code == 0 and "newly passing 6" in out


def test_cases_that_changed_are_compared_no_more(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--target", "eval_targets:right", "--output", "out"]
    assert run_cli(capsys, "eval", "cases.jsonl", *words, "--write-baseline", "base.jsonl")[0] == 0
    (folder / "next.jsonl").write_text(case(0, answer="other") + "".join(case(n) for n in range(1, 14)))
    code, out, _ = run_cli(capsys, "eval", "next.jsonl", *words, "--baseline", "base.jsonl")
    assert code == 0 and "11 cases compared, 2 new, 1 changed" in out


def test_a_pass_rate_gate_counts_what_is_undecided_as_not_passed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "open.jsonl").write_text('{"id": "open", "prompt": "Say 1"}\n' + case(1) + case(3))
    words = ["eval", "open.jsonl", "--target", "eval_targets:half", "--output", "out"]
    code, out, err = run_cli(capsys, *words, "--min-pass-rate", "0.9")
    assert code == 3 and "got 0.6667 (2 of 3 passed, 1 undecided)" in err
    assert "undecided 1 (not counted as passed; judge: no judge" in out
    assert run_cli(capsys, *words, "--min-pass-rate", "0.9", "--judge", "eval_targets:judge")[0] == 0
    assert results(folder / "out")["open"] == results(folder / "out")["open"] | {"verifier": "judge", "score": 5.0}
    printed = json.loads(run_cli(capsys, *words, "--json")[1])
    assert {key: printed[key] for key in ("cases", "passed", "undecided")} == {"cases": 3, "passed": 2, "undecided": 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.jsonl", "--target", "eval_targets:right"], "wanted to read 'none.jsonl'"),
        (["cases.jsonl", "--target", "eval_targets"], "--target: wanted a URL"),
        (["cases.jsonl", "--target", "eval_targets:none"], "wanted a function 'none'"),
        (["cases.jsonl", "--target", "eval_targets:text"], "got str"),
        (["cases.jsonl", "--target", "no_such_module:f"], "got ModuleNotFoundError"),
        (["cases.jsonl", "--target", "scripted:{{"], "wanted valid Jinja"),
        (["cases.jsonl", "--target", "http://127.0.0.1:9/v1"], "--model: wanted the name of a model"),
        (["cases.jsonl", "--target", "http://u:p@h/v1", "--model", "m"], "--target: wanted URLs"),
        (["cases.jsonl", "--target", "http://127.0.0.1:9/v1", "--model", "m"], "127.0.0.1:9"),
        (["cases.jsonl", "--target", "eval_targets:right", "--verify", "judge"], "--judge: wanted the judge"),
        (["cases.jsonl", "--target", "eval_targets:right", "--judge", "http://h/v1"], "--judge-model: wanted"),
        (["cases.jsonl", "--target", "eval_targets:right", "--field", "answer"], "--field: wanted NAME=COLUMN"),
        (["cases.jsonl", "--target", "eval_targets:right", "--temperature", "9"], "temperature"),
        (["cases.jsonl", "--target", "eval_targets:right", "--baseline", "none.jsonl"], "--baseline: wanted to read"),
        (
            ["cases.jsonl", "--target", "eval_targets:right", "--baseline", "cases.jsonl"],
            "cases.jsonl:1: wanted a line of results",
        ),
        (["cases.jsonl", "--target", "eval_targets:right", "--baseline", "other.jsonl"], "wanted results of the same cases"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_asked(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other.jsonl").write_text('{"id": "x", "case": "y", "verdict": "passed"}\n')
    code, out, err = run_cli(capsys, "eval", *words, "--output", "out")
    assert (code, out) == (2, "") and message in err
    assert not (folder / "out" / "results.jsonl").exists()


def test_a_rubric_is_read_like_the_jobs_and_its_errors_have_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "cases.jsonl", "--target", "eval_targets:right", "--judge", "eval_targets:judge", "--verify", "judge"]
    (folder / "rubric.yaml").write_text("criteria: {correct: says the number}\nmin_score: 5\n")
    assert run_cli(capsys, *words, "--rubric", "rubric.yaml")[0] == 0
    assert {name for name, line in results(folder / "out" / "eval").items() if line["verdict"] == "passed"} == {
        "c01",
        "c10",
        "c11",
    }
    (folder / "rubric.yaml").write_text("criteria: {correct: x}\nmin_scor: 5\n")
    code, _, err = run_cli(capsys, *words, "--rubric", "rubric.yaml")
    assert code == 2 and "rubric.yaml:2: min_scor" in err and "did you mean 'min_score'?" in err


def test_an_output_that_cannot_be_written_ends_with_1_before_anything_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    assert run_cli(capsys, "eval", "cases.jsonl", "--target", "eval_targets:odd", "--output", "file/out")[0] == 1


def server_words(url: str, out: str = "out") -> list[str]:
    return ["eval", "cases.jsonl", "--target", url, "--model", MODEL, "--key-env", "EVAL_KEY", "--output", out]


def test_a_server_that_fails_at_first_is_asked_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVAL_KEY", KEY)
    faults = Faults({"429": 0.2, "500": 0.2, "cut": 0.2, "reset": 0.1}, reply=lambda prompt, _: prompt.removeprefix("Say "))
    with faulty_server(faults) as url:
        assert run_cli(capsys, *server_words(url), "--in-flight", "4")[0] == 0
        assert summary(folder / "out")["passed"] == 12 and faults.peak_in_flight <= 4
        assert KEY not in "".join(path.read_text() for path in (folder / "out").glob("*.*") if path.is_file())
        monkeypatch.setenv("EVAL_KEY", "another")
        code, _, err = run_cli(capsys, *server_words(url))
        assert code == 2 and "another" not in err


def reply(text: str) -> Reply:
    return 200, {"choices": [{"finish_reason": "stop", "message": {"content": text}}]}


def test_cases_that_hang_fail_or_get_garbage_fail_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVAL_KEY", KEY)

    def behave(body: dict[str, Any], _times: int) -> Reply:
        said = body["messages"][-1]["content"].removeprefix("Say ")
        match said:
            case "0":
                time.sleep(1.0)
            case "1":
                return 500, {"error": "oops"}
            case "2":
                return 200, b"\xff\xfe no JSON"
            case "3":
                return 200, {"choices": []}
            case "4":
                return 200, {"choices": [{"finish_reason": "content_filter", "message": {"content": ""}}]}
            case "5":
                return reply("<think>is it 6? no</think>\n5")
            case "6":
                return 200, {"choices": [{"finish_reason": "length", "message": {"content": "<think>it is 6"}}]}
        return reply(said)

    with behaving_server(behave) as (url, _):
        code, out, _ = run_cli(capsys, *server_words(url), "--timeout", "0.3")
    lines = results(folder / "out")
    assert code == 0 and {name for name, line in lines.items() if line["verdict"] == "failed"} == {f"c0{n}" for n in range(5)}
    assert lines["c04"]["detail"].startswith("moderated") and lines["c05"]["answer"] == "5"
    assert lines["c06"]["verdict"] == "wrong" and "cut off (length)" in lines["c06"]["detail"]
    assert "failed    5 (no answer; engine_error 4, moderated 1)" in out


def test_a_service_that_begins_to_refuse_stops_with_4_and_the_same_command_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVAL_KEY", KEY)
    asked: list[str] = []
    limit = [7]

    def behave(body: dict[str, Any], _times: int) -> Reply:
        if len(asked) >= limit[0]:
            return 402, {"error": {"message": "insufficient_quota: no credit"}}
        asked.append(body["messages"][-1]["content"])
        return reply(asked[-1].removeprefix("Say "))

    with behaving_server(behave) as (url, _):
        code, _, err = run_cli(capsys, *server_words(url), "--in-flight", "1")
        assert code == 4 and not (folder / "out" / "results.jsonl").exists(), err
        limit[0] = 100
        code, out, _ = run_cli(capsys, *server_words(url))
        assert code == 0 and "12, 7 answered before an interruption" in out
        assert len(asked) == len(set(asked)) == 12
        for afresh in (["--fresh"], ["--temperature", "1"]):
            limit[0] = len(asked) + 3
            assert run_cli(capsys, *server_words(url), "--in-flight", "1")[0] == 4
            limit[0] = 100
            assert "before an interruption" not in run_cli(capsys, *server_words(url), *afresh)[1]
        assert len(asked) == 12 + 2 * (3 + 12)
