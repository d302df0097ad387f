"""What is rendered runs: the mounted files, the pods' environment and the entrypoint, on a real Ray of this machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from synth_ray.job.load import job_from
from synth_ray.submit.package import Package
from synth_ray.submit.rayjob import rayjob_of, to_yaml
from synth_ray.submit.values import Values
from tests.child_processes import end, line_of
from tests.servers import free_port

ROOT = Path(__file__).parents[3]


def mounted(objects: dict[str, Any], folder: Path) -> None:
    """The ConfigMap as a kubelet mounts it: real files in a hidden folder, links to them where the paths are."""
    pod = objects["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    [volume] = [v["configMap"] for v in pod["volumes"] if v["name"] == "job"]
    for item in volume["items"]:
        kept, link = folder / "..data" / item["path"], folder / item["path"]
        kept.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(objects["ConfigMap"]["data"][item["key"]])
        link.symlink_to(kept)


@contextmanager
def ray_in(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """A head with one CPU that begins in `folder`, as a pod does in its working folder; yields its address."""
    port, ray = free_port(), Path(sys.executable).with_name("ray")
    ports = ["--port", str(port)]
    small = ["--num-cpus", "2", "--object-store-memory", "100000000", "--include-dashboard", "false", "--disable-usage-stats"]
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short, for Ray's sockets
    command = [ray, "start", "--head", "--block", *ports, *small, "--temp-dir", place]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        line_of(process, having="block forever")
        yield f"127.0.0.1:{port}"
    finally:
        end(process)
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.ray
def test_the_entrypoint_runs_on_the_mounted_files_with_the_pods_environment(tmp_path: Path) -> None:
    document = {
        "name": "rendered",
        "seeds": "data/seeds.jsonl",
        "recipe": {"name": "my_recipes.haiku"},
        "models": {"teacher": {"engine": "scripted"}},
        "split": {"fractions": {"train": 1.0}},
        "output": str(tmp_path / "out"),
    }
    page = (ROOT / "docs" / "recipes.md").read_text()
    recipe = page.split("```python\n")[1].split("```")[0]
    files = {
        "job.yaml": yaml.safe_dump(document).encode(),
        "data/seeds.jsonl": "".join(json.dumps({"prompt": f"word {n}"}) + "\n" for n in range(6)).encode(),
        "my_recipes/haiku.py": recipe.encode(),
    }
    entrypoint = "exec python -m synth_ray.cli.main run job.yaml --address auto"
    package = Package("rendered", "0" * 32, str(tmp_path / "out"), "job.yaml", files, entrypoint, {}, {})
    made = rayjob_of(package, job_from(document), Values())
    objects = {o["kind"]: o for o in yaml.safe_load_all(to_yaml(made))}
    folder = tmp_path / "job"
    mounted(objects, folder)
    pod = objects["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert pod["workingDir"] == pod["env"][0]["value"] == "/job" and pod["env"][0]["name"] == "PYTHONPATH"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "TMPDIR": str(tmp_path / "t"),
    }
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "rendered-" * 8, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "5"}
    with ray_in(folder, environment) as address:
        words = shlex.split(objects["RayJob"]["spec"]["entrypoint"].removeprefix("exec "))
        command = [sys.executable, *(address if word == "auto" else word for word in words[1:])]
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert completed.returncode == 0, completed.stderr[-2000:]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["rows"]["accepted"] > 0
