"""Two jobs on one cluster: each gets its share of the accelerators, and all of them once it is alone again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from tests.route.test_route import SCRIPT, job

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


def shared(folder: Path, name: str, requests: int, **cluster: Any) -> dict[str, Any]:
    places = {"engine": "ray", "teachers": 4, "gpus_per_teacher": 1, "cpus_per_teacher": 0.1, "stagers": 1}
    script = {**SCRIPT, "latency_s": 0.5, "concurrency": 2}
    return job(
        folder,
        str(folder / name),
        plan={"requests": requests, "chunk_requests": 20, "window_chunks": 8},
        cluster=places | cluster,
        models={"teacher": {"engine": "scripted", "script": script}},
    )


def test_a_second_job_gets_half_of_the_cluster_and_gives_it_back(four_gpus: Any, tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {"first": [], "second": []}
    has_all, ended = threading.Event(), threading.Event()

    def watch_first(tally: Any) -> None:
        seen["first"].append(tally.replicas)
        if tally.replicas == 4:
            has_all.set()

    results: dict[str, Any] = {}

    def first() -> None:
        results["first"] = synth_ray.run(shared(tmp_path, "first", 240), watch=watch_first)
        ended.set()

    running = threading.Thread(target=first)
    running.start()
    assert has_all.wait(60)
    alone = len(seen["first"])
    results["second"] = synth_ray.run(shared(tmp_path, "second", 40), watch=lambda tally: seen["second"].append(tally.replicas))
    together = len(seen["first"])
    assert not ended.is_set()
    running.join(120)
    assert max(seen["second"]) == 2
    assert min(n for n in seen["first"][alone:together]) == 2
    assert max(seen["first"][together:]) == 4
    assert not results["first"].stopped and not results["second"].stopped
    plan = {"requests": 240, "chunk_requests": 20, "window_chunks": 8}
    by_itself = synth_ray.run(job(tmp_path, str(tmp_path / "alone"), plan=plan))
    assert results["first"].manifest["dataset_digest"] == by_itself.manifest["dataset_digest"]
