"""The claims of docs/threats.md."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

import synth_ray
from synth_ray.errors import AskFailed, SynthRayError
from synth_ray.job.load import job_from, load_job
from synth_ray.job.models import Model
from synth_ray.recipes.templates import render
from synth_ray.records import Request, Seed
from synth_ray.storage import open_storage
from tests.house.test_house import PACKAGE
from tests.proxy import proxy_to
from tests.route.test_route import job
from tests.servers import CREDENTIALS


def test_no_text_of_a_row_or_a_partition_value_leaves_the_prefix(tmp_path: Path) -> None:
    evil = ["../../escaped", "/etc/x", "a/b", "x\\y", "..", "C:z"]
    seeds = tmp_path / "evil.jsonl"
    seeds.write_text("".join(json.dumps({"prompt": f"Question {i}?", "topic": evil[i % len(evil)]}) + "\n" for i in range(24)))
    output = {"path": str(tmp_path / "in" / "out"), "columns": {"topic": "string"}, "partition_by": {"topic": evil[:4]}}
    document = job(tmp_path, "", output=output) | {"seeds": str(seeds), "recipe": {"name": "distill", "keep": ["topic"]}}
    manifest = synth_ray.run(document | {"plan": {}}).manifest
    assert len({file["path"].split("/")[2] for file in manifest["files"]}) == 5
    assert {p.name for p in tmp_path.iterdir()} <= {"evil.jsonl", "seeds.jsonl", "in"}
    assert {p.name for p in (tmp_path / "in").iterdir()} <= {"out"}
    assert all(".." not in file["path"].split("/") for file in manifest["files"])


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//b", "a\\b", "\x00", ".tmp/x"])
def test_no_object_path_leaves_its_root(tmp_path: Path, path: str) -> None:
    with pytest.raises(SynthRayError):
        open_storage(str(tmp_path / "root")).write(path, b"x")


def test_a_template_reaches_no_code_and_a_seed_is_no_template() -> None:
    request = Request("r", 0, 0, Seed("s", "l", "train", {"prompt": "{{ 7 * 7 }}"}), 1)
    assert render("{{ prompt }}", request) == "{{ 7 * 7 }}"
    with pytest.raises((AskFailed, SynthRayError)):
        render("{{ prompt.__class__.__mro__[1].__subclasses__() }}", request)


def test_a_job_file_constructs_no_python_objects(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: !!python/object/apply:os.system ['touch made']\n")
    with pytest.raises(SynthRayError):
        load_job(path)


def test_nothing_in_the_package_unpickles_writes_csv_or_loads_yaml_unsafely() -> None:
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert not imported & {"pickle", "cloudpickle", "marshal", "shelve"}, file
        called = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
        assert not called & {"unsafe_load", "full_load", "write_csv", "to_csv"}, file


def test_code_shipped_with_a_model_is_not_run_by_default() -> None:
    assert Model(model="some/model").trust_remote_code is False


@pytest.mark.s3
def test_credentials_are_not_written_raised_or_logged(
    tmp_path: Path, bucket: str, moto_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="synth_ray")
    with proxy_to(moto_server) as proxy:
        output = {"path": f"s3://{bucket}/out", "endpoint_url": proxy.url}
        synth_ray.run(job(tmp_path, "", output=output))
        proxy.plan = lambda _: "denied"
        with pytest.raises(SynthRayError) as caught:
            synth_ray.run(job(tmp_path, "", output=output))
    store = open_storage(output["path"], endpoint_url=moto_server)
    written = b"".join(store.read(e.path) for e in store.list() if e.path.endswith((".json", ".md", ".html")))
    text = f"{caught.value!r}{caplog.text}{written.decode()}"
    secrets = [CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], "Signature="]
    assert [secret for secret in secrets if secret in text] == []
    with pytest.raises(SynthRayError) as refused:
        job_from({"name": "x", "seeds": "s", "recipe": "distill", "models": {"teacher": "m"}, "output": "s3://u:pw@b/p"})
    assert "pw" not in str(refused.value).replace("password", "")


def test_the_example_jobs_contain_no_secret() -> None:
    def keys(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [*value, *(k for v in value.values() for k in keys(v))]
        return [k for v in value for k in keys(v)] if isinstance(value, list) else []

    for path in (PACKAGE.parent / "jobs").glob("*.yaml"):
        names = " ".join(map(str, keys(yaml.safe_load(path.read_text())))).lower()
        assert not any(word in names for word in ("secret", "password", "access_key"))
