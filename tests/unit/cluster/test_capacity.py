"""What a cluster lacks for a job: told from facts alone, and refused only where nothing can ever bring it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.cluster import capacity, wants
from synth_ray.cluster.autoscaler import _by_record
from synth_ray.cluster.capacity import CapacityWatch, missing, refusals, uses_head
from synth_ray.cluster.facts import ClusterFacts, Node, NodeGroup, groups_of
from synth_ray.cluster.wants import NODE_ID, matches, nodes_for, options_of, teacher_want, wants_of
from synth_ray.errors import SynthRayError
from synth_ray.job.document import Job
from synth_ray.job.load import job_from

HEAD = {"node:__internal_head__": 1.0}


def job(cluster: Mapping[str, Any] = {}, engine_args: Mapping[str, Any] = {}, **models: Any) -> Job:
    teacher = {"model": "org/big", "engine_args": dict(engine_args)}
    document: dict[str, Any] = {
        "name": "placed",
        "seeds": "none",
        "recipe": {"name": "evolve", "method": "magpie"},
        "models": {"teacher": teacher, **models},
        "plan": {"requests": 10},
        "output": {"path": str(Path("out"))},
        "cluster": {"address": "auto", **cluster},
    }
    return job_from(document)


def node(cpus: float = 0, gpus: float = 0, *, labels: Mapping[str, str] = {}, used: float = 0, head: bool = False) -> Node:
    total = {"CPU": float(cpus), "GPU": float(gpus)} | (HEAD if head else {})
    return Node(total, total | {"GPU": gpus - used}, labels, node_id="head" if head else "", is_head=head)


def facts(*nodes: Node, autoscaler: Any = "no", **rest: Any) -> ClusterFacts:
    return ClusterFacts((node(head=True), *nodes), autoscaler, **rest)


@pytest.fixture(autouse=True)
def built_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wants, "is_cpu_build", lambda: False)


def test_what_is_missing_is_said_with_what_there_is_and_what_may_come() -> None:
    six = (node(5, 4), node(8, 2))
    wanted = job({"teachers": 8})
    may_grow = facts(*six, autoscaler="yes", groups=(NodeGroup({"CPU": 8, "GPU": 4}, {}, 2),))
    [line] = missing(wanted, may_grow)
    assert line == "teacher: wants 8 × 1 GPU and 1 CPU, has room for 6, autoscaler's most 8 GPUs: waiting; Ctrl-C is safe"
    assert refusals(wanted, may_grow) == []
    assert missing(wanted, facts(*six, autoscaler="yes", most_gpus=16)) == [line.replace("most 8", "most 16")]
    assert "autoscaler's most unknown: waiting" in missing(wanted, facts(*six, autoscaler="yes"))[0]
    assert "autoscaler unknown: waiting" in missing(wanted, facts(*six, autoscaler="unknown"))[0]
    assert "no autoscaler: the others start if nodes join" in missing(wanted, facts(*six))[0]
    assert refusals(wanted, facts(*six)) == []
    told = facts(*six, autoscaler="yes", infeasible=({"GPU": 1.0, "CPU": 1.0},))
    assert "says that none of its nodes can hold this" in missing(wanted, told)[0]
    assert missing(job({"teachers": 6}), facts(*six)) == []


def test_gpus_in_use_are_not_there_now_but_are_no_reason_to_refuse() -> None:
    busy = facts(node(8, 4, used=4))
    assert "has room for 0" in missing(job(), busy)[0]
    assert refusals(job(), busy) == []
    assert missing(job(), busy, up={"teacher": 1, "stager": 1}) == []


@pytest.mark.parametrize(
    ("cluster", "engine_args", "there", "message"),
    [
        ({}, {}, facts(node(8)), "cluster: wanted 1 GPU and 1 CPU for one teacher, got no GPU on any node and no autoscaler"),
        (
            {},
            {"tensor_parallel_size": 8},
            facts(node(8, 4)),
            "got at most 4 GPUs on a node and no autoscaler; add such a node, or lower",
        ),
        (
            {},
            {"tensor_parallel_size": 8, "distributed_executor_backend": "ray"},
            facts(node(8, 4)),
            "wanted 8 bundles of 1 GPU and 0.125 CPU for one teacher, got 4 GPUs in all",
        ),
        (
            {"teacher_labels": {"market": "spot"}},
            {},
            facts(node(8, 4)),
            "on nodes with market=spot for one teacher, got no node with these labels and no autoscaler; add such a node, or "
            "change cluster.teacher_labels",
        ),
        ({"most_gpus": 4}, {"tensor_parallel_size": 8}, facts(autoscaler="yes", most_gpus=4), "got cluster.most_gpus: 4; lower"),
        (
            {},
            {"tensor_parallel_size": 8},
            facts(autoscaler="yes", groups=(NodeGroup({"CPU": 8, "GPU": 4}, {}, 8), NodeGroup({"CPU": 64, "GPU": 8}, {}, 0))),
            "and no group of the autoscaler's has such nodes",
        ),
        ({"stagers": 4}, {}, facts(node(1, 4)), "wanted room for 1 stager of 1 CPU, 1 teacher of 1 GPU and 1 CPU at once"),
    ],
)
def test_what_can_never_fit_is_refused_before_anything_is_asked(
    cluster: dict[str, Any], engine_args: dict[str, Any], there: ClusterFacts, message: str
) -> None:
    [line] = [line for line in refusals(job(cluster, engine_args), there) if "for one stager" not in line]
    assert message in line


def test_where_nodes_may_come_nothing_is_refused() -> None:
    large = job({}, {"tensor_parallel_size": 8})
    for autoscaler in ("yes", "unknown"):
        assert refusals(large, facts(node(8, 4), autoscaler=autoscaler)) == []
        assert missing(large, facts(node(8, 4), autoscaler=autoscaler))
    comes = facts(autoscaler="yes", groups=(NodeGroup({"CPU": 64, "GPU": 8}, {"market": "spot"}, 1),))
    assert refusals(large, comes) == []
    assert refusals(job({"teacher_labels": {"market": "spot"}}), comes) == []
    assert refusals(job({"teacher_labels": {"market": "on-demand"}}), comes)
    spread = job({}, {"tensor_parallel_size": 8, "pipeline_parallel_size": 2, "distributed_executor_backend": "ray"})
    assert refusals(spread, facts(autoscaler="yes", groups=(NodeGroup({"CPU": 64, "GPU": 8}, {}, 2),))) == []


def test_a_teacher_asks_for_gpus_where_the_cluster_has_none_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = lambda job, facts: teacher_want(job, facts).resources.get("GPU", 0.0)  # noqa: E731
    empty = facts(autoscaler="yes")
    assert gpus(job(), empty) == 1
    assert gpus(job({}, {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}), empty) == 4
    assert gpus(job({"gpus_per_teacher": 0}), empty) == 0
    judge = {"judge": {"model": "other/judge"}}
    assert gpus(job(**judge), empty) == 2, "each engine its own"
    assert gpus(job(**judge), facts(node(8, 1), node(8, 1))) == 1, "an actor is on one node"
    for elsewhere in (
        {"engine": "scripted"},
        {"engine": "endpoint", "model": "m", "endpoint": {"urls": ["http://127.0.0.1:1/v1"]}},
    ):
        assert gpus(_served(elsewhere), empty) == 0
    monkeypatch.setattr(wants, "is_cpu_build", lambda: True)
    assert gpus(job(), empty) == 1, "the head's own vLLM says nothing of the nodes to come"
    assert gpus(job({"gpus_per_teacher": 0}), empty) == 0
    assert gpus(job(), facts(autoscaler="yes", groups=(NodeGroup({"CPU": 64}, {}, 8),))) == 0, "no group has a GPU"
    assert gpus(job(), facts(node(8), autoscaler="unknown")) == gpus(job(), facts(node(8))) == 0
    assert gpus(job(), facts(node(8, 4))) == 1
    [judge_want] = wants_of(job({"pools": "separate"}, **judge), empty)[2:]
    assert judge_want.resources["GPU"] == 1


def _served(teacher: dict[str, Any]) -> Job:
    bare = job()
    changed = bare.model_dump(mode="json", exclude_unset=True) | {"models": {"teacher": teacher}, "seeds": "none"}
    return Job.model_validate(changed)


def test_an_engines_arguments_say_what_its_teacher_requests() -> None:
    there = facts(node(64, 8), node(64, 8))
    ranks = {"tensor_parallel_size": 2, "data_parallel_size": 4, "enable_expert_parallel": True}
    apart = {"tensor_parallel_size": 2, "data_parallel_size": 2}
    across = {"tensor_parallel_size": 8, "pipeline_parallel_size": 2, "distributed_executor_backend": "ray"}
    for engine_args, gpus, bundles in (({}, 1, 1), (ranks, 8, 1), (apart, 4, 1), (across, 1, 16)):
        want = teacher_want(job({}, engine_args), there)
        assert (want.resources["GPU"], want.bundles) == (gpus, bundles)
        assert refusals(job({}, engine_args), there) == []
    wide = {"tensor_parallel_size": 16, "distributed_executor_backend": "ray"}
    [line] = missing(job({}, wide), there)
    assert "tensor_parallel_size: 16 ranks of each layer on nodes of 8 GPUs are slow" in line
    assert missing(job({}, across), there) == []


def test_nothing_runs_on_the_head_unless_asked_or_nothing_else_can_hold_it() -> None:
    head, worker = node(8, 8, head=True), node(8, 1)
    two, away = ClusterFacts((head, worker), "no"), {"label_selector": {NODE_ID: "!head"}}
    small, large = wants_of(job(), two)[1], teacher_want(job({}, {"tensor_parallel_size": 8}), two)
    assert options_of(small, two, on_head=False) == away
    assert options_of(small, two, on_head=True) == {}
    assert options_of(large, two, on_head=False) == {}
    empty = ClusterFacts((node(0, 0, head=True), worker), "no")
    assert options_of(small, empty, on_head=False) == {}, "a head without CPUs needs no word"
    alone = ClusterFacts((head,), "no")
    assert options_of(small, alone, on_head=False) == {}
    assert options_of(small, ClusterFacts((head,), "yes"), on_head=False) == away
    assert "has room for 1" in missing(job({"teachers": 4}), two)[0]
    tight = ClusterFacts((node(2, 0, head=True), node(1, 1)), "no")
    assert uses_head(job(), two) is False
    assert uses_head(job({"stagers": 2}), tight) is True, "a stager would take the CPU beside the GPU"
    two_nodes = ClusterFacts((*tight.nodes, node(1, 1)), "no")
    assert uses_head(job({"stagers": 2}), two_nodes) is False, "one stager is enough"
    assert uses_head(job({"stagers": 2}), ClusterFacts(tight.nodes, "yes")) is False
    assert refusals(job({"stagers": 2}), tight) == []
    assert missing(job({"teachers": 4, "on_head": True}), two) == []


def test_labels_are_a_choice_in_order() -> None:
    spot, other = node(8, 4, labels={"market": "spot"}), node(8, 4, labels={"market": "on-demand"})
    there = facts(spot, other)
    want = teacher_want(job({"teacher_labels": [{"market": "spot"}, {"market": "on-demand"}]}), there)
    options = options_of(want, there, on_head=True)
    assert options["label_selector"]["market"] == "spot"
    assert [choice["label_selector"]["market"] for choice in options["fallback_strategy"]] == ["on-demand"]
    only = teacher_want(job({"teacher_labels": {"market": "spot"}}), there)
    assert nodes_for(only, there, on_head=False) == [spot]
    assert matches({"a": "x"}, {"a": "in(x, y)", "b": "!z"})
    assert not matches({"a": "x"}, {"a": "!in(x, y)"})
    assert not matches({}, {"a": "x"})


@given(
    nodes=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=5),
    teachers=st.integers(1, 9),
    span=st.sampled_from([1, 2, 4]),
    stagers=st.integers(1, 4),
)
def test_what_is_said_to_have_room_never_exceeds_what_there_is(
    nodes: list[tuple[int, int]], teachers: int, span: int, stagers: int
) -> None:
    there = facts(*(node(cpus, gpus) for cpus, gpus in nodes), autoscaler="yes")
    wanted = job({"teachers": teachers, "stagers": stagers}, {"tensor_parallel_size": span})
    lines = missing(wanted, there)
    room = {line.split(":")[0]: int(line.split("room for ")[1].split(",")[0]) for line in lines}
    placed = room.get("teacher", teachers)
    assert placed <= sum(gpus // span for _, gpus in nodes)
    assert placed + room.get("stager", stagers) <= sum(cpus for cpus, _ in nodes)
    more = facts(*there.nodes[1:], node(99, 99), autoscaler="yes")
    assert missing(wanted, more) == []


def test_the_autoscalers_most_is_read_from_the_file_of_ray_up() -> None:
    config = {
        "max_workers": 3,
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 0}},
            "gpu": {"resources": {"CPU": 8, "GPU": 4}, "max_workers": 5, "labels": {"market": "spot"}},
        },
    }
    assert groups_of(config) == (NodeGroup({"CPU": 0}, {}, 1), NodeGroup({"CPU": 8, "GPU": 4}, {"market": "spot"}, 3))
    assert facts(autoscaler="yes", groups=groups_of(config)).autoscaler_gpus == 12
    config["available_node_types"]["gpu"]["resources"] = {}
    assert groups_of(config) is None
    assert groups_of({}) is groups_of([]) is None


@pytest.mark.parametrize(
    ("record", "exists"),
    [
        (None, "unknown"),
        (b'{"autoscaler_report": null}', "unknown"),
        (b'{"autoscaler_report": {"node_type_mapping": null}}', "unknown"),
        (b'{"autoscaler_report": {"node_type_mapping": {"ab": "node_ab"}}}', "no"),
        (b'{"autoscaler_report": {"node_type_mapping": {"ab": "ray.head.default"}}}', "yes"),
    ],
)
def test_an_autoscaler_is_told_from_its_record(record: bytes | None, exists: str) -> None:
    assert _by_record(record) == exists


def test_stagers_beside_the_first_take_no_place_of_a_teacher() -> None:
    four = facts(node(4, 1))
    wanted = job({"stagers": 4})
    assert refusals(wanted, four) == []
    [line] = missing(wanted, four)
    assert line.startswith("stager: wants 4 × 1 CPU, has room for 3")
    loading = facts(Node({"CPU": 4.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 0.0}, {}))
    assert missing(wanted, loading, up={"stager": 1, "teacher": 1}) == [line]


class Watched:
    """A watch over facts that a test sets, and how often it asked for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, there: ClusterFacts, **cluster: Any) -> None:
        self.now, self.there, self.asked = 0.0, there, 0
        monkeypatch.setattr(capacity, "cluster_facts", self._facts)
        self.watch = CapacityWatch(job(cluster), lambda: self.now)
        self.watch.tell_at_start()

    def _facts(self, _: object) -> ClusterFacts:
        self.asked += 1
        return self.there

    def tell(self, now: float, *, waiting: int = 0, placed: int = 0, stagers: int = 1) -> int:
        """Returns how often the cluster was asked."""
        self.now, before = now, self.asked
        self.watch.tell_again({"teacher": waiting, "stager": 1 - stagers}, {"teacher": placed, "stager": stagers})
        return self.asked - before


BUSY = facts(node(8, 1, used=1))


def test_a_teacher_that_loads_its_weights_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, BUSY, wait_s=60)
    assert watched.tell(90, placed=1) == 0
    assert watched.tell(200, waiting=1, placed=0) == 0
    assert watched.tell(230, waiting=1, placed=0) == 1, "of the first teacher alone the wait is bounded: this one is a successor"


def test_the_wait_for_the_first_teacher_ends_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, BUSY, wait_s=20)
    assert watched.tell(19, waiting=1) == 0
    with pytest.raises(SynthRayError, match=r"within 20 s, got none: teacher: wants 1 × 1 GPU and 1 CPU, has room for 0"):
        watched.tell(21, waiting=1)


def test_what_waits_is_told_after_thirty_seconds_and_then_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(monkeypatch, facts(node(8, 1)), wait_s=90)
    times = [5, 34, 35, 36, 90, 91, 92, 150, 151, 152, 211]
    assert [now for now in times if watched.tell(now, waiting=1)] == [35, 91, 151, 211], "91: the wait has become too long"
    assert "teacher: 1 not up after 30 s, though the cluster has room" in caplog.text
    shared = Watched(monkeypatch, BUSY, teachers=4)
    caplog.clear()
    assert shared.tell(60, waiting=1, placed=1) == 0
    assert shared.tell(90, waiting=1, placed=1) == 1
    assert "wants 4 × 1 GPU and 1 CPU, has room for 1," in caplog.text, "two were given up to other jobs"


def test_each_kind_of_actor_has_thirty_seconds_of_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(monkeypatch, BUSY, teachers=4)
    assert [now for now in (10, 40, 41) if watched.tell(now, waiting=1, placed=1)] == [40]
    watched.there, _ = facts(Node({"CPU": 1.0}, {"CPU": 0.0}, {})), caplog.clear()
    assert [now for now in (50, 79, 80, 81) if watched.tell(now, waiting=1, placed=3, stagers=0)] == [80]
    assert "stager: wants 1 × 1 CPU, has room for 0" in caplog.text
    assert watched.tell(90, placed=4) == 0
    assert [now for now in (100, 120, 130) if watched.tell(now, placed=4, stagers=0)] == [130], "a successor waits anew"
