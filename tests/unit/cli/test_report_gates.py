"""`--gate` and `--junit`: what a CI job reads of a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.cli.test_cli import job_file, run_cli


def cases(path: Path) -> dict[str, list[str]]:
    return {case.attrib["name"]: [child.tag for child in case] for case in ElementTree.parse(path).iter("testcase")}


def test_report_prints_a_line_for_each_gate_and_ends_with_3_when_one_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = job_file(tmp_path), str(tmp_path / "out")
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0
    (tmp_path / "gates.yaml").write_text("- accepted >= 3\n- accepted >= 1000\n- perplexity.ratio < 2\n- narrowing.vend > 1\n")
    junit = tmp_path / "gates.xml"
    code, printed, _ = run_cli(capsys, "report", out, "--gate", str(tmp_path / "gates.yaml"), "--junit", str(junit))
    assert code == 3
    lines = [line.removeprefix("gate      ") for line in printed.splitlines() if line.startswith("gate ")]
    assert lines[0].startswith("ok: wanted accepted >= 3, got ")
    assert [line.split(":")[0] for line in lines] == ["ok", "failed", "failed", "failed"]
    assert cases(junit) == {
        "accepted >= 3": [],
        "accepted >= 1000": ["failure"],
        "perplexity.ratio < 2": ["failure"],
        "narrowing.vend > 1": ["failure"],
    }
    (tmp_path / "gates.yaml").write_text("gates: [accepted >= 3]\n")
    code, printed, err = run_cli(capsys, "report", out, "--json", "--gate", str(tmp_path / "gates.yaml"))
    assert code == 0 and json.loads(printed)["name"] == "typed" and "ok: wanted accepted >= 3" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--junit", "x.xml"], "wanted --gate with --junit"),
        (["--with-rejected"], "wanted --push with --with-rejected"),
        (["--gate", "none.yaml"], "wanted a readable job file"),
        (["--gate", "GATES", "--junit", "no/such/folder/x.xml"], "wanted a file in a folder that is there"),
    ],
)
def test_options_that_cannot_be_followed_are_refused_first(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path)
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0
    page = tmp_path / "out" / "report.html"
    page.unlink()
    (tmp_path / "gates.yaml").write_text("- accepted >= 3\n")
    named = [str(tmp_path / "gates.yaml") if word == "GATES" else word for word in words]
    code, _, err = run_cli(capsys, "report", str(tmp_path / "out"), *named)
    assert code == 2 and message in err and not page.exists()


def test_run_and_curate_write_the_gates_of_the_job_and_curate_judges_them_again_without_asking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    junit = tmp_path / "gates.xml"
    assert run_cli(capsys, "run", job_file(tmp_path, gates=["accepted >= 1000"]), "--quiet", "--junit", str(junit))[0] == 3
    assert cases(junit) == {"accepted >= 1000": ["failure"]}
    manifest: dict[str, Any] = json.loads((tmp_path / "out" / "manifest.json").read_text())
    monkeypatch.setattr("synth_ray.ask.engines.make_teacher", lambda *_, **__: pytest.fail("a model was asked"))
    path = job_file(tmp_path, gates=["accepted >= 1", "rows.failed.deadline == 0"])
    assert run_cli(capsys, "curate", path, "--junit", str(junit))[0] == 0
    assert cases(junit) == {"accepted >= 1": [], "rows.failed.deadline == 0": []}
    again = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert again["dataset_digest"] == manifest["dataset_digest"] and again["tokens"] == manifest["tokens"]


def test_gates_of_a_run_that_stopped_short_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junit = tmp_path / "gates.xml"
    path = job_file(tmp_path, models={"teacher": {"engine": "scripted", "script": {"fail_share": 1.0}}})
    assert run_cli(capsys, "run", path, "--quiet", "--junit", str(junit))[0] == 1
    assert cases(junit) == {"accepted >= 1": ["error"]}
    assert run_cli(capsys, "run", path, "--quiet", "--junit", str(tmp_path))[0] == 2
