"""On Ray: nodes join, are lost and are drained in the middle of a run, and the dataset is the same."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.ask.segments import journalled_chunks, read_journal
from synth_ray.records import digest
from synth_ray.storage import open_storage
from tests.endpoint_server import MODEL, behaving_server
from tests.faults.test_killed_actors import drain
from tests.held_server import LONGEST_S, held_server
from tests.ray_cluster import wait_until_alone
from tests.route.test_pools import SEPARATE, judged
from tests.route.test_route import job

pytestmark = pytest.mark.ray

MEMORY = {"object_store_memory": 100_000_000, "include_dashboard": False}
SHARD_MOVED = re.compile(r"index shard \d+ moved")
KINDS = {"TeacherActor", "StagerActor", "RoleActor", "ShardActor"}
PLAN = {"requests": 120, "chunk_requests": 20, "window_chunks": 6}


class Nodes:
    """A cluster whose head has no CPU. Tests add its other nodes."""

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **MEMORY})
        ray.init(address=self.cluster.address, log_to_driver=False)
        self.workers: list[Any] = []

    def add(self, **resources: float) -> None:
        self.workers.append(self.cluster.add_node(**resources, **MEMORY))

    def kill(self, node_id: str) -> None:
        """SIGKILL, as where a machine loses its power."""
        node = next(node for node in self.workers if node.node_id == node_id)
        self.workers.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def clear(self) -> None:
        """Kill them all, and return once the head knows it."""
        for node_id in self.ids:
            self.kill(node_id)
        wait_until_alone()

    @property
    def ids(self) -> list[str]:
        return [node.node_id for node in self.workers]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    import ray

    nodes = Nodes()
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()


def placed() -> set[tuple[str, str]]:
    """The class of every actor that works and is up, and its node. The arbiter, which holds no resources, may be anywhere."""
    from ray._private.state import state

    up = (actor for actor in state.actor_table(None).values() if actor["State"] == "ALIVE")
    return {(actor["ActorClassName"], actor["Address"]["NodeID"]) for actor in up if actor["ActorClassName"] != "Arbiter"}


def nodes_of(kind: str, where: set[tuple[str, str]]) -> set[str]:
    return {node for name, node in where if name == kind}


def test_a_run_that_starts_on_a_head_alone_uses_every_node_that_joins_and_never_the_head(nodes: Nodes, tmp_path: Path) -> None:
    """The nodes come one by one: one for stagers, index and judge, then two with a GPU for a teacher each. Beside the judge there
    is room for one stager, so the next is on the first node with a GPU. The server holds the run until everything stands.
    """
    seen: set[tuple[str, str]] = set()
    replicas: list[int] = []

    def watch(tally: Any) -> None:
        seen.update(placed())
        replicas.append(tally.replicas)
        kinds, joined = {kind for kind, _ in seen}, len(nodes.workers)
        has_second_stager = joined == 2 and nodes.ids[1] in nodes_of("StagerActor", seen)
        if joined == 0:
            nodes.add(num_cpus=2)
        elif (joined == 1 and kinds >= {"StagerActor", "RoleActor"}) or (has_second_stager and tally.requests_done >= 2):
            nodes.add(num_cpus=2, num_gpus=1)
        elif joined == 3 and tally.replicas == 2 and kinds == KINDS:
            server.let_go()

    cluster = {"engine": "ray", "teachers": 2, "min_teachers": 2, "stagers": 3, "judges": 1, "index_shards": 2}
    more = {"index_folder": str(tmp_path), "cpus_per_teacher": 0.5, "cpus_per_judge": 0.25, "gpus_per_teacher": 1}
    with held_server() as server:
        document = judged(tmp_path, cluster=SEPARATE | cluster | more, judge={"latency_s": 0.05})
        document["models"]["teacher"] = server.teacher(at_once=4)
        document["dedup"] = {"compares": ["prompt"]}
        alone = document | {"cluster": {"engine": "local"}, "output": {"path": str(tmp_path / "alone")}}
        wanted = synth_ray.run(alone).manifest["dataset_digest"]
        server.hold(after=100)
        manifest = synth_ray.run(document, watch=watch).manifest
    assert manifest["dataset_digest"] == wanted
    first, *with_gpu = nodes.ids
    assert {kind for kind, _ in seen} == KINDS
    assert {node for _, node in seen} == {first, *with_gpu}  # so nothing ran on the head
    assert nodes_of("TeacherActor", seen) == set(with_gpu)
    assert nodes_of("StagerActor", seen) >= {first, with_gpu[0]}
    assert (replicas[0], max(replicas)) == (0, 2)


def choices_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    texts = [f"take {i} of {digest(body['messages'])}" for i in range(body.get("n", 1))]
    return [{"index": i, "finish_reason": "stop", "message": {"content": text}} for i, text in enumerate(texts)]


def asked_and_journalled(out: Path) -> set[str]:
    """The digests of the prompts whose answers the journal holds: the server below writes them into its answers."""
    store, found = open_storage(str(out)), set()
    for chunk in journalled_chunks(store):
        for answers in read_journal(store, chunk).values():
            found |= {re.sub(r".* ", "", answer.text) for of_ask in answers.values() for answer in of_ask}
    return found


def test_a_node_that_loses_its_power_costs_no_answer_that_was_journalled(nodes: Nodes, tmp_path: Path) -> None:
    """On it are a replica, a stager and the index, which start on it because it is alone; the other replicas are elsewhere. The
    server answers sixty asks, two for a request and so more than a chunk, and holds the others until the loss is known.
    """
    nodes.clear()
    nodes.add(num_cpus=2)
    [first] = nodes.ids
    asked: Counter[str] = Counter()
    journalled: set[str] = set()
    lost: list[str] = []
    is_known = threading.Event()

    def behave(body: dict[str, Any], _times: int) -> Any:
        asked[digest(body["messages"])] += 1
        if asked.total() > 60:
            is_known.wait(LONGEST_S)
        return 200, {"choices": choices_of(body), "usage": {"prompt_tokens": 7, "completion_tokens": 5}}

    def watch(tally: Any) -> None:
        if lost:
            if tally.replicas_lost:
                is_known.set()
        elif tally.chunks_admitted and len(nodes.workers) == 1:
            for _ in range(2):
                nodes.add(num_cpus=4)
        elif tally.replicas == 3 and (held := asked_and_journalled(tmp_path / "out")):
            where = placed()
            assert all(first in nodes_of(kind, where) for kind in ("TeacherActor", "StagerActor", "ShardActor"))
            lost.append(first)
            journalled.update(held)
            nodes.kill(first)

    cluster = {"engine": "ray", "teachers": 3, "stagers": 3, "index_shards": 3, "index_folder": str(tmp_path), "in_flight": 8}
    with behaving_server(behave) as (url, _):
        endpoint = {"urls": [url], "flavour": "openai", "timeout_s": 600}
        teacher = {"engine": "endpoint", "model": MODEL, "endpoint": endpoint}
        more = {"recipe": {"name": "vary", "n": 1, "keep": ["answer"]}, "models": {"teacher": teacher}}
        cluster |= {"cpus_per_teacher": 0.6}
        document = job(tmp_path, str(tmp_path / "out"), plan=PLAN, cluster=cluster, **more)
        result = synth_ray.run(document, watch=watch)
        asked_on_the_cluster = Counter(asked)
        alone = document | {"cluster": {"engine": "local"}, "output": {"path": str(tmp_path / "alone")}}
        assert result.manifest["dataset_digest"] == synth_ray.run(alone).manifest["dataset_digest"]
    assert len(lost) == 1
    assert journalled
    assert {name: asked_on_the_cluster[name] for name in journalled} == dict.fromkeys(journalled, 1)


def test_a_drained_node_is_left_by_its_stager_and_its_index_shard_too(
    nodes: Nodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All that works is on one node, so that both have to leave it, wherever Ray would have put them. The server answers one
    request after another until they have, so that the run goes on as long as that takes.
    """
    import ray

    nodes.clear()
    nodes.add(num_cpus=8)
    [first] = nodes.ids
    drained: list[str] = []
    left: set[str] = set()
    wanted = {"StagerActor", "ShardActor"}

    def watch(tally: Any) -> None:
        if drained:
            gone = {kind for kind in wanted if first not in nodes_of(kind, placed())}
            left.update(gone if SHARD_MOVED.search(caplog.text) else gone - {"ShardActor"})
            if left == wanted:
                server.let_go()
        elif tally.chunks_admitted:
            nodes.add(num_cpus=8)
            drained.append(first)
            drain(ray.get_runtime_context().gcs_address, first, within_s=600)

    cluster = {"engine": "ray", "teachers": 2, "stagers": 3, "index_shards": 3, "index_folder": str(tmp_path)}
    with held_server() as server:
        server.hold(every_s=1.0)
        document = job(
            tmp_path,
            str(tmp_path / "out"),
            plan={"requests": 400, "chunk_requests": 4, "window_chunks": 4},
            cluster=cluster | {"cpus_per_teacher": 0.5},
            models={"teacher": server.teacher()},
            recipe={"name": "vary", "n": 1, "keep": ["answer"]},
            limits={"engine_replacements": 0, "journal_flush_s": 0.2},
        )
        manifest = synth_ray.run(document, watch=watch).manifest
        alone = document | {"cluster": {"engine": "local"}, "output": {"path": str(tmp_path / "alone")}}
        assert manifest["dataset_digest"] == synth_ray.run(alone).manifest["dataset_digest"]
    assert left == wanted
    assert re.search(r"stager \d+: its node is being taken away", caplog.text)
