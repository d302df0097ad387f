"""On a cluster of several nodes: actors stand where the job says, and a run waits, or ends, by what the cluster has."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.errors import JobError, SynthRayError
from synth_ray.job.load import job_from
from tests.route.test_route import SCRIPT, job

pytestmark = pytest.mark.ray

PLAN = {"requests": 20, "chunk_requests": 10}
STORE = 100_000_000


def _place() -> type:
    class Place:
        """An actor that says where it is. Made here, so that Ray sends the class itself: its workers cannot import this file."""

        def __init__(self, *_: object) -> None:
            pass

        def node(self) -> str:
            import ray

            return str(ray.get_runtime_context().get_node_id())

    return Place


Place = _place()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with CPUs, a node with CPUs and a spot node with two GPUs; no autoscaler."""
    import ray
    from ray.cluster_utils import Cluster

    from synth_ray.cluster.autoscaler import told_of_autoscaler

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "object_store_memory": STORE})
    cluster.add_node(num_cpus=3, object_store_memory=STORE, labels={"kind": "cpu"})
    cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE, labels={"market": "spot"})
    ray.init(address=cluster.address, log_to_driver=False)
    until = time.monotonic() + 60
    while told_of_autoscaler().exists == "unknown" and time.monotonic() < until:
        time.sleep(0.5)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def placed(folder: Path, *, path: str = "out", cluster: dict[str, Any], teacher: dict[str, Any] | None = None) -> dict[str, Any]:
    document = job(folder, str(folder / path), plan=PLAN, cluster={"engine": "ray", **cluster})
    document["models"] = {"teacher": teacher or {"engine": "scripted", "script": SCRIPT}}
    return document


def label_of(actor: Any, name: str) -> str:
    """The label of the node that this actor is on; `head` for the head."""
    import ray

    [node] = [node for node in ray.nodes() if node["NodeID"] == ray.get(actor.node.remote(), timeout=300)]
    return "head" if "node:__internal_head__" in node["Resources"] else str(node["Labels"].get(name))


def wait_until_no_gpu_is_free() -> None:
    """As far as the head knows: a node tells it now and then what is free."""
    from synth_ray.cluster.autoscaler import free_resources

    until = time.monotonic() + 300
    while any(free.get("GPU") for free in free_resources().values()):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_actors_stand_where_their_labels_say_and_off_the_head(cluster: Any, tmp_path: Path) -> None:
    import ray

    from synth_ray.cluster.placement import stager_options, start_replica

    vllm = {"model": "some/model"}
    spot, _ = start_replica(Place, job_from(placed(tmp_path, cluster={"teacher_labels": {"market": "spot"}}, teacher=vllm)))
    first, _ = start_replica(Place, job_from(placed(tmp_path, cluster={"teacher_labels": [{"market": "none"}, {"kind": "cpu"}]})))
    plain = job_from(placed(tmp_path, cluster={}))
    stagers = [ray.remote(num_cpus=1)(Place).options(**stager_options(plain)).remote() for _ in range(2)]
    assert label_of(spot, "market") == "spot"
    assert label_of(first, "kind") == "cpu"
    assert [label_of(stager, "kind") for stager in stagers] == ["cpu", "cpu"]
    on_head = job_from(placed(tmp_path, cluster={"on_head": True, "cpus_per_teacher": 4}))
    head, _ = start_replica(Place, on_head)
    assert label_of(head, "kind") == "head"
    for actor in (spot, first, head, *stagers):
        ray.kill(actor)


def test_an_engine_over_several_nodes_has_its_bundles_on_nodes_with_the_labels(cluster: Any, tmp_path: Path) -> None:
    import ray
    from ray.util.placement_group import placement_group_table

    from synth_ray.cluster.placement import end_replica, start_replica

    spread = {"model": "some/model", "engine_args": {"pipeline_parallel_size": 2, "distributed_executor_backend": "ray"}}
    actor, group = start_replica(
        Place, job_from(placed(tmp_path, cluster={"teacher_labels": {"market": "spot"}}, teacher=spread))
    )
    assert label_of(actor, "market") == "spot"
    assert group is not None
    [node] = set(placement_group_table(group)["bundles_to_node_id"].values())
    assert {n["NodeID"]: n["Labels"] for n in ray.nodes()}[node]["market"] == "spot"
    end_replica(actor, group)


def test_a_cluster_that_can_never_hold_the_teacher_is_refused_before_anything_is_asked(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(
        JobError, match=r"wanted 4 GPUs and 1 CPU for one teacher, got at most 2 GPUs on a node and no autoscaler"
    ):
        synth_ray.run(placed(tmp_path, cluster={"gpus_per_teacher": 4}))
    assert not list(tmp_path.glob("out/data/**/*.parquet"))


def test_a_run_waits_for_gpus_in_use_says_so_and_gives_up_when_told_to(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    held = ray.remote(num_cpus=0, num_gpus=2)(Place).remote()
    ray.get(held.node.remote(), timeout=300)
    wait_until_no_gpu_is_free()
    with caplog.at_level(logging.WARNING), pytest.raises(SynthRayError, match=r"cluster\.wait_s: wanted a place .* within 2 s"):
        synth_ray.run(placed(tmp_path, path="late", cluster={"gpus_per_teacher": 1, "wait_s": 2}))
    assert "teacher: wants 1 × 1 GPU and 1 CPU, has room for 0, no autoscaler: the others start if nodes join" in caplog.text
    ray.kill(held)

    joined: list[Any] = []

    def join(_: object) -> None:
        if not joined:
            joined.append(cluster.add_node(num_cpus=1, num_gpus=4, object_store_memory=STORE))

    blocker = ray.remote(num_cpus=0, num_gpus=2)(Place).remote()
    ray.get(blocker.node.remote(), timeout=300)
    wait_until_no_gpu_is_free()
    result = synth_ray.run(placed(tmp_path, path="out", cluster={"gpus_per_teacher": 1, "wait_s": 300}), watch=join)
    ray.kill(blocker)
    assert joined
    assert not result.stopped
