"""On Ray: replicas join and leave during a run and engines span several nodes; the dataset is the same."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.cluster import capacity, head_room, placement
from synth_ray.cluster.facts import ClusterFacts, Node, cluster_facts
from tests.held_server import HeldServer, held_server
from tests.ray_cluster import wait_until_alone
from tests.route.test_pools import SEPARATE, judged
from tests.route.test_route import job

pytestmark = pytest.mark.ray

PLAN = {"requests": 120, "chunk_requests": 20, "window_chunks": 6}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("local")
    return str(synth_ray.run(job(folder, str(folder / "out"), plan=PLAN)).manifest["dataset_digest"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node with CPUs for one teacher and one stager; the tests add more nodes."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100_000_000})
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def server() -> Iterator[HeldServer]:
    with held_server() as server:
        yield server


def test_replicas_scale_from_one_to_four_and_back_and_no_row_is_lost(cluster: Any, tmp_path: Path, server: HeldServer) -> None:
    """The server holds the run until all four are up, and then until the three on the lost node are known to be gone."""
    counts: list[int] = []
    added: list[Any] = []

    def watch(tally: Any) -> None:
        counts.append(tally.replicas)
        if not added and tally.requests_done >= 6:
            added.append(cluster.add_node(num_cpus=3, object_store_memory=100_000_000))
        elif len(added) == 1 and tally.replicas == 4:
            cluster.remove_node(added[0], allow_graceful=False)
            added.append(None)
        elif len(added) == 2 and tally.replicas == 1:
            server.let_go()

    document = job(tmp_path, str(tmp_path / "out"), plan=PLAN, limits={"engine_replacements": 8, "journal_flush_s": 0.2})
    document["models"] = {"teacher": server.teacher(at_once=4)}
    alone = synth_ray.run(document | {"output": {"path": str(tmp_path / "alone")}}).manifest
    server.hold(after=60)
    result = synth_ray.run(document | {"cluster": {"engine": "ray", "teachers": 4, "stagers": 1}}, watch=watch)
    assert not result.stopped
    assert result.manifest["dataset_digest"] == alone["dataset_digest"]
    ready = [n for n in counts if n]
    assert (ready[0], max(ready), ready[-1]) == (1, 4, 1)
    replicas = result.manifest["throughput"]["replicas"]
    assert len(replicas) >= 4
    assert sum(replica["requests"] for replica in replicas) >= 120


def test_what_waits_for_a_node_that_is_gone_starts_on_the_head(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray counts a lost node as up for a while: here until the run has said what waits. Each kind of actor waits."""
    wait_until_alone()
    monkeypatch.setattr(capacity, "_TELL_AFTER_S", 1.0)
    monkeypatch.setattr(capacity, "_TELL_EVERY_S", 1.0)
    lost = Node(total={"CPU": 8.0}, free={"CPU": 8.0}, labels={}, node_id="f" * 56)
    is_known = threading.Event()

    def told(section: Any) -> ClusterFacts:
        facts = cluster_facts(section)
        return facts if is_known.is_set() else replace(facts, nodes=(*facts.nodes, lost))

    for module in (capacity, placement, head_room):
        monkeypatch.setattr(module, "cluster_facts", told)
    share = {"cpus_per_teacher": 0.5, "cpus_per_judge": 0.25, "judges": 1, "stagers": 1}
    document = judged(tmp_path, cluster=SEPARATE | {"engine": "ray"} | share, quality={"measure": False})
    alone = document | {"cluster": {"engine": "local"}, "output": {"path": str(tmp_path / "alone")}}
    with caplog.at_level(logging.WARNING):
        result = synth_ray.run(document, watch=lambda _: is_known.set() if "not up after" in caplog.text else None)
    assert "actors waited for are gone; 3 may stand on the head now" in caplog.text
    assert not result.stopped
    assert result.manifest["dataset_digest"] == synth_ray.run(alone).manifest["dataset_digest"]


def test_an_engine_over_several_nodes_gets_a_placement_group_and_releases_it(local: str, cluster: Any, tmp_path: Path) -> None:
    import ray

    wait_until_alone()  # a node of the test before: while it counts as up, the head is left out, and there is no room without it
    for _ in range(2):
        cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100_000_000)
    changes = {
        "cluster": {"engine": "ray", "gpus_per_teacher": 2},
        "models": {"teacher": {"engine_args": {"tensor_parallel_size": 2, "distributed_executor_backend": "ray"}}},
    }
    document = job(tmp_path, str(tmp_path / "out"), plan=PLAN)
    document["models"]["teacher"] |= changes["models"]["teacher"]
    document["cluster"] |= changes["cluster"]
    assert synth_ray.run(document).manifest["dataset_digest"] == local
    groups = ray.util.placement_group_table().values()
    assert [(len(g["bundles"]), g["state"]) for g in groups] == [(2, "REMOVED")]
