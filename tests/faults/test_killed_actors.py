"""On Ray: any process, or a whole node, is killed while the run goes on; the dataset is the same."""

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
from tests.route.test_route import SCRIPT, job

pytestmark = pytest.mark.ray

SLOW = {**SCRIPT, "latency_s": 0.2, "concurrency": 16}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("local")
    return str(synth_ray.run(job(folder, str(folder / "out"))).manifest["dataset_digest"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs no actor, and two nodes that do: raylets of their own on this machine."""
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
    """Processes under this one that serve an actor of this class."""
    return processes(f"ray::{kind}")


def processes(title: str) -> list[int]:
    """Processes under this one with this in their command line."""
    return [pid for pid in _under(os.getpid()) if title in _title(pid)]


def _under(pid: int) -> list[int]:
    try:
        children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return [p for child in children for p in (child, *_under(child))]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def slow_job(folder: Path, **more: Any) -> dict[str, Any]:
    how = {
        "cluster": {"engine": "ray", "teachers": 2, "stagers": 2, "cpus_per_teacher": 0.5},
        "models": {"teacher": {"engine": "scripted", "script": SLOW}},
        "limits": {"engine_replacements": 8, "journal_flush_s": 0.2},
    }
    return job(folder, str(folder / "out"), **(how | more))


def run_while(folder: Path, killing: Any, **how: Any) -> tuple[str, Any]:
    """The run's digest and its last tally; `killing(tally)` is called with every tally from the driver's own loop."""
    last: list[Any] = []

    def watch(tally: Any) -> None:
        last[:] = [tally]
        killing(tally)

    result = synth_ray.run(slow_job(folder, **how), watch=watch)
    assert not result.stopped
    return str(result.manifest["dataset_digest"]), last[0]


@pytest.mark.parametrize("kind", ["TeacherActor", "StagerActor"])
def test_actors_killed_at_seeded_random_moments_lose_no_row(local: str, cluster: Any, tmp_path: Path, kind: str) -> None:
    draw = random.Random(kind)
    at = sorted(draw.randrange(40, 260) for _ in range(2))
    killed: list[int] = []

    def killing(tally: Any) -> None:
        if len(killed) < len(at) and tally.requests_done >= at[len(killed)] and (found := actors(kind)):
            killed.append(draw.choice(found))
            os.kill(killed[-1], (signal.SIGKILL, signal.SIGTERM)[len(killed) - 1])

    digest, tally = run_while(tmp_path, killing)
    assert (digest, len(killed)) == (local, 2)
    assert kind == "StagerActor" or tally.teachers_lost == 2


def test_a_killed_index_shard_is_restored_and_decides_the_same(local: str, cluster: Any, tmp_path: Path) -> None:
    killed: list[int] = []

    def killing(tally: Any) -> None:
        if len(killed) < 2 and tally.chunks_admitted > len(killed) + 1 and (found := actors("ShardActor")):
            killed.append(found[0])
            os.kill(found[0], signal.SIGKILL)

    shards = {"engine": "ray", "teachers": 2, "stagers": 2, "cpus_per_teacher": 0.5, "index_shards": 2}
    assert run_while(tmp_path, killing, cluster=shards)[0] == local
    assert len(killed) == 2


def test_a_drained_node_returns_its_requests_and_uses_no_engine_replacement(
    local: str, cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The notice a spot machine gets: nothing more is asked of it, and its successor starts before it goes."""
    import ray
    from ray._private.state import state

    drained: list[str] = []

    def killing(tally: Any) -> None:
        if not drained and tally.requests_done >= 40 and (found := actors("TeacherActor")):
            on = {a["Pid"]: a["Address"]["NodeID"] for a in state.actor_table(None).values()}
            drained.append(on[found[0]])
            drain(ray.get_runtime_context().gcs_address, drained[0])

    cluster.nodes.append(cluster.add_node(num_cpus=4, object_store_memory=100_000_000))
    digest, tally = run_while(tmp_path, killing, limits={"engine_replacements": 0, "journal_flush_s": 0.2})
    assert (digest, len(drained)) == (local, 1)
    assert tally.teachers_lost >= 1
    assert "its node is being taken away" in caplog.text
    node = next(n for n in cluster.nodes if n.node_id == drained[0])
    cluster.nodes.remove(node)
    cluster.remove_node(node)


def drain(address: str, node: str) -> None:
    program = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, "--node-id", node]
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot", "--deadline-remaining-seconds", "30"]
    subprocess.run([*program, *why], check=True, capture_output=True)


def test_a_killed_node_loses_no_row(local: str, cluster: Any, tmp_path: Path) -> None:
    removed: list[Any] = []

    def killing(tally: Any) -> None:
        if not removed and tally.requests_done >= 60:
            removed.append(cluster.nodes.pop())
            cluster.remove_node(removed[0], allow_graceful=False)

    assert run_while(tmp_path, killing)[0] == local
    assert len(removed) == 1
