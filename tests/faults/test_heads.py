"""On Ray: a cluster of other versions, a head that is killed, and a driver whose own node is drained. The driver is a process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import synth_ray
from synth_ray.ask.segments import journalled_chunks
from synth_ray.storage import open_storage
from tests.child_processes import wait_until
from tests.conftest import ROOT
from tests.faults.test_killed_actors import drain
from tests.route.test_route import SCRIPT, job

pytestmark = pytest.mark.ray

PLAN = {"requests": 120, "chunk_requests": 20, "window_chunks": 6}
MEMORY = {"object_store_memory": 100_000_000, "include_dashboard": False}
OTHER_RAY = "import sys, ray; ray.__version__ = '2.59.0'; from synth_ray.cli.main import main; sys.exit(main())"


@contextmanager
def small_cluster() -> Iterator[Any]:
    """A head without CPUs, which drivers on this machine join, and one node beside it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **MEMORY})
    cluster.worker = cluster.add_node(num_cpus=4, **MEMORY)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def write_job(folder: Path, *, latency_s: float = 0.05) -> Path:
    path = folder / "job.yaml"
    document = job(
        folder,
        str(folder / "out"),
        plan=PLAN,
        cluster={"engine": "ray", "teachers": 2, "cpus_per_teacher": 0.5},
        models={"teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": latency_s, "concurrency": 4}}},
    )
    path.write_text(yaml.safe_dump(document))
    return path


def start_driver(path: Path, address: str, *program: str, **environment: str) -> subprocess.Popen[str]:
    """From a folder without the package, so that each node imports its own."""
    program = program or ("-m", "synth_ray.cli.main")
    command = [sys.executable, *program, "run", str(path), "--address", address, "--quiet"]
    paths = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(command, cwd=path.parent, env=paths, stderr=subprocess.PIPE, text=True)


def end_of(driver: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, errors = driver.communicate(timeout=300)
    finally:
        driver.kill()
    return driver.returncode, errors


def is_journalled(out: Path) -> bool:
    return out.exists() and bool(list(journalled_chunks(open_storage(str(out)))))


def committed(out: Path) -> int:
    return len(list(out.glob("_synth/commits/*"))) if out.exists() else 0


def digest_of(out: Path) -> str:
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    return str(manifest["dataset_digest"])


def wanted_digest(folder: Path) -> str:
    return str(synth_ray.run(job(folder, str(folder / "alone"), plan=PLAN)).manifest["dataset_digest"])


def test_other_versions_are_refused_by_name_before_anything_is_asked(tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(ROOT / "synth_ray", old / "synth_ray", ignore=shutil.ignore_patterns("__pycache__"))
    version = old / "synth_ray" / "version.py"
    version.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.0.9"', version.read_text()))
    path = write_job(tmp_path)
    with small_cluster() as cluster:
        code, errors = end_of(start_driver(path, cluster.address, "-c", OTHER_RAY))
        assert code == 1
        assert "wanted a cluster of Ray 2.59.0 and Python" in errors
        assert "start the cluster from this one's image" in errors
        cluster.remove_node(cluster.worker)
        cluster.add_node(num_cpus=4, env_vars={"PYTHONPATH": str(old)}, **MEMORY)
        code, errors = end_of(start_driver(path, cluster.address))
    assert code == 1
    assert f"wanted synth_ray {synth_ray.__version__} on every node" in errors
    assert "got synth_ray 0.0.9 on node" in errors
    assert not is_journalled(tmp_path / "out")


def test_a_run_whose_head_is_killed_ends_in_words_and_goes_on_in_another_cluster(tmp_path: Path) -> None:
    path = write_job(tmp_path, latency_s=2.0)  # at work for a minute
    with small_cluster() as cluster:
        driver = start_driver(path, cluster.address, RAY_gcs_rpc_server_reconnect_timeout_s="16")
        wait_until(lambda: is_journalled(tmp_path / "out"), driver)
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        code, errors = end_of(driver)
        assert code == 1
        assert "wanted Ray's head to answer, got nothing for 8 s" in errors
        assert not (tmp_path / "out" / "manifest.json").exists()
    write_job(tmp_path)
    with small_cluster() as cluster:
        code, errors = end_of(start_driver(path, cluster.address))
        assert code == 0, errors
    assert digest_of(tmp_path / "out") == wanted_digest(tmp_path)


def test_a_driver_whose_own_node_is_drained_publishes_what_it_has_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path = write_job(tmp_path, latency_s=3.0)  # at work for a minute and more: still when the notice comes
    with small_cluster() as cluster:
        driver = start_driver(path, cluster.address)
        wait_until(lambda: committed(tmp_path / "out"), driver)
        drain(cluster.address, cluster.head_node.node_id, within_s=120)
        code, errors = end_of(driver)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (code, manifest["complete"]) == (4, False)
    assert "the node of this driver is taken away in" in manifest.get("stopped", errors)
    assert not synth_ray.run(job(tmp_path, str(tmp_path / "out"), plan=PLAN)).stopped
    assert digest_of(tmp_path / "out") == wanted_digest(tmp_path)
