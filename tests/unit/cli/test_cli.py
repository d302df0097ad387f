"""The command line: what each command prints, its errors and its exit codes."""

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
from tests.unit.dedup.test_semantic import words_model

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


def run_cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_check_lists_every_error_with_line_expected_value_and_nearest_key(
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
    code, _, err = run_cli(capsys, "check", path)
    assert code == 2
    lines = err.removeprefix("synth-ray: ").strip().splitlines()
    error_by_key = {line.split(": ")[1]: line for line in lines}
    assert set(error_by_key) == {"name", "recipe.tempalte", "samplign", "dedup.treshold", "dedup.near", "split.fractions"}
    assert "did you mean 'sampling'?" in error_by_key["samplign"]
    assert "did you mean 'threshold'?" in error_by_key["dedup.treshold"]
    assert "did you mean 'template'?" in error_by_key["recipe.tempalte"]
    assert "0.9 (train=0.8, test=0.1)" in error_by_key["split.fractions"]
    assert all(" wanted " in line and " got " in line for line in lines)
    assert int(error_by_key["samplign"].split(":")[1].split(" ")[0]) > 1


def test_check_opens_the_files_models_and_templates_of_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(
        tmp_path,
        seeds=str(tmp_path / "gone.jsonl"),
        recipe={"name": "distill", "template": "{{ prompt "},
        models={"teacher": "models/no-such-model"},
        check={"tokenizer": "no-such-encoding"},
    )
    code, _, err = run_cli(capsys, "check", path)
    assert code == 2
    for text in ("gone.jsonl", "recipe.template", "no-such-model", "no-such-encoding"):
        assert text in err


def test_the_schema_is_valid_json_schema_and_describes_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    code, out, _ = run_cli(capsys, "check", "--schema")
    schema = json.loads(out)
    Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    described = {name: section.get("description") for name, section in schema["$defs"].items()}
    undescribed = [
        name
        for section in sections
        for name, key_schema in section.get("properties", {}).items()
        if not key_schema.get("description") and not described.get(key_schema.get("$ref", "").rpartition("/")[2])
    ]
    assert (code, undescribed) == (0, [])


def test_plan_prints_chunks_requests_and_tokens_and_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path, plan={"chunk_requests": 5}, sampling={"max_tokens": 100})
    code, out, _ = run_cli(capsys, "plan", path)
    assert code == 0
    for text in (
        "12 read, 12 planned",
        "12 in 3 chunks of 5; 12 slots",
        "requests 10–11",
        "asks      12",
        "at most 1,200 out",
        "in the driver",
    ):
        assert text in out
    assert "memory    about 56 B for a kept row of 2 words, 669 B for 12, in the driver" in out
    in_shards = job_file(tmp_path, plan={"chunk_requests": 5}, cluster={"engine": "ray", "index_shards": 3})
    assert "669 B for 12, in 3 index shards, 223 B each" in run_cli(capsys, "plan", in_shards)[1]
    assert not (tmp_path / "out").exists()


def test_plan_counts_vectors_where_they_will_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words_model(tmp_path / "model")  # of 32 dimensions
    semantic = {"model": str(tmp_path / "model")}
    out = run_cli(capsys, "plan", job_file(tmp_path, dedup={"semantic": semantic}))[1]
    assert "memory    about 102 B for a kept row of 2 words, 1,410 B for 12, in the driver" in out
    assert "of it 46 B for a vector of 32 dimensions; 0 B for cells, and 192 B in the driver for their sample" in out
    in_shards = job_file(tmp_path, dedup={"semantic": semantic}, cluster={"engine": "ray", "index_shards": 3})
    out = run_cli(capsys, "plan", in_shards)[1]
    assert "1,410 B for 12, in 3 index shards, 406 B each" in out
    assert "0 B in each shard for cells, and 192 B in the driver" in out
    spilled = job_file(tmp_path, dedup={"semantic": semantic, "spill_bytes": 1_000_000})
    assert "a vector of 32 dimensions takes 44 B of disk, twice that while cells are made" in run_cli(capsys, "plan", spilled)[1]
    models = {"teacher": SCRIPTED, "embedder": SCRIPTED}
    told_later = job_file(tmp_path, dedup={"semantic": {"role": "embedder"}}, models=models)
    assert "without their vectors, each 16 B and one a dimension" in run_cli(capsys, "plan", told_later)[1]


def test_check_says_where_kept_rows_and_their_vectors_do_not_fit_the_driver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words_model(tmp_path / "model")
    semantic = {"semantic": {"model": str(tmp_path / "model")}}

    def note(most: int, **more: Any) -> str:
        code, *printed = run_cli(capsys, "check", job_file(tmp_path, limits={"memory_bytes": most}, **more))
        assert code == 0
        return next((line for line in "\n".join(printed).splitlines() if "limits.memory_bytes" in line), "")

    assert note(700) == ""  # of 669 B
    assert "would take 1.4 kB in the driver's index" in note(700, dedup=semantic)
    in_shards = {"dedup": semantic, "cluster": {"engine": "ray", "index_shards": 3}}
    assert note(700, **in_shards) == ""
    assert "would take 192 bytes in the driver's index" in note(100, **in_shards)  # the sample for cells
    assert note(100, **in_shards).endswith("resumable; run it where there is more memory")


def test_preview_and_plan_work_with_a_recipe_that_learns_from_its_seeds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ["--set", "recipe.template='{{ drawn.plan }} in {{ drawn.region }}'", "--rows", "3", "--prompts-only"]
    code, out, _ = run_cli(capsys, "preview", "jobs/stand_in.yaml", *arguments)
    assert code == 0
    assert len(re.findall(r"(basic|plus|pro) in (north|south|east|west)", out)) == 3
    assert run_cli(capsys, "plan", "jobs/stand_in.yaml")[0] == 0


def test_preview_shows_scrubbed_text_unless_raw_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path)
    code, out, _ = run_cli(capsys, "preview", path)
    assert code == 0
    assert out.count("━━ request") == 5
    assert "<EMAIL_1>" in out
    assert "jo.doe" not in out
    assert "jo.doe@mail.com" in run_cli(capsys, "preview", path, "--rows", "1", "--raw")[1]
    prompts_only = run_cli(capsys, "preview", path, "--prompts-only")[1]
    assert "Question" in prompts_only
    assert "slot" not in prompts_only
    assert not (tmp_path / "out").exists()


def test_run_prints_the_paths_of_its_files_and_report_prints_the_same_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path)
    code, out, err = run_cli(capsys, "run", path, "--quiet")
    assert (code, err) == (0, "")
    for name in ("README.md", "manifest.json", "report.html"):
        assert f"{tmp_path}/out/{name}" in out
        assert (tmp_path / "out" / name).is_file()
    (tmp_path / "out" / "report.html").unlink()
    code, second_out, _ = run_cli(capsys, "report", str(tmp_path / "out"))
    assert code == 0
    assert second_out.splitlines()[:2] == out.splitlines()[:2]
    assert (tmp_path / "out" / "report.html").is_file()
    assert json.loads(run_cli(capsys, "report", str(tmp_path / "out"), "--json")[1])["complete"]


def test_report_against_another_dataset_prints_and_writes_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, ours, theirs = job_file(tmp_path), str(tmp_path / "out"), str(tmp_path / "more")
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0
    assert run_cli(capsys, "report", ours, "--against", theirs)[0] == 2
    assert run_cli(capsys, "run", path, "--quiet", "--output", theirs, "--set", "seeds.limit=6")[0] == 0
    code, out, _ = run_cli(capsys, "report", ours, "--against", theirs)
    assert code == 0
    assert re.search(r"^ {2}requested +12 +6 +\+100\.0 %$", out, re.MULTILINE)
    assert f"{ours}/comparison.html" in out and "Two datasets compared" in (tmp_path / "out" / "comparison.html").read_text()
    assert not (tmp_path / "more" / "comparison.html").exists()


def test_a_run_that_stops_short_exits_with_4_and_a_wrong_override_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = {"engine": "scripted", "script": {"latency_s": 30}}
    path = job_file(tmp_path, models={"teacher": slow}, budget={"max_seconds": 0.5})
    code, _, err = run_cli(capsys, "run", path, "--quiet")
    assert code == 4
    assert "budget.max_seconds" in err
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]
    assert run_cli(capsys, "run", path, "--set", "dedup.threshold")[0] == 2
    assert run_cli(capsys, "run", path, "--set", "dedup.threshold=7")[0] == 2


def test_status_show_and_gc_print_progress_provenance_and_removable_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = job_file(tmp_path, plan={"chunk_requests": 5}), str(tmp_path / "out")
    run_cli(capsys, "run", path, "--quiet")
    stray = tmp_path / "out" / "_synth" / "chunks" / "00000001" / "0123456789abcdef.parquet"
    stray.write_bytes(b"of an attempt that died")
    status = run_cli(capsys, "status", out)[1]
    for text in (
        "complete: 12 accepted of 12 slots",
        "3 committed (0–2)",
        "rows      12",
        "orphans   1, 23 bytes",
        "driver    none",
    ):
        assert text in status
    [(row,)] = duckdb.sql(f"select id from read_parquet('{out}/data/**/*.parquet') limit 1").fetchall()
    code, details, _ = run_cli(capsys, "show", out, row)
    assert code == 0
    for text in (row, "seed ", "verdict accepted", "EMAIL_ADDRESS×1", "characters (--text"):
        assert text in details
    assert "<EMAIL_1>" in run_cli(capsys, "show", out, row, "--text")[1]
    assert run_cli(capsys, "show", out, "no-such-row")[0] == 1
    assert "orphans   0 to remove" in run_cli(capsys, "gc", out)[1]
    assert "orphans   1 to remove, 23 bytes" in run_cli(capsys, "gc", out, "--older-than-hours", "0")[1]
    assert stray.exists()
    run_cli(capsys, "gc", out, "--older-than-hours", "0", "--delete")
    assert not stray.exists()
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0


def test_chunks_that_gc_removed_are_not_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = job_file(tmp_path), str(tmp_path / "out")
    run_cli(capsys, "run", path, "--quiet")
    published = (tmp_path / "out" / "manifest.json").read_bytes()
    code, stdout, _ = run_cli(capsys, "gc", out, "--what", "chunks", "--older-than-hours", "0", "--delete")
    assert (code, "re-curation" in stdout) == (0, True)
    code, _, err = run_cli(capsys, "run", path, "--quiet")
    assert code == 1
    assert "gc --what chunks" in err
    assert (tmp_path / "out" / "manifest.json").read_bytes() == published


def test_rejected_seeds_are_listed_by_file_and_line_twenty_a_reason_in_status_card_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path)
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(seeds.read_text() + '{"prompt": 7}\n' + "{broken\n" * 25)
    assert run_cli(capsys, "run", path, "--quiet")[0] == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["seeds"]["rejected"] == {"broken_json": 25, "wrong_type": 1}
    assert manifest["seeds"]["rejected_at"] == {
        "broken_json": [f"{seeds}:{line}" for line in range(14, 34)],
        "wrong_type": [f"{seeds}:13"],
    }
    status = run_cli(capsys, "status", str(tmp_path / "out"))[1]
    card = (tmp_path / "out" / "README.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"wrong_type 1: {seeds}:13\n" in status
    assert "- wrong_type 1: seeds.jsonl:13\n" in card and str(seeds) not in card.split("## Load it")[0]
    for text in (status, page):
        assert f"{seeds}:33" in text and f"{seeds}:34" not in text


def test_an_override_goes_into_a_section_that_is_written_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path)  # `seeds`, `recipe` and `output` are texts in it
    overrides = ["--set", "seeds.limit=5", "--set", "recipe.n=2", "--output", str(tmp_path / "elsewhere")]
    assert run_cli(capsys, "run", path, "--quiet", *overrides)[0] == 0
    assert json.loads((tmp_path / "elsewhere" / "manifest.json").read_text())["rows"]["requested"] == 10
