"""On Ray: actors and whole nodes are killed during a run, and the dataset is the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from tests.held_server import HeldServer, held_server
from tests.route.test_route import SCRIPT, job

pytestmark = pytest.mark.ray

SLOW = {**SCRIPT, "latency_s": 0.2, "concurrency": 16}


@pytest.fixture(scope="module")
def server() -> Iterator[HeldServer]:
    """The teacher of the runs, which a test holds until what it has done to the cluster is known."""
    with held_server() as server:
        yield server


@pytest.fixture(scope="module")
def local(server: HeldServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("local")
    document = job(folder, str(folder / "out")) | {"models": {"teacher": server.teacher()}}
    return str(synth_ray.run(document).manifest["dataset_digest"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head node without CPUs and two worker nodes: separate raylets on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
    cluster.nodes = [cluster.add_node(num_cpus=4, **memory) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def actors(kind: str) -> list[int]:
    """Pids of descendants that run an actor of this class."""
    return processes(f"ray::{kind}")


def processes(title: str) -> list[int]:
    """Pids of descendants with `title` in their command line."""
    return [pid for pid in _descendants(os.getpid()) if title in _title(pid)]


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return [p for child in children for p in (child, *_descendants(child))]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def slow_job(folder: Path, **more: Any) -> dict[str, Any]:
    defaults = {
        "cluster": {"engine": "ray", "teachers": 2, "stagers": 2, "cpus_per_teacher": 0.5},
        "models": {"teacher": {"engine": "scripted", "script": SLOW}},
        "limits": {"engine_replacements": 8, "journal_flush_s": 0.2},
    }
    return job(folder, str(folder / "out"), **(defaults | more))


def run_while(server: HeldServer, folder: Path, on_tally: Any, **changes: Any) -> tuple[str, Any]:
    """Run the job and return its dataset digest and last tally. The driver's loop calls `on_tally` with every tally."""
    last: list[Any] = []

    def watch(tally: Any) -> None:
        last[:] = [tally]
        on_tally(tally)

    server.let_go()
    result = synth_ray.run(slow_job(folder, **changes) | {"models": {"teacher": server.teacher(at_once=4)}}, watch=watch)
    assert not result.stopped
    return str(result.manifest["dataset_digest"]), last[0]


@pytest.mark.parametrize("kind", ["TeacherActor", "StagerActor"])
def test_actors_killed_at_seeded_random_moments_lose_no_row(
    local: str, server: HeldServer, cluster: Any, tmp_path: Path, kind: str
) -> None:
    """Of 300 requests, 280 at most are planned when 200 are not yet done: there is always work left for the loss to show at."""
    draw = random.Random(kind)
    kill_at = sorted(draw.randrange(40, 200) for _ in range(2))
    killed: list[int] = []

    def kill(tally: Any) -> None:
        if kind == "TeacherActor" and tally.replicas_lost < len(killed):
            return
        server.let_go()
        if len(killed) < len(kill_at) and tally.requests_done >= kill_at[len(killed)] and (pids := actors(kind)):
            if kind == "TeacherActor":
                server.hold()
            killed.append(draw.choice(pids))
            os.kill(killed[-1], (signal.SIGKILL, signal.SIGTERM)[len(killed) - 1])

    digest, tally = run_while(server, tmp_path, kill)
    assert (digest, len(killed)) == (local, 2)
    assert kind == "StagerActor" or tally.replicas_lost == 2


def test_a_killed_index_shard_is_restored_and_decides_the_same(
    local: str, server: HeldServer, cluster: Any, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill(tally: Any) -> None:
        if len(killed) < 2 and tally.chunks_admitted > len(killed) + 1 and (pids := actors("ShardActor")):
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    shards = {"engine": "ray", "teachers": 2, "stagers": 2, "cpus_per_teacher": 0.5, "index_shards": 2}
    assert run_while(server, tmp_path, kill, cluster=shards)[0] == local
    assert len(killed) == 2


def test_a_drained_node_returns_its_requests_and_uses_no_engine_replacement(
    local: str, server: HeldServer, cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A spot machine's termination notice: it gets no more requests, and its successor starts before it ends. The server answers
    slowly until it has ended.
    """
    import ray

    drained: list[str] = []

    def kill(tally: Any) -> None:
        if drained and tally.replicas_lost:
            server.let_go()
        if not drained and tally.requests_done >= 40 and (pids := actors("TeacherActor")):
            server.hold(every_s=1.0)
            drained.append(node_of(pids[0]))
            drain(ray.get_runtime_context().gcs_address, drained[0], within_s=600)

    cluster.nodes.append(cluster.add_node(num_cpus=4, object_store_memory=100_000_000))
    digest, tally = run_while(server, tmp_path, kill, limits={"engine_replacements": 0, "journal_flush_s": 0.2})
    assert (digest, len(drained)) == (local, 1)
    assert tally.replicas_lost >= 1
    assert "its node is being taken away" in caplog.text
    node = next(n for n in cluster.nodes if n.node_id == drained[0])
    cluster.nodes.remove(node)
    cluster.remove_node(node)


def node_of(pid: int) -> str:
    """The id of the node that runs this actor."""
    from ray._private.state import state

    return next(a["Address"]["NodeID"] for a in state.actor_table(None).values() if a["Pid"] == pid)


def drain(address: str, node: str, *, within_s: int) -> None:
    program = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, "--node-id", node]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    deadline = ["--deadline-remaining-seconds", str(within_s)]
    subprocess.run([*program, *reason, *deadline], check=True, capture_output=True)


def test_a_killed_node_loses_no_row(local: str, server: HeldServer, cluster: Any, tmp_path: Path) -> None:
    """The node of a teacher, whose loss the server waits for."""
    removed: list[Any] = []

    def kill(tally: Any) -> None:
        if removed and tally.replicas_lost:
            server.let_go()
        if not removed and tally.requests_done >= 60 and (pids := actors("TeacherActor")):
            server.hold()
            lost = node_of(pids[0])
            removed.append(next(node for node in cluster.nodes if node.node_id == lost))
            cluster.nodes.remove(removed[0])
            cluster.remove_node(removed[0], allow_graceful=False)

    digest, tally = run_while(server, tmp_path, kill)
    assert (digest, len(removed)) == (local, 1)
    assert tally.replicas_lost >= 1
