"""What a job's actors request of a cluster, told from the job and the cluster's facts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.cluster.facts import ClusterFacts, Labels, Node, Resources
from synth_ray.job.document import Job
from synth_ray.job.engine_args import devices_of
from synth_ray.job.models import Model, engines_of

NODE_ID = "ray.io/node-id"
_CPUS_OF_A_STAGER = 1.0
_LEAST_CPUS = 0.01

CPUS_OF_A_SHARD = 0.01
"""An autoscaler takes a node without a resource in use for idle, and ends it. It also keeps shards off a head without CPUs."""


@dataclass(frozen=True, slots=True)
class Want:
    """Actors of one kind. Each requests `resources` on one node, or, with several `bundles`, as often, on one node or several.

    `count` are started. `labels` of its node, in the order they are preferred.
    """

    role: str
    resources: Resources
    count: int = 1
    bundles: int = 1
    labels: tuple[Labels, ...] = ()


def wants_of(job: Job, facts: ClusterFacts) -> list[Want]:
    """The stagers first. Of these one is started before all others, and the rest once the replicas have places."""
    cluster = job.cluster
    stagers = Want("stager", {"CPU": _CPUS_OF_A_STAGER}, cluster.stagers, labels=tuple(cluster.stager_labels))
    return [stagers, teacher_want(job, facts), *(role_want(job, role, facts) for role in job.pooled_models)]


def teacher_want(job: Job, facts: ClusterFacts) -> Want:
    """An engine over several nodes finds its GPUs in a placement group, one bundle each; any other has all of its own itself."""
    cluster, teacher = job.cluster, job.models.teacher
    gpus = gpus_per_replica(job, facts.gpus_on_a_node, asks_anyway=_runs_on_gpus([*job.replica_models.values()], job, facts))
    count, labels = cluster.first_teachers, tuple(cluster.teacher_labels)
    if not teacher.spans_nodes:
        return Want("teacher", _shape(cluster.cpus_per_teacher, gpus), count, labels=labels)
    devices = devices_of(teacher.engine_args)
    bundle = _shape(max(cluster.cpus_per_teacher / devices, _LEAST_CPUS), 1.0 if gpus else 0.0)
    return Want("teacher", bundle, count, bundles=devices, labels=labels)


def role_want(job: Job, role: str, facts: ClusterFacts) -> Want:
    """A replica of a role's pool."""
    cluster, model, gpus = job.cluster, job.pooled_models[role], job.cluster.gpus_per_judge
    if gpus is None:
        gpus = model.devices if facts.gpus_on_a_node or _runs_on_gpus([model], job, facts) else 0.0
    return Want(role, _shape(cluster.cpus_per_judge, gpus), cluster.judges, labels=tuple(cluster.judge_labels))


def gpus_per_replica(job: Job, gpus_on_a_node: float, *, asks_anyway: bool = False) -> float:
    """The GPUs that a replica requests: what the job says, or what its engines span, each its own or, where a node has too few,
    all the same. An engine that runs elsewhere spans none. `asks_anyway`: also where there is no GPU yet.
    """
    if job.cluster.gpus_per_teacher is not None:
        return job.cluster.gpus_per_teacher
    if not gpus_on_a_node and not asks_anyway:
        return 0
    spans = [model.devices for model in engines_of(job.replica_models)]
    too_many = 0 < gpus_on_a_node < sum(spans) and not job.models.teacher.spans_nodes
    return max(spans) if too_many else sum(spans)


def _runs_on_gpus(models: Sequence[Model], job: Job, facts: ClusterFacts) -> bool:
    """Whether an engine needs GPUs though none is there yet: where an autoscaler may bring some, whatever vLLM the driver has
    beside it (a head's image is often the one for CPUs), and on any other cluster unless that vLLM is built for CPUs. A vLLM on
    this machine alone, without a GPU, is left to say so itself.
    """
    if not any(model.devices for model in models):
        return False
    may_come = facts.autoscaler == "yes" and facts.autoscaler_gpus != 0
    is_cluster = bool(job.cluster.address) or facts.autoscaler == "yes"
    return may_come or (is_cluster and not is_cpu_build())


def _shape(cpus: float, gpus: float) -> Resources:
    return {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}


def matches(labels: Labels, selector: Labels) -> bool:
    """As Ray reads a selector: `x`, `!x`, `in(a, b)`, `!in(a, b)`. A node without the label is not x."""
    return all(_matches(labels.get(name), wanted) for name, wanted in selector.items())


def _matches(value: str | None, wanted: str) -> bool:
    negated, plain = wanted.startswith("!"), wanted.removeprefix("!").strip()
    is_list = plain.startswith("in(") and plain.endswith(")")
    among = [item.strip() for item in plain[3:-1].split(",")] if is_list else [plain]
    return (value in among) is not negated


def holds(want: Want, resources: Resources, labels: Labels) -> bool:
    """Whether a node like this one, when empty, holds one of its actors, or one of an actor's bundles."""
    fits_label = not want.labels or any(matches(labels, selector) for selector in want.labels)
    return fits_label and all(resources.get(name, 0.0) >= amount for name, amount in want.resources.items())


def times_in(want: Want, resources: Resources) -> int:
    """How often a node like this one, when empty, holds what one actor or bundle requests."""
    return int(min((resources.get(name, 0.0) / amount for name, amount in want.resources.items()), default=1.0))


def nodes_for(want: Want, facts: ClusterFacts, *, on_head: bool) -> list[Node]:
    """The nodes that may hold it: the head among them if the job says so, or if no other ever can."""
    holding = [node for node in facts.nodes if holds(want, node.total, node.labels)]
    others = [node for node in holding if not node.is_head]
    return holding if on_head or not (others or facts.autoscaler == "yes") else others


def options_of(want: Want, facts: ClusterFacts, *, on_head: bool) -> dict[str, Any]:
    """Ray's options that keep an actor on its nodes. The order of labels is Ray's to follow: it falls back where the preferred
    nodes have no room now.
    """
    selectors = selectors_of(want, facts, on_head=on_head)
    options: dict[str, Any] = {"label_selector": selectors[0]} if selectors[0] else {}
    rest = [{"label_selector": selector} for selector in selectors[1:]]
    return options | ({"fallback_strategy": rest} if rest else {})


def selectors_of(want: Want, facts: ClusterFacts, *, on_head: bool) -> list[dict[str, str]]:
    """At least one, which may be empty. A head that has no room for it anyway, as with `num-cpus: 0`, needs no word."""
    nodes = nodes_for(want, facts, on_head=on_head)
    held = (node for node in facts.nodes if node.is_head and holds(want, node.total, node.labels))
    head = next((node for node in held if node not in nodes), None)
    away = {NODE_ID: f"!{head.node_id}"} if head is not None else {}
    return [dict(selector) | away for selector in want.labels or ({},)]
