"""Jobs submitted to a real cluster of two raylets with token authentication: stopped, killed, left and submitted again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import synth_ray
from synth_ray.storage import Storage, open_storage
from tests.child_processes import wait_until
from tests.conftest import ROOT
from tests.ray_cluster import RayCluster, started_cluster

pytestmark = [pytest.mark.ray, pytest.mark.s3]

RECIPE = "from words_of_mine import INSTRUCT\nfrom synth_ray.recipes.vary import RECIPE\n"
SLOW = ("--set", "models.teacher.script.latency_s=2.5", "--set", "models.teacher.script.concurrency=2")
"""So that a run lasts minutes, far longer than the commands that look at it, and commits every few seconds; of no digest."""
SCRIPT = {"words": 12, "repeat_share": 0.1, "empty_share": 0.05}
SHAPE = {
    "name": "Submitted",
    "seeds": "data/seeds.jsonl",
    "recipe": {"name": "recipes_of_mine.asking", "n": 2},
    "plan": {"requests": 120, "chunk_requests": 4, "window_chunks": 3},
    "split": {"allow_synthetic_only_eval": True},
    "limits": {"journal_flush_s": 0.2},
}


@pytest.fixture(scope="module")
def cluster(aws_credentials: None) -> Iterator[RayCluster]:
    with started_cluster(ROOT) as cluster:
        yield cluster


class Laptop:
    """The folder that a person submits from, with a job whose output is on a store."""

    def __init__(self, folder: Path, cluster: RayCluster, output: dict[str, str]) -> None:
        self.folder, self.cluster, self.output = folder, cluster, output["path"]
        for name in ("data", "recipes_of_mine"):
            (folder / name).mkdir()
        seeds = [{"prompt": f"Question {n} about topic {n * 7}?", "answer": "x"} for n in range(120)]
        (folder / "data" / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
        (folder / "recipes_of_mine" / "asking.py").write_text(RECIPE)
        (folder / "words_of_mine.py").write_text("INSTRUCT = ''\n")
        job = {**SHAPE, "models": {"teacher": {"engine": "scripted", "script": SCRIPT}}, "output": output}
        (folder / "job.yaml").write_text(yaml.safe_dump({**job, "cluster": {"cpus_per_teacher": 0.5}}))
        self.store: Storage = open_storage(output["path"], endpoint_url=output["endpoint_url"])
        self.environment = {**cluster.environment, "PYTHONPATH": f"{folder}{os.pathsep}{cluster.environment['PYTHONPATH']}"}

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        address = [] if "--address" in words else ["--address", self.cluster.url]
        command = [sys.executable, "-m", "synth_ray.cli.main", *words, *address]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def submit(self, *words: str) -> subprocess.Popen[str]:
        return self.start("submit", "job.yaml", "--python", sys.executable, *words)

    def commits(self) -> int:
        return sum("/commits/" in f"/{entry.path}" for entry in self.store.list("_synth/"))

    def manifest(self) -> dict[str, Any]:
        return dict(json.loads(self.store.read("manifest.json")))


@pytest.fixture
def laptop(tmp_path: Path, cluster: RayCluster, bucket: str, moto_server: str) -> Laptop:
    return Laptop(tmp_path, cluster, {"path": f"s3://{bucket}/out", "endpoint_url": moto_server})


class Forwarder:
    """Passes connections on to the cluster's dashboard; all that are open can be cut."""

    def __init__(self, url: str) -> None:
        self._to = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Forwarder:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ends = self._listener.accept()[0], socket.create_connection(self._to)
                self._open += ends
                for source, target in (ends, ends[::-1]):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=240)
    return process.returncode, said


def driver_of(cluster: RayCluster) -> psutil.Process:
    """The driver's process: the job's entrypoint, in the folder that Ray unpacked the package to."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "run" in words and "job.yaml" in words and process.cwd().startswith(str(cluster.folder)):
            return process
    raise AssertionError("no driver runs")


def local_digest(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> str:
    job = yaml.safe_load((laptop.folder / "job.yaml").read_text())
    monkeypatch.chdir(laptop.folder)
    monkeypatch.syspath_prepend(str(laptop.folder))
    result = synth_ray.run({**job, "output": str(laptop.folder / "local"), "cluster": {"engine": "local"}})
    return str(result.manifest["dataset_digest"])


def test_a_job_that_is_left_stopped_and_killed_goes_on_when_submitted_again_and_ends_in_the_same_dataset(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = local_digest(laptop, monkeypatch)

    follower = laptop.submit(*SLOW)
    wait_until(lambda: laptop.commits() >= 1, follower)
    follower.send_signal(signal.SIGINT)
    code, said = ended(follower)
    assert code == 130
    assert "the job goes on; follow it again: synth-ray submit --attach submitted-" in said
    job_id = next(line.split()[1] for line in said.splitlines() if line.startswith("job "))
    assert f"output    {laptop.output}" in said

    same, other = laptop.submit("--no-wait", *SLOW), laptop.submit("--no-wait", "--set", "cluster.stagers=2")
    follower = laptop.start("submit", "--attach", job_id)
    code, said = ended(same)
    assert code == 0
    assert f"{job_id}  (runs already: attached to it)" in said
    code, said = ended(other)
    assert code == 2
    assert f"follow it with --attach {job_id}" in said

    code, said = ended(laptop.start("stop", laptop.output))
    assert code == 0
    assert "a partial dataset is published" in said
    code, said = ended(follower)
    assert code == 4
    assert "stopped short: got SIGTERM" in said
    partial = laptop.manifest()
    assert not partial["complete"]
    before = laptop.commits()

    follower = laptop.submit(*SLOW)
    wait_until(lambda: laptop.commits() > before, follower)
    driver_of(laptop.cluster).kill()
    code, said = ended(follower)
    assert code == 1
    assert "the driver was killed by signal 9" in said

    code, said = ended(laptop.submit("--set", 'gates=["accepted >= 100000"]'))
    assert code == 3, said
    assert "gate failed" in said
    manifest = laptop.manifest()
    assert manifest["complete"]
    assert manifest["dataset_digest"] == wanted
    assert manifest["cost"]["runs"] == 3
    assert laptop.cluster.token not in said


def test_a_job_in_parts_is_driven_by_several_processes_of_the_cluster_and_goes_on_after_a_kill(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = local_digest(laptop, monkeypatch)
    in_parts = ("--set", "plan.parts=2", "--set", "cluster.teachers=2")
    follower = laptop.submit(*in_parts, *SLOW)
    wait_until(lambda: laptop.commits() >= 4, follower)
    driver_of(laptop.cluster).kill()
    code, said = ended(follower)
    assert code == 1, said
    code, said = ended(laptop.submit(*in_parts))
    assert code == 0, said
    manifest = laptop.manifest()
    assert (manifest["complete"], manifest["dataset_digest"]) == (True, wanted)
    assert list(laptop.store.list("_synth/asks/")) == []


def test_a_broken_connection_is_made_again_and_every_line_is_printed_once(laptop: Laptop) -> None:
    with Forwarder(laptop.cluster.url) as forwarder:
        follower = laptop.submit("--set", "plan.requests=12", *SLOW, "--address", forwarder.url)
        wait_until(lambda: laptop.commits() >= 1, follower)
        forwarder.cut()
        code, said = ended(follower)
    assert code == 0, said
    assert said.count("Running entrypoint for job") == 1
    assert said.count("splits: train") == 1
    assert laptop.manifest()["complete"]


def test_a_cluster_without_the_token_is_told_in_plain_words(laptop: Laptop) -> None:
    for token in ("f" * 64, ""):
        code, said = ended(laptop.start("submit", "job.yaml", RAY_AUTH_TOKEN=token, HOME=str(laptop.folder)))
        assert code == 2
        assert "wanted the token of the cluster" in said
        assert "Traceback" not in said
    assert laptop.commits() == 0


def test_what_the_cluster_cannot_do_is_told_with_the_next_move(laptop: Laptop) -> None:
    code, said = ended(laptop.start("stop", "submitted-00000000-9"))
    assert code == 2
    assert "which it does not know" in said
    code, said = ended(laptop.start("submit", "job.yaml", "--python", "python-of-nobody"))
    assert code == 127
    assert "name its path with --python" in said
    code, said = ended(laptop.submit("--output", "out/here"))
    assert code == 2
    assert "output.path: wanted a place that every node reaches" in said
