"""Two jobs on one cluster: each gets its share of the accelerators, and all of them once it is alone again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from tests.held_server import LONGEST_S, HeldServer, held_server
from tests.route.test_route import job

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def four_gpus() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "num_gpus": 4, "object_store_memory": 100_000_000})
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def servers() -> Iterator[tuple[HeldServer, HeldServer]]:
    with held_server() as first, held_server() as second:
        yield first, second


def shared(folder: Path, name: str, server: HeldServer, requests: int) -> dict[str, Any]:
    places = {"engine": "ray", "teachers": 4, "gpus_per_teacher": 1, "cpus_per_teacher": 0.1, "stagers": 1, "in_flight": 2}
    return job(
        folder,
        str(folder / name),
        plan={"requests": requests, "chunk_requests": 20, "window_chunks": 8},
        cluster=places,
        models={"teacher": server.teacher(at_once=2)},
    )


def test_a_second_job_gets_half_of_the_cluster_and_gives_it_back(
    four_gpus: Any, tmp_path: Path, servers: tuple[HeldServer, HeldServer]
) -> None:
    """The first job's asks are answered one by one, so that a replica can finish and give way, and none ends before its time."""
    seen: dict[str, list[int]] = {"first": [], "second": []}
    has_all, second_ended, ended = threading.Event(), threading.Event(), threading.Event()
    of_first, of_second = servers

    def watch_first(tally: Any) -> None:
        seen["first"].append(tally.replicas)
        if tally.replicas == 4:
            has_all.set()
            if second_ended.is_set():
                of_first.let_go()

    def watch_second(tally: Any) -> None:
        seen["second"].append(tally.replicas)
        if (tally.replicas, seen["first"][-1]) == (2, 2):
            of_second.let_go()

    results: dict[str, Any] = {}

    def first() -> None:
        results["first"] = synth_ray.run(document, watch=watch_first)
        ended.set()

    document = shared(tmp_path, "first", of_first, 360)
    by_itself = synth_ray.run(document | {"cluster": {"engine": "local"}, "output": {"path": str(tmp_path / "alone")}})
    of_first.hold(every_s=0.6)
    of_second.hold()
    running = threading.Thread(target=first)
    running.start()
    assert has_all.wait(LONGEST_S)
    alone = len(seen["first"])
    results["second"] = synth_ray.run(shared(tmp_path, "second", of_second, 40), watch=watch_second)
    together = len(seen["first"])
    assert not ended.is_set()
    second_ended.set()
    running.join(2 * LONGEST_S)
    assert max(seen["second"]) == 2
    assert min(n for n in seen["first"][alone:together]) == 2
    assert max(seen["first"][together:]) == 4
    assert not results["first"].stopped and not results["second"].stopped
    assert results["first"].manifest["dataset_digest"] == by_itself.manifest["dataset_digest"]
