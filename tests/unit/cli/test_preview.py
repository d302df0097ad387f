"""What `preview` prints: whole records with their verdicts, bounded, and nothing more than was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth_ray.route import preview
from tests.unit.cli.test_cli import job_file, run_cli


def answering(*answers: str, **script: Any) -> dict[str, Any]:
    return {"teacher": {"engine": "scripted", "script": {"answers": list(answers), **script}}}


def test_a_record_is_shown_whole_with_its_flags_and_why_it_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(
        tmp_path,
        recipe={"name": "evolve", "depth": 1, "system": "Be brief."},
        models=answering("I am a helpful note about {{ words }}, as long as {{ words }}, by jo.doe@mail.com"),
        check={"max_tokens": 3, "drop": []},
    )
    kept = run_cli(capsys, "preview", path, "--rows", "1")[1]
    assert "slot 0 · accepted · flags too_many_tokens\n" in kept
    for text in (
        "  user:\n    I am a helpful note",
        "  assistant:\n",
        '  operators: ["',
        "  evolved_from: Question ",
        "teacher scripted",
    ):
        assert text in kept
    assert "jo.doe" not in kept and "<EMAIL_1>" in kept
    dropped = run_cli(capsys, "preview", path, "--rows", "1", "--set", "check.drop=[too_many_tokens]")[1]
    assert "slot 0 · rejected(too_many_tokens) · flags too_many_tokens\n" in dropped
    assert "rows      1: 1 rejected(too_many_tokens)" in dropped


def test_discarded_drafts_duplicates_and_rows_without_an_answer_show_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path, models=answering("The same answer to everything that anybody may ask today."))
    compared = ["--set", "dedup.compares=[completion]"]
    out = run_cli(capsys, "preview", path, "--rows", "3", *compared)[1]
    assert out.count("rejected(exact_duplicate) · like ") == 2 and "rows      3: 1 accepted, 2 rejected(exact_duplicate)" in out
    failed = run_cli(capsys, "preview", path, "--rows", "1", "--set", "models.teacher.script.fail_share=1")[1]
    assert "slot 0 · failed(engine_error)" in failed
    unevolved = run_cli(capsys, "preview", path, "--rows", "1", "--set", "recipe=evolve", "--set", "recipe.max_words=5")[1]
    assert "discarded · evolution_too_long 2" in unevolved and "rejected(not_evolved) · step 1 failed 2 times" in unevolved


def test_long_texts_are_cut_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path, models=answering("{{ words }}", words=3000), recipe={"name": "distill", "template": "x" * 9000})
    out = run_cli(capsys, "preview", path, "--rows", "1")[1]
    assert "(5,000 of 9,000 characters are not shown)" in out
    assert out.count("characters are not shown)") == 2 and len(out) < 10_000


def test_rows_are_the_plans_first_across_chunks_and_at_least_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path, plan={"chunk_requests": 2})
    out = run_cli(capsys, "preview", path, "--rows", "5")[1]
    assert [line.split(" ")[2] for line in out.splitlines() if line.startswith("━━")] == ["0", "1", "2", "3", "4"]
    for wrong in ("0", "-1", "x"):
        with pytest.raises(SystemExit, match="2"):
            run_cli(capsys, "preview", path, "--rows", wrong)


def test_a_preview_of_very_many_seeds_says_that_it_did_not_compare_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "MAX_COMPARED", 11)
    out = run_cli(capsys, "preview", job_file(tmp_path, recipe="vary"), "--rows", "1")[1]
    assert "not compared with the seeds and the real rows" in out


def test_tools_with_effects_are_shown_and_never_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = '<tool_call>{"name": "count", "arguments": {"file": "%s"}}</tool_call>' % (tmp_path / "log")
    counting = {"function": "tests.unit.toolbox.desk:count", "writes": [str(tmp_path)]}
    recipe = {"name": "converse", "turns": 1, "call": "native", "tools": [counting]}
    path = job_file(tmp_path, recipe=recipe, models=answering(call))
    code, _, told = run_cli(capsys, "preview", path, "--rows", "1")
    assert (code, "'count', whose calls may have effects" in told, "journal_flush_s" in told) == (2, True, False)
    code, out, _ = run_cli(capsys, "preview", path, "--rows", "1", "--prompts-only")
    assert (code, "user:\n    Question " in out) == (0, True)
    assert not (tmp_path / "log").exists()
    repeatable = {**recipe, "tools": [counting | {"idempotent": True}]}
    run_cli(capsys, "preview", job_file(tmp_path, recipe=repeatable, models=answering(call)), "--rows", "1")
    assert (tmp_path / "log").exists()
