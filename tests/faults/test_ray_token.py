"""Ray with token authentication: a run joins with the token, and without it is refused before it writes anything."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import synth_ray
from tests.child_processes import end, line_of
from tests.conftest import ROOT
from tests.route.test_route import job

pytestmark = pytest.mark.ray

HEAD = """
import sys, ray
ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


def with_token(folder: Path, name: str) -> dict[str, str]:
    path = folder / name
    path.write_text(secrets.token_hex(32))
    path.chmod(0o600)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path), "PYTHONPATH": paths}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray cluster with token authentication: its address, and the environment with its token."""
    environment = with_token(tmp_path, "token")
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    try:
        yield line_of(head), environment
    finally:
        end(head)


def test_a_run_joins_a_cluster_with_its_token_and_is_refused_without(tmp_path: Path, guarded: tuple[str, dict[str, str]]) -> None:
    address, environment = guarded
    wanted = synth_ray.run(job(tmp_path, str(tmp_path / "local"))).manifest["dataset_digest"]
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job(tmp_path, str(tmp_path / "out"), cluster={"engine": "ray", "cpus_per_teacher": 0.5})))
    command = [sys.executable, "-m", "synth_ray.cli.main", "run", str(path), "--address", address, "--quiet"]
    refused = subprocess.run(command, cwd=ROOT, env=with_token(tmp_path, "another"), capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1
    assert "cluster.address" in refused.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=300)
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    assert json.loads(manifest)["dataset_digest"] == wanted
    token = (tmp_path / "token").read_text()
    assert not any(token in f.read_text(errors="ignore") for f in (tmp_path / "out").rglob("*") if f.is_file())
