"""What a person types, and what comes back: text, one error, an exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from synth_ray.cli.main import main
from tests.conftest import ROOT

SCRIPTED = {"engine": "scripted", "script": {"answers": ["Write to jo.doe@mail.com about {{ words }}"]}}


def job_file(folder: Path, **more: Any) -> str:
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(12)))
    document: dict[str, Any] = {
        "name": "typed",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": SCRIPTED},
        "split": {"allow_synthetic_only_eval": True},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in (document | more).items() if v is not None}, sort_keys=False))
    return str(path)


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_check_says_everything_wrong_at_once_with_line_wanted_got_and_the_nearest_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(
        tmp_path,
        name=None,
        recipe={"name": "distill", "tempalte": "x"},
        samplign={},
        dedup={"treshold": 0.5, "near": "perhaps"},
        split={"fractions": {"train": 0.8, "test": 0.1}},
    )
    code, _, wrong = typed(capsys, "check", path)
    assert code == 2
    lines = wrong.removeprefix("synth-ray: ").strip().splitlines()
    said = {line.split(": ")[1]: line for line in lines}
    assert set(said) == {"name", "recipe.tempalte", "samplign", "dedup.treshold", "dedup.near", "split.fractions"}
    assert "did you mean 'sampling'?" in said["samplign"]
    assert "did you mean 'threshold'?" in said["dedup.treshold"]
    assert "did you mean 'template'?" in said["recipe.tempalte"]
    assert "0.9 (train=0.8, test=0.1)" in said["split.fractions"]
    assert all(" wanted " in line and " got " in line for line in lines)
    assert int(said["samplign"].split(":")[1].split(" ")[0]) > 1


def test_check_opens_what_the_job_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(
        tmp_path,
        seeds=str(tmp_path / "gone.jsonl"),
        recipe={"name": "distill", "template": "{{ prompt "},
        models={"teacher": "models/no-such-model"},
        check={"tokenizer": "no-such-encoding"},
    )
    code, _, wrong = typed(capsys, "check", path)
    assert code == 2
    for word in ("gone.jsonl", "recipe.template", "no-such-model", "no-such-encoding"):
        assert word in wrong


def test_the_schema_is_json_schema_with_a_sentence_for_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    code, told, _ = typed(capsys, "check", "--schema")
    schema = json.loads(told)
    Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    told_twice = {name: section.get("description") for name, section in schema["$defs"].items()}
    silent = [
        name
        for section in sections
        for name, one in section.get("properties", {}).items()
        if not one.get("description") and not told_twice.get(one.get("$ref", "").rpartition("/")[2])
    ]
    assert (code, silent) == (0, [])


def test_plan_tells_chunks_requests_and_tokens_and_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path, plan={"chunk_requests": 5}, sampling={"max_tokens": 100})
    code, told, _ = typed(capsys, "plan", path)
    assert code == 0
    for said in ("12 read, 12 planned", "12 in 3 chunks of 5; 12 slots", "requests 10–11", "asks      12", "at most 1,200 out"):
        assert said in told
    assert not (tmp_path / "out").exists()


def test_preview_and_plan_know_what_a_recipe_learns_of_its_seeds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shown = ["--set", "recipe.template='{{ drawn.plan }} in {{ drawn.region }}'", "--rows", "3", "--prompts-only"]
    code, told, _ = typed(capsys, "preview", "jobs/stand_in.yaml", *shown)
    assert code == 0
    assert len(re.findall(r"(basic|plus|pro) in (north|south|east|west)", told)) == 3
    assert typed(capsys, "plan", "jobs/stand_in.yaml")[0] == 0


def test_preview_shows_scrubbed_text_unless_asked_for_raw_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path)
    code, told, _ = typed(capsys, "preview", path)
    assert code == 0
    assert told.count("━━ request") == 5
    assert "<EMAIL_1>" in told
    assert "jo.doe" not in told
    assert "jo.doe@mail.com" in typed(capsys, "preview", path, "--rows", "1", "--raw")[1]
    only = typed(capsys, "preview", path, "--prompts-only")[1]
    assert "Question" in only
    assert "slot" not in only
    assert not (tmp_path / "out").exists()


def test_run_ends_with_where_things_are_and_report_tells_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path)
    code, told, heard = typed(capsys, "run", path, "--quiet")
    assert (code, heard) == (0, "")
    for name in ("README.md", "manifest.json", "report.html"):
        assert f"{tmp_path}/out/{name}" in told
        assert (tmp_path / "out" / name).is_file()
    (tmp_path / "out" / "report.html").unlink()
    code, again, _ = typed(capsys, "report", str(tmp_path / "out"))
    assert code == 0
    assert again.splitlines()[:2] == told.splitlines()[:2]
    assert (tmp_path / "out" / "report.html").is_file()
    assert json.loads(typed(capsys, "report", str(tmp_path / "out"), "--json")[1])["complete"]


def test_a_run_that_stops_short_exits_with_4_and_a_wrong_override_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = {"engine": "scripted", "script": {"latency_s": 30}}
    path = job_file(tmp_path, models={"teacher": slow}, budget={"max_seconds": 0.5})
    code, _, heard = typed(capsys, "run", path, "--quiet")
    assert code == 4
    assert "budget.max_seconds" in heard
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]
    assert typed(capsys, "run", path, "--set", "dedup.threshold")[0] == 2
    assert typed(capsys, "run", path, "--set", "dedup.threshold=7")[0] == 2


def test_status_show_and_gc_tell_how_far_it_is_where_a_row_came_from_and_what_may_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = job_file(tmp_path, plan={"chunk_requests": 5}), str(tmp_path / "out")
    assert "nothing is published yet" in typed(capsys, "status", out)[1]
    typed(capsys, "run", path, "--quiet")
    stray = tmp_path / "out" / "_synth" / "chunks" / "00000001" / "0123456789abcdef.parquet"
    stray.write_bytes(b"of an attempt that died")
    told = typed(capsys, "status", out)[1]
    for said in (
        "complete: 12 accepted of 12 slots",
        "3 committed (0–2)",
        "rows      12",
        "orphans   1, 23 bytes",
        "driver    none",
    ):
        assert said in told
    [(row,)] = duckdb.sql(f"select id from read_parquet('{out}/data/**/*.parquet') limit 1").fetchall()
    code, told, _ = typed(capsys, "show", out, row)
    assert code == 0
    for said in (row, "seed ", "verdict accepted", "EMAIL_ADDRESS×1", "characters (--text"):
        assert said in told
    assert "<EMAIL_1>" in typed(capsys, "show", out, row, "--text")[1]
    assert typed(capsys, "show", out, "no-such-row")[0] == 1
    assert "orphans   0 to remove" in typed(capsys, "gc", out)[1]
    assert "orphans   1 to remove, 23 bytes" in typed(capsys, "gc", out, "--older-than-hours", "0")[1]
    assert stray.exists()
    typed(capsys, "gc", out, "--older-than-hours", "0", "--delete")
    assert not stray.exists()
    assert typed(capsys, "run", path, "--quiet")[0] == 0


def test_chunks_that_gc_removed_are_not_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = job_file(tmp_path), str(tmp_path / "out")
    typed(capsys, "run", path, "--quiet")
    published = (tmp_path / "out" / "manifest.json").read_bytes()
    code, told, _ = typed(capsys, "gc", out, "--what", "chunks", "--older-than-hours", "0", "--delete")
    assert (code, "re-curation" in told) == (0, True)
    code, _, wrong = typed(capsys, "run", path, "--quiet")
    assert code == 1
    assert "gc --what chunks" in wrong
    assert (tmp_path / "out" / "manifest.json").read_bytes() == published
