"""A package holds what the job names and nothing else, changes no digest, and tells no secret."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.prepare.preparation import prepare
from synth_ray.submit.package import MAX_BYTES, Package, Sending, package_of, parsed_env, refuse_early, stop_wait_of

TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
RECIPE = "import helper_of_mine\nfrom synth_ray.recipes.vary import RECIPE\n"


def document(**more: Any) -> dict[str, Any]:
    return {
        "name": "Billing, v2!",
        "seeds": "data/seeds.jsonl",
        "recipe": "vary",
        "models": {"teacher": {"engine": "scripted"}},
        "split": {"fractions": {"train": 1.0}},
        "output": "s3://bucket/billing",
        **more,
    }


def packed(folder: Path, given: dict[str, Any], **sending: Any) -> Package:
    return package_of(job_from(given), given, folder, job_digest="0123456789abcdef", sending=Sending(**sending))


def iceberg(**catalog: str) -> dict[str, Any]:
    return {"format": "iceberg", "table": "shop.billing", "catalog": catalog}


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def rows(*prompts: str) -> str:
    return "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def test_a_package_is_the_job_and_what_it_names_byte_for_byte(tmp_path: Path) -> None:
    write(tmp_path, **{"data/seeds.jsonl": rows("a"), "data/other.jsonl": rows("b"), ".gitignore": "data/\n"})
    package = packed(tmp_path, document(), python="/opt/py thon", run_options=("--extend",), env={"HF_HOME": "/models"})
    assert set(package.files) == {"job.yaml", "data/seeds.jsonl"}
    assert package.files["data/seeds.jsonl"] == rows("a").encode()
    assert yaml.safe_load(package.files[package.job_file]) == document()
    start = "exec '/opt/py thon' -m synth_ray.cli.main run job.yaml"
    assert package.entrypoint == f'{start} --address "${{RAY_ADDRESS:-auto}}" --extend'
    assert package.env_vars["RAY_JOB_STOP_WAIT_TIME_S"] == "120"
    assert package.env_vars["HF_HOME"] == "/models"
    assert package.id_stem == "billing-v2-01234567"
    assert package.metadata["output"] == "s3://bucket/billing"
    assert all(isinstance(value, str) for value in package.metadata.values())
    again = packed(tmp_path, document(), python="/opt/py thon", run_options=("--extend",), env={"HF_HOME": "/models"})
    assert again == package
    write(tmp_path, **{"data/seeds.jsonl": rows("c")})
    assert packed(tmp_path, document()).metadata["package"] != package.metadata["package"]


def test_the_recipe_its_imports_and_the_files_of_its_options_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"my_recipe.py": RECIPE, "helper_of_mine.py": "import json\nimport numpy\n", "unrelated.py": "x = 1\n"}
    package_files = {"shop_tools/__init__.py": "", "shop_tools/desk.py": "def look(): ...\n", "shop_tools/prices.json": "{}"}
    write(tmp_path / "lib", **modules, **package_files)
    write(tmp_path, **{"data/seeds.jsonl": rows("a"), "servers/desk.py": "print(1)\n", "notes.txt": "n"})
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    tools = [{"function": "shop_tools.desk:look"}, {"mcp": {"command": ["python", "servers/desk.py"]}}]
    package = packed(tmp_path, document(recipe={"name": "my_recipe.inner", "tools": tools}), files=("notes.txt",))
    assert set(package.files) == {
        "job.yaml", "data/seeds.jsonl", "my_recipe.py", "helper_of_mine.py", "servers/desk.py", "notes.txt", *package_files,
    }  # fmt: skip
    assert "helper_of_mine" not in sys.modules  # nothing is imported


def test_every_place_of_a_job_is_sent_and_an_absolute_model_is_left_to_the_nodes(tmp_path: Path) -> None:
    names = [
        "d/a.jsonl",
        "d/b.jsonl",
        "d/README",
        "real.jsonl",
        "clean.jsonl",
        "forms/one.csv",
        "rules.toml",
        "tok/tokenizer.json",
    ]
    write(tmp_path, **{name: rows("a") for name in names})
    write(tmp_path, **{"mine/config.json": "{}", "mine/__pycache__/x.pyc": "x", "mine/.gitignore": "*"})
    given = document(
        seeds="d/*.jsonl",
        split={"real": "real.jsonl"},
        decontaminate={"against": [{"name": "clean", "path": "clean.jsonl"}]},
        review={"verdicts": "forms/one.csv"},
        scrub={"secrets": {"rules_file": "rules.toml"}},
        check={"tokenizer": "tok"},
        models={"teacher": {"model": "mine"}, "judge": {"model": "/models/judge", "family": "other"}},
    )
    package = packed(tmp_path, given)
    assert set(package.files) == {"job.yaml", "mine/config.json", *names} - {"d/README"}
    assert yaml.safe_load(package.files["job.yaml"]) == given


def test_rows_from_outside_keep_the_folders_that_are_fields(tmp_path: Path) -> None:
    outside, folder = tmp_path / "else" / "lang=de", tmp_path / "work"
    folder.mkdir()
    write(outside, **{"a.jsonl": rows("a"), "day=2/b.jsonl": rows("b")})
    package = packed(folder, document(seeds=[str(outside), {"path": "../else/lang=de/a.jsonl", "limit": 1}]))
    first = {"sources/0/lang=de/a.jsonl", "sources/0/lang=de/day=2/b.jsonl"}
    assert set(package.files) == {"job.yaml", "sources/1/lang=de/a.jsonl"} | first
    moved = yaml.safe_load(package.files["job.yaml"])["seeds"]
    assert moved == [{"path": "sources/0/lang=de"}, {"path": "sources/1/lang=de/a.jsonl", "limit": 1}]


PLACES = st.sampled_from(["seeds.jsonl", "data/seeds.jsonl", "../beside/seeds.jsonl", "ABSOLUTE/x=1/seeds.jsonl", "data/*.jsonl"])
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@settings(max_examples=12)
@given(place=PLACES, real=st.none() | PLACES, system=WORDS, prompts=st.lists(WORDS, min_size=1, max_size=5, unique=True))
def test_a_packaged_job_has_the_jobs_own_digest_and_lies_below_its_folder(
    place: str, real: str | None, system: str, prompts: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for folder in ("work", "work/data", "beside", "ABSOLUTE/x=1", "spool", "cluster"):
            write(top / folder, **{"seeds.jsonl": "".join(rows(f"Question {n} {prompt}") for n, prompt in enumerate(prompts))})
        paths = [path.replace("ABSOLUTE", str(top / "ABSOLUTE")) if path else None for path in (place, real)]
        given = document(seeds=paths[0], recipe={"name": "vary", "instruct": f"Write. {system.replace('{', '')}"})
        if paths[1]:
            given["decontaminate"] = {"against": [{"name": "set", "path": paths[1]}]}
        with inside(top / "work"):
            try:
                wanted = prepare(job_from(given), spool=top / "spool").job_digest
            except JobError:
                return  # a job that runs nowhere
            package = packed(top / "work", given)
        assert all(not PurePosixPath(path).is_absolute() and ".." not in path.split("/") for path in package.files)
        for path, data in package.files.items():
            (top / "cluster" / path).parent.mkdir(parents=True, exist_ok=True)
            (top / "cluster" / path).write_bytes(data)
        with inside(top / "cluster"):
            sent = yaml.safe_load(Path(package.job_file).read_bytes())
            assert prepare(job_from(sent), spool=top / "spool").job_digest == wanted


@pytest.mark.parametrize(
    "where", ["description", "recipe.instruct", "check.judge.template", "models.teacher.model", "env", "module"]
)
def test_a_package_never_holds_a_secret(where: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, **{"data/seeds.jsonl": rows(f"data may hold {TOKEN}: it is scrubbed"), "helper.py": "x = 1\n"})
        given, sending = document(), {}
        if where == "env":
            sending = {"env": {"SETTING": TOKEN}}
        elif where == "module":
            write(folder, **{"helper.py": f"x = '{TOKEN}'\n"})
        elif where == "description":
            given["description"] = f"use {TOKEN}"
        elif where == "recipe.instruct":
            given["recipe"] = {"name": "vary", "instruct": f"Write to {TOKEN}"}
        elif where == "models.teacher.model":
            given["models"] = {"teacher": {"engine": "endpoint", "model": TOKEN, "endpoint": {"urls": "http://h/v1"}}}
        else:
            given["check"] = {"judge": {"template": f"{{question}} {{answer}} {{criteria}} {TOKEN}"}}
            given["models"]["judge"] = {"engine": "scripted"}
        with pytest.raises(JobError, match="wanted no secret") as caught:
            packed(folder, given, files=("helper.py",), **sending)
        assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "DB_PASSWORD"])
def test_a_variable_with_a_secrets_name_is_refused_whatever_it_holds(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{"data/seeds.jsonl": rows("a")})
    with pytest.raises(JobError, match=f"--env {name}: wanted no secret"):
        packed(tmp_path, document(), env={name: "x"})


def test_a_value_that_is_allowed_or_marked_is_no_secret(tmp_path: Path) -> None:
    write(tmp_path, **{"data/seeds.jsonl": rows("a"), "sample.py": f"x = '{TOKEN}'  # gitleaks:allow\n"})
    packed(tmp_path, document(description=TOKEN, scrub={"allow": [TOKEN]}), files=("sample.py",))


@pytest.mark.parametrize(
    ("more", "sending", "message"),
    [
        ({"output": "out/x"}, {}, "output.path: wanted a place that every node reaches"),
        ({"output": "out/x"}, {"shared_output": True}, "output.path: wanted an absolute path on the shared file system"),
        ({"dedup": {"against": ["/old"]}}, {}, "dedup.against.0: wanted a place that every node reaches"),
        ({"sinks": [{"format": "lance", "path": "tables/x"}]}, {}, "sinks.0.path: wanted a place that every node reaches"),
        ({"sinks": [iceberg(uri="sqlite:////lake/c.db")]}, {}, "sinks.0.catalog.uri: wanted a place that every node reaches"),
        ({"sinks": [iceberg(uri="https://h", warehouse="file:///lake")]}, {}, "sinks.0.catalog.warehouse: wanted a place"),
        ({"sinks": [iceberg(type="sql", warehouse="lake")]}, {}, "sinks.0.catalog.warehouse: wanted a place"),
        (
            {"output": "/mnt/x", "sinks": [iceberg(uri="sqlite:///c.db")]},
            {"shared_output": True},
            "sinks.0.catalog.uri: wanted an absolute path",
        ),
        ({}, {"env": {"RAY_JOB_STOP_WAIT_TIME_S": "ten"}}, "--env RAY_JOB_STOP_WAIT_TIME_S: wanted whole seconds"),
        ({"cluster": {"engine": "local"}}, {}, "cluster.engine: wanted ray for a job on a cluster, got local"),
        ({"seeds": "data/none.jsonl"}, {}, "seeds.0.path: wanted a file, got"),
        ({"models": {"teacher": {"model": "models/none"}}}, {}, "models.teacher.model: wanted a folder or a file"),
        ({"models": {"teacher": {"model": "../beside"}}}, {}, "models.teacher.model: wanted a path below the working folder"),
        ({}, {"files": ("none.txt",)}, "--with: wanted a file or a folder, got 'none.txt'"),
        ({}, {"files": ("job.yaml", "synth-ray-job.yaml")}, "submit: wanted a free name for the job file"),
    ],
)  # fmt: skip
def test_what_a_cluster_could_not_run_is_refused_with_the_next_move(
    tmp_path: Path, more: dict[str, Any], sending: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "work"
    write(folder, **{"data/seeds.jsonl": rows("a"), "job.yaml": "a: 1", "synth-ray-job.yaml": "a: 1"})
    write(tmp_path / "beside", **{"config.json": "{}"})
    with pytest.raises(JobError) as caught:
        packed(folder, document(**more), **sending)
    assert message in str(caught.value)
    assert ";" in str(caught.value)


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    write(tmp_path, **{"data/seeds.jsonl": rows("a")})
    with (tmp_path / "data" / "seeds.jsonl").open("ab") as file:
        file.truncate(MAX_BYTES + 1)  # a sparse file
    with pytest.raises(JobError, match=r"wanted at most 50 MB of local files, got 50 MB, most of it in .*seeds.jsonl"):
        packed(tmp_path, document())
    with pytest.raises(JobError, match="wanted at most 50 MB"):
        refuse_early(job_from(document()), tmp_path, Sending())


def test_a_shared_output_is_taken(tmp_path: Path) -> None:
    write(tmp_path, **{"data/seeds.jsonl": rows("a")})
    assert packed(tmp_path, document(output="/mnt/shared/x"), shared_output=True).output == "/mnt/shared/x"


def test_tables_that_every_node_reaches_are_taken(tmp_path: Path) -> None:
    write(tmp_path, **{"data/seeds.jsonl": rows("a")})
    served = [iceberg(uri="https://catalog", warehouse="a_name"), {"format": "delta"}, {"format": "lance"}]
    packed(tmp_path, document(sinks=[*served, iceberg(type="sql", uri="postgresql://h/db", warehouse="s3://bucket/w")]))
    shared = [iceberg(uri="sqlite:////mnt/c.db", warehouse="file:///mnt/w"), {"format": "lance", "path": "/mnt/lance"}]
    packed(tmp_path, document(output="/mnt/shared/x", sinks=shared), shared_output=True)


def test_a_submission_says_how_long_its_driver_has_after_it_is_told_to_stop(tmp_path: Path) -> None:
    write(tmp_path, **{"data/seeds.jsonl": rows("a")})
    assert stop_wait_of(packed(tmp_path, document()).metadata) == 120
    assert stop_wait_of(packed(tmp_path, document(), env={"RAY_JOB_STOP_WAIT_TIME_S": "600"}).metadata) == 600
    assert stop_wait_of({}) == stop_wait_of({"stop_wait_s": "another program's"}) == 120


def test_variables_are_pairs() -> None:
    assert parsed_env(["A=b=c", "B="]) == {"A": "b=c", "B": ""}
    with pytest.raises(JobError, match="--env: wanted NAME=VALUE"):
        parsed_env(["just a word"])


def test_every_job_key_that_names_a_local_file_is_known() -> None:
    """A new key whose sentence speaks of a folder or a file has to be packaged: add it to `local_files`, then here."""
    from pydantic import BaseModel

    from synth_ray.job.document import Job

    known = {
        "model", "tokenizer", "lora", "rules_file", "embedding", "verdicts",  # sent
        "path", "against", "index_folder", "compile_cache",  # sources of rows; places on a store or of the nodes
        "delimiter", "fields", "stratify", "partition_by", "part_rows", "part_bytes", "s3",  # they speak of files, and name none
    }  # fmt: skip
    found, seen, waiting = set(), set(), [Job]
    while waiting:
        section = waiting.pop()
        for name, info in section.model_fields.items():
            words = (info.description or "").lower()
            if any(word in words for word in ("folder", " file", "path ")) and "str" in str(info.annotation):
                found.add(name)
            for inner in _sections(info.annotation):
                if inner not in seen and issubclass(inner, BaseModel):
                    seen.add(inner)
                    waiting.append(inner)
    assert found <= known, found - known


def _sections(annotation: Any) -> Iterator[type]:
    from typing import get_args

    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
