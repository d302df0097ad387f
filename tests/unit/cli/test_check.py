"""`check` says everything at once: what is wrong with the document, and what of the things it names is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import synth_ray
from synth_ray.errors import JobError
from tests.unit.cli.test_cli import job_file, run_cli

NO_CREDENTIALS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}


def problems(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    code, out, err = run_cli(capsys, "check", *words)
    assert (code, out) == (2, "")
    return err.removeprefix("synth-ray: ").splitlines()


@pytest.fixture
def without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NO_CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def test_every_missing_file_and_a_store_without_credentials_have_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without_credentials: None
) -> None:
    path = job_file(
        tmp_path,
        seeds=[f"{tmp_path}/gone.jsonl", f"{tmp_path}/seeds.jsonl", f"{tmp_path}/*.none"],
        split={"real": f"{tmp_path}/real.jsonl"},
        decontaminate={"against": [{"name": "e", "path": f"{tmp_path}/eval.jsonl"}]},
        dedup={"against": [f"{tmp_path}/earlier"], "semantic": {"model": f"{tmp_path}/vectors"}},
        scrub={"engine": "gliner", "model": f"{tmp_path}/names"},
        check={"tokenizer": "no-such"},
        output="s3://bucket/out",
    )
    found = problems(capsys, path)
    keys = [line.removeprefix(f"{path}: ").split(":")[0] for line in found]
    assert keys[:5] == ["seeds.0", "seeds.2", "split.real", "decontaminate.against", "check.tokenizer"]
    assert {"dedup.semantic.model", "dedup.against", "output.path"} < set(keys)
    assert "no credentials" in found[-1]
    assert all(" wanted " in line and " got " in line for line in found)
    assert len(found) == len(keys) == len(set(found))
    assert not (tmp_path / "out").exists()


def test_a_wrong_document_hides_neither_the_recipes_options_nor_the_missing_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path, seeds="gone.jsonl", recipe={"name": "distill", "final": "(a"}, dedup={"treshold": 1})
    found = problems(capsys, path, "--set", "check.pattern=(", "--set", "recipe.tempalte=x", "--set", "models.teacher.x=1")
    assert [line.split(": ")[1] for line in found[:-1]] == [
        "check.pattern",
        "models.teacher.x",
        "dedup.treshold",
        "recipe.tempalte",
        "recipe.final",
    ]
    assert "gone.jsonl" in found[-1]
    assert [line.split(": ")[0] for line in found[:2]] == ["--set", "--set"] and found[3].startswith("--set: ")
    assert found[4].startswith(f"{path}:")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "distill", "template": "{{ prompt "}, "recipe.template: wanted valid Jinja, got"),
        ({"name": "converse", "tools": [], "result": "{% if %}"}, "recipe.result: wanted valid Jinja"),
        ({"name": "fill", "by": "kind", "answer": "a\n{{ b }"}, "in its line 2; fix the template"),
    ],
)
def test_every_template_of_a_recipe_compiles(
    recipe: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in problems(capsys, job_file(tmp_path, recipe=recipe))[0]


@pytest.mark.parametrize("command", ["check", "plan", "preview", "run", "curate"])
def test_every_command_refuses_a_wrong_recipe_with_its_line_before_it_writes(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path, recipe={"name": "distill", "schema": {"type": "objct"}})
    code, _, err = run_cli(capsys, command, path)
    assert code == 2
    assert f"{path}:5: recipe.schema: wanted a type of JSON Schema" in err
    assert not (tmp_path / "out").exists()


def test_a_run_from_python_refuses_it_too_before_it_writes(tmp_path: Path) -> None:
    path = job_file(tmp_path, recipe={"name": "build", "schema": {"$ref": "#/$defs/gone"}}, models="none")
    with pytest.raises(JobError, match=r"recipe.schema: .* leads nowhere"):
        synth_ray.run(path)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_found_without_writing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(tmp_path)
    (tmp_path / "file").write_text("")
    assert "which is a file; name another place" in problems(capsys, path, "--output", f"{tmp_path}/file/out")[0]
    assert "wanted a local path, s3://" in problems(capsys, path, "--output", "ftp://bucket/out")[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("check.pattern=[a", "--set check.pattern: wanted a YAML value"),
        ("seeds..limit=1", "wanted KEY=VALUE"),
        ("=1", "wanted KEY=VALUE"),
        ("name", "wanted KEY=VALUE"),
    ],
)
def test_an_override_that_cannot_be_read_is_told(
    override: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in problems(capsys, job_file(tmp_path), "--set", override)[0]


@pytest.mark.parametrize(
    "short",
    [
        {},
        {"seeds": "list"},
        {"recipe": {"name": "distill", "options": {}}},
        {"models": {"teacher": "scripted"}},
        {"models": "none"},
        {"output": "section"},
    ],
)
def test_output_and_set_work_with_every_short_form(
    short: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(tmp_path)
    document = yaml.safe_load(Path(path).read_text())
    forms = {"list": [document["seeds"]], "section": {"path": document["output"]}}
    document |= {key: forms.get(value, value) if isinstance(value, str) else value for key, value in short.items()}
    Path(path).write_text(yaml.safe_dump(document, sort_keys=False))
    overrides = ["seeds.limit=10", "recipe.n=2", "models.teacher.engine=scripted", "output.partition_by={kind: [a, b]}"]
    words = [word for override in overrides for word in ("--set", override)]
    code, out, _ = run_cli(capsys, "plan", path, *words, "--output", str(tmp_path / "elsewhere"))
    assert code == 0 and "10 read, 10 planned" in out and "20 slots" in out
