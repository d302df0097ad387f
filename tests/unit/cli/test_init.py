"""What `init` writes can be checked and run as it is, for every recipe and every kind of machine."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from synth_ray.cli.arguments import parser
from synth_ray.cli.machine import OPENAI_KEY_VARIABLE, MachineKind, kind_of_machine
from synth_ray.cli.main import main
from synth_ray.cli.starters import DEFAULT_RECIPE, SEEDS_OF, starter
from synth_ray.job.load import load_job
from synth_ray.recipes.catalogue import BUILT_IN, options_of
from tests.conftest import TINY_TEACHER

SCRIPTED = {"engine": "scripted", "script": {"answers": ["{{ words }}"]}}
# Where an invented answer cannot be right: it stands in no passage, and five random votes hardly agree.
OVERRIDES = {"rewrite": ["check.verify=none"], "label": ["recipe.min_agreement=0.2"]}


def write_job(folder: Path, recipe: str, kind: MachineKind) -> Path:
    folder.mkdir(parents=True)
    for name, text in starter(recipe, kind, teacher=TINY_TEACHER).items():
        (folder / name).write_text(text)
    return folder


def without_gpu(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": str(tmp_path / "no tools"), **more}


@pytest.mark.parametrize("recipe", SEEDS_OF)
def test_every_job_passes_check_on_every_kind_of_machine(
    tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in MachineKind:
        monkeypatch.chdir(write_job(tmp_path / kind, recipe, kind))
        job = load_job("job.yaml")
        options_of(job.recipe)
        assert main(["check", "job.yaml"]) == 0, capsys.readouterr().err
        assert "nothing wrong" in capsys.readouterr().out
        if recipe != "build":
            assert job.models.teacher.engine == ("endpoint" if kind is MachineKind.ENDPOINT else "vllm")


@pytest.mark.parametrize("recipe", SEEDS_OF)
def test_every_recipes_job_runs_to_a_dataset(tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_job(tmp_path / recipe, recipe, MachineKind.TINY))
    models: Any = {"teacher": SCRIPTED, "judge": SCRIPTED} if recipe == "prefer" else {"teacher": SCRIPTED}
    overrides = [] if recipe == "build" else [f"models={json.dumps(models)}", *OVERRIDES.get(recipe, [])]
    assert (
        main(
            ["run", "job.yaml", "--quiet", "--engine", "local", *[word for override in overrides for word in ("--set", override)]]
        )
        == 0
    )
    [path] = Path("out").glob("*/manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["complete"]
    assert manifest["rows"]["accepted"] > 0
    assert not manifest["rows"]["failed"]
    assert not manifest["synthetic_only_eval"]


@pytest.mark.vllm
def test_the_first_job_of_a_machine_without_gpu_or_key_gets_rows_from_the_tiny_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_job(tmp_path / "first", DEFAULT_RECIPE, MachineKind.TINY))
    assert main(["run", "job.yaml", "--quiet", "--engine", "local", "--set", "plan.requests=12"]) == 0
    manifest = json.loads(Path("out/my-first-dataset/manifest.json").read_text())
    assert manifest["rows"]["accepted"] > 12
    assert manifest["splits"]["train"] > 0
    assert manifest["versions"]["vllm"]
    [(leaks,)] = duckdb.sql(
        "select count(*) from read_parquet('out/my-first-dataset/data/**/*.parquet') a, "
        "read_parquet('out/my-first-dataset/data/**/*.parquet') b where a.lineage = b.lineage and a.split != b.split"
    ).fetchall()
    assert leaks == 0


def test_a_gpu_comes_before_a_key_and_a_key_before_the_tiny_teacher(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    full.mkdir()
    (empty / "nvidiactl").touch()  # the driver without a device
    (full / "nvidia0").touch()
    assert kind_of_machine(without_gpu(tmp_path), devices=empty) is MachineKind.TINY
    assert kind_of_machine(without_gpu(tmp_path, **{OPENAI_KEY_VARIABLE: ""}), devices=empty) is MachineKind.TINY
    assert kind_of_machine(without_gpu(tmp_path, **{OPENAI_KEY_VARIABLE: "k"}), devices=empty) is MachineKind.ENDPOINT
    assert kind_of_machine(without_gpu(tmp_path, **{OPENAI_KEY_VARIABLE: "k"}), devices=full) is MachineKind.GPU


@pytest.mark.parametrize(
    ("script", "kind"), [("echo 'GPU 0: a card'", MachineKind.GPU), ("echo 'No devices'; exit 6", MachineKind.TINY)]
)
def test_nvidia_smi_is_believed_where_devices_have_other_names(tmp_path: Path, script: str, kind: MachineKind) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    assert kind_of_machine({"PATH": str(tmp_path)}, devices=tmp_path) is kind


def test_init_asks_nothing_says_why_and_what_to_type_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "a new place"]) == 0
    *files, teacher, head, enter, check, preview, run = capsys.readouterr().out.splitlines()
    assert files == [f"a new place/{name}" for name in ("job.yaml", "seeds.jsonl", "held_out.jsonl")]
    assert teacher.startswith("teacher: ")
    assert head == "next:"
    os.chdir(shlex.split(enter)[1])
    for line in (check, preview, run):
        parser().parse_args(shlex.split(line)[1:])
    assert main(shlex.split(check)[1:]) == 0
    assert main(["init"]) == 2
    assert "wanted an empty place" in capsys.readouterr().err


def test_the_command_line_names_the_recipes_there_are_and_the_nearest_to_one_there_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuple(SEEDS_OF) == tuple(name for name in BUILT_IN if name != "spring")  # which starts from no seeds
    with pytest.raises(SystemExit):
        main(["init", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in SEEDS_OF)
    assert main(["init", str(tmp_path / "x"), "--recipe", "edge_case"]) == 2
    assert "got 'edge_case'; did you mean 'edge_cases'?" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_teachers_path_may_hold_what_yaml_would_read_otherwise() -> None:
    text = starter("distill", MachineKind.TINY, teacher=Path('/home/a "b": #c/tiny'))["job.yaml"]
    assert yaml.safe_load(text)["models"]["teacher"]["model"] == '/home/a "b": #c/tiny'
